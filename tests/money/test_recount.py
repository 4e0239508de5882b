"""The whole way from changes to dollars against a recount that looks at every second, on random histories (B1 to B8)."""

import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from claims import ledger, metering
from claims.models import (
    CapacityClaim,
    Instance,
    Offering,
    Price,
    PriceKind,
    RatedSlice,
    UsageInterval,
    UsageKind,
)
from claims.services import price_set, quota_set
from console.common import clock
from console.dashboard.invariants import breaches
from console.organizations.models import Organization
from tests import world
from tests.cast import Cast
from tests.search import examples

pytestmark = pytest.mark.django_db

# Before a month, a day and an hour end, with the hour before it in reach.
START = datetime(2026, 2, 28, 22, 49, tzinfo=UTC)
MACHINES = 3
LATE = timedelta(minutes=2)


@dataclass
class Use:
    """What the test itself remembers of an interval."""

    machine: int
    kind: str  # SERVERLESS, CUSTOMER, or empty for a replica
    gpus: int
    started: datetime
    number: int
    ended: datetime | None = None


class History:
    """The same changes twice: through the ledger, and in the plainest lists there are."""

    def __init__(self, organization: Organization, of: Offering, patch: pytest.MonkeyPatch) -> None:
        self.organization, self.of, self.patch = organization, of, patch
        self.machines: list[Instance] = [world.gone(of) for _ in range(MACHINES)]
        self.now = START
        self.closed = datetime.min.replace(tzinfo=UTC)
        self.uses: list[Use] = []
        self.quotas: list[tuple[datetime, int, int]] = []
        self.prices = {kind: [(datetime.min.replace(tzinfo=UTC), self._first(kind))] for kind in PriceKind.values}

    def _first(self, kind: str) -> Decimal:
        return Price.objects.get(instance_type=self.of.instance_type, kind=kind).usd_per_gpu_hour

    def time(self, late: int) -> datetime:
        """When the change says it was made: some come from a pass that began a while ago."""
        return self.now - timedelta(seconds=late)

    def running(self, machine: int) -> list[Use]:
        return [use for use in self.uses if use.machine == machine and use.ended is None]

    def _begin(self, machine: int, at: datetime, *, after_all: bool) -> datetime:
        before = [use.ended for use in self.uses if use.machine == machine and use.ended and (after_all or use.kind)]
        return max([at, self.closed, *before])

    def _end(self, uses: list[Use], at: datetime) -> None:
        for use in uses:
            use.ended = max(use.started, at, self.closed)

    def claim(self, machine: int, kind: str, late: int) -> None:
        """A claim takes the machine, and with it the replicas that run there (C4)."""
        running, at = self.running(machine), self.time(late)
        if any(use.kind for use in running):
            return
        instance = self.machines[machine]
        ledger.close_on_demand(instance_keys=[instance.key], now=at)
        claim = CapacityClaim(organization=self.organization, offering=self.of, name="c", kind=kind)
        ledger.open_claim_intervals(claim=claim, instances=[instance], now=at)
        self._end(running, at)
        started = self._begin(machine, at, after_all=True)
        self.uses.append(Use(machine, kind, instance.gpus, started, len(self.uses)))

    def place(self, machine: int, gpus: int, late: int) -> None:
        """A replica is placed; on claimed capacity it costs nothing more (B3)."""
        at, number = self.time(late), len(self.uses)
        if any(use.kind for use in self.running(machine)):
            return
        row = UsageInterval(
            kind=UsageKind.REPLICA, resource_key=number, organization=self.organization, offering=self.of,
            instance=self.machines[machine], gpus=gpus, holder_id=uuid.uuid4(), holder_name="r",
        )  # fmt: skip
        ledger.open_intervals(rows=[row], before=UsageInterval.objects.filter(kind=UsageKind.CLAIM), now=at)
        self.uses.append(Use(machine, "", gpus, self._begin(machine, at, after_all=False), number))

    def leave(self, machine: int, late: int) -> None:
        """What has been there longest goes."""
        running, at = self.running(machine)[:1], self.time(late)
        for use in running:
            kind, key = (UsageKind.CLAIM, self.machines[machine].key) if use.kind else (UsageKind.REPLICA, use.number)
            assert ledger.close_intervals(kind=kind, resource_keys=[key], now=at) == 1
        self._end(running, at)

    def quota(self, reserved: int, other: int) -> None:
        quota_set(actor=world.PLATFORM, organization=self.organization, offering=self.of, limit=9, reserved=reserved,
                  other_usage=other)  # fmt: skip
        self.quotas.append((max(self.now, self.closed), reserved, other))

    def price(self, kind: str, cents: int) -> None:
        usd, starts = Decimal(cents) / 100, self.now + timedelta(seconds=30)
        price_set(actor=world.PLATFORM, instance_type=self.of.instance_type, zone=None, kind=PriceKind(kind), usd=usd,
                  starts=starts)  # fmt: skip
        self.prices[kind].append((starts, usd))

    def meter(self) -> None:
        metering.meter_pass(self.now)
        if self.uses:
            self.closed = max(self.closed, metering.hour_of(self.now - LATE))

    def pass_time(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.patch.setattr(clock, "now", lambda: self.now)

    # --- the recount -------------------------------------------------------------------------------
    def _rates(self, second: datetime, active: list[Use]) -> dict[int, str]:
        """B2, by the letter: the oldest CUSTOMER instances within what is reserved and not in other use."""
        known = [one for one in self.quotas if one[0] <= second]
        room = max(0, known[-1][1] - known[-1][2]) if known else 0
        customer = sorted((use for use in active if use.kind == "CUSTOMER"), key=lambda use: (use.started, use.number))
        reserved = {use.number for use in customer[:room]}
        return {use.number: "RESERVED" if use.number in reserved else "ON_DEMAND" for use in active}

    def recount(self, start: datetime, end: datetime) -> dict[tuple[str, str], tuple[int, Decimal]]:
        """(GPU-seconds, USD) by kind and rate: every second on its own."""
        sums: dict[tuple[str, str], tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal(0)))
        second = start
        while second < end:
            active = [use for use in self.uses if use.started <= second and (use.ended is None or second < use.ended)]
            rates = self._rates(second, active)
            for use in active:
                rate = rates[use.number]
                usd = next(price for since, price in reversed(self.prices[rate]) if since <= second)
                kind = "CLAIM" if use.kind else "REPLICA"
                seconds, amount = sums[kind, rate]
                sums[kind, rate] = (seconds + use.gpus, amount + use.gpus * usd / 3600)
            second += timedelta(seconds=1)
        return dict(sums)


machine, late = st.integers(0, MACHINES - 1), st.sampled_from([0, 0, 0, 1, 7, 45, 200])
changes = st.one_of(
    st.tuples(st.just("claim"), machine, st.sampled_from(["SERVERLESS", "CUSTOMER", "CUSTOMER"]), late),
    st.tuples(st.just("place"), machine, st.integers(1, 4), late),
    st.tuples(st.just("leave"), machine, late),
    st.tuples(st.just("quota"), st.integers(0, 3), st.integers(0, 2)),
    st.tuples(st.just("price"), st.sampled_from(PriceKind.values), st.integers(1, 2000)),
    st.tuples(st.just("meter")),
)
histories = st.lists(st.tuples(st.integers(0, 400), changes), min_size=4, max_size=26)


@examples(
    10,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(histories)
def test_b5_the_ledger_agrees_with_every_second_of_any_history(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, history: list[tuple[int, tuple[Any, ...]]]
) -> None:
    world.offering()
    with transaction.atomic(), monkeypatch.context() as patch:
        told = History(cast.organization, world.offering(), patch)
        for wait, (what, *given_) in history:
            told.pass_time(wait)
            getattr(told, what)(*given_)
        told.pass_time(90)
        agrees(told)
        told.meter()
        agrees(told)
        told.pass_time(7500)
        told.meter()
        agrees(told)
        transaction.set_rollback(True)


def agrees(told: History) -> None:
    """Intervals, seconds and dollars, both months apart and together, rated and live alike."""
    rows = UsageInterval.objects.order_by("id").values_list("started_at", "ended_at")
    assert list(rows) == [(use.started, use.ended) for use in told.uses]
    begin, month, end = START - timedelta(minutes=10), datetime(2026, 3, 1, tzinfo=UTC), told.now
    total = Decimal(0)
    for start, until in ((begin, min(month, end)), (month, end)):
        if start >= until:
            continue
        found: dict[tuple[str, str], tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal(0)))
        for row in metering.usage(told.organization, start, until, told.now):
            seconds, usd = found[row.kind, row.rate]
            found[row.kind, row.rate] = (seconds + row.gpu_seconds, usd + row.usd)
        expected = told.recount(start, until)
        assert {key: one[0] for key, one in found.items()} == {key: one[0] for key, one in expected.items()}
        for key, (_, usd) in expected.items():
            assert abs(found[key][1] - usd) < Decimal("1e-7")
        total += sum((usd for _, usd in found.values()), Decimal(0))
    whole = metering.total(metering.usage(told.organization, begin, end, told.now))
    assert abs(whole - total) < Decimal("1e-9")
    broken = [one for one in breaches() if "(B5)" in one.invariant or "(B8)" in one.invariant]
    assert broken == [], (broken, RatedSlice.objects.count())
