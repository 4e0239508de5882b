"""A fleet that anything may happen to: what its users and the platform do, what breaks, and loops in any order.

Two organizations with a few names each share one type in two zones. Each rule is one thing that happens; what is refused
has to leave everything as it was. Arguments are names and small numbers, so that a failing run reads like a story.
"""

import sys
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import wraps
from typing import Any

from django.db import connection, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from claims import metering, provisioning
from claims.backends.simulated import SimulatedNodeBackend
from claims.core.states import Status
from claims.core.window_rules import WindowAsked
from claims.models import (
    CapacityClaim,
    ClaimWindow,
    Instance,
    InstanceType,
    Offering,
    Price,
    PriceKind,
    SimulatedNode,
    Work,
)
from claims.services import (
    claim_create,
    claim_delete,
    claim_resize,
    claim_withdraw,
    fulfilment,
    instance_work_clear,
    instance_work_set,
    offering_restore,
    offering_withdraw,
    pool_resize,
    quota_set,
    window_change,
    window_create,
    window_delete,
)
from console.common import clock
from console.common.errors import Refusal
from console.dashboard.invariants import breaches
from console.organizations.actors import Actor
from deployments.core.rules import Autoscaling
from deployments.loop.actuate import actuate_pass
from deployments.loop.rollup import roll_up
from deployments.loop.tick import shard_tick, shards
from deployments.models import Deployment, Gateway, Hold, SimulatedReplica
from deployments.services import (
    autoscaling_update,
    deployment_create,
    deployment_delete,
    deployment_set_disabled,
    deployment_update,
    hold_create,
    hold_end,
    replica_restart,
)
from deployments.services.gateways import gateways_settle
from tests import fleet, world
from tests.cast import Cast
from tests.clockwork import advance
from tests.faults import life
from tests.faults.cuts import Boundaries
from tests.keep import Kept
from tests.loop.faults import Faulty, Killed
from tests.model import settled
from tests.model.digest import digest
from tests.model.recount import bill_differs, ledger_differs
from tests.model.runtime import Traffic

WHO = st.sampled_from(["ours", "theirs"])
CLAIM = st.sampled_from(["alpha", "beta", "gamma"])
APP = st.sampled_from(["chat", "code", "embed"])
PLACE = st.sampled_from(["west", "east"])
KIND = st.sampled_from(["SERVERLESS", "CUSTOMER"])
CLASSES = st.sampled_from([(), ("RESERVED",), ("ON_DEMAND",), ("ON_DEMAND", "RESERVED")])
LOOP = st.sampled_from(["fulfil", "provision", "scale", "actuate", "meter", "roll up"])
NTH = st.integers(0, 5)
STILL_ROUNDS, MOST_ROUNDS = 3, 40
MOST_SECONDS = 120
ZONES = {"west": "US-WEST-04A", "east": "US-EAST-01A"}


def happens(**arguments: Any) -> Callable[[Callable[..., None]], Any]:
    """A rule for something that happens; then so many rounds of all loops run, twenty seconds apart."""

    def made(act: Callable[..., None]) -> Any:
        @rule(rounds=st.integers(0, 2), **arguments)
        @wraps(act)
        def happened(self: "Fleet", rounds: int, **given: Any) -> None:
            act(self, **given)
            for _ in range(rounds):
                advance(timedelta(seconds=20))
                self.run_round()

        return happened

    return made


def begin(cast: Cast) -> None:
    """The world that every run begins with: two organizations that have claims and serve models."""
    west, east = (world.offering(zone) for zone in ZONES.values())
    for of, size in ((west, 4), (east, 2)):
        world.pool(of, size)
    for organization, limit in ((cast.organization, 3), (cast.other, 2)):
        world.quota(organization, west, limit=limit, reserved=1)
    ours, theirs = cast.admin.actor, cast.outsider.actor
    world.claim(ours, west, 1, "SERVERLESS", "alpha")
    world.claim(theirs, west, 1, "CUSTOMER", "alpha")
    for actor, name, gpus, least in ((ours, "chat", 1, 2), (ours, "code", 4, 1), (theirs, "chat", 2, 1)):
        at = gateway(actor, west_only=False)
        fleet.deployment(actor, at, west, name, gpu_count=gpus, min=least, max=least + 3, concurrency=4)
    life.settle()


def gateway(actor: Actor, west_only: bool) -> Gateway:
    name = "west" if west_only else "everywhere"
    found = Gateway.objects.filter(organization=actor.require_organization(), name=name).first()
    return found or fleet.gateway(actor, *([ZONES["west"]] if west_only else []), name=name)


class Fleet(RuleBasedStateMachine):
    """One run over a database that is put back before it."""

    def __init__(self, cast: Cast, kept: Kept) -> None:
        super().__init__()
        kept.restore()
        self.actors: dict[str, Actor] = {"ours": cast.admin.actor, "theirs": cast.outsider.actor}
        self.organizations = {"ours": cast.organization, "theirs": cast.other}
        self.type = InstanceType.objects.get()
        self.runtime, self.nodes = Traffic(), SimulatedNodeBackend()

    # --- what the test needs -----------------------------------------------------------------------
    def offering(self, place: str) -> Offering:
        return world.offering(ZONES[place], self.type.name)

    def claim(self, who: str, name: str) -> CapacityClaim | None:
        return CapacityClaim.objects.filter(organization=self.organizations[who], name=name).first()

    def app(self, who: str, name: str) -> Deployment | None:
        return Deployment.objects.filter(organization=self.organizations[who], name=name).first()

    def attempt(self, act: Callable[[], Any]) -> None:
        """Do it; when it is refused, nothing may have changed."""
        before = digest()
        try:
            act()
        except Refusal:
            assert digest() == before, "it was refused, and something changed"

    def run_loop(self, name: str, nodes: Any = None, runtime: Any = None) -> None:
        now = clock.now()
        nodes, runtime = nodes or self.nodes, runtime or self.runtime
        if name == "fulfil":
            fulfilment.fulfil_pass(now=now)
        elif name == "provision":
            provisioning.provision_pass(now=now, backend=nodes)
        elif name == "actuate":
            actuate_pass(now=now, backend=runtime)
        elif name == "meter":
            metering.meter_pass(now)
        elif name == "roll up":
            roll_up(now)
        else:
            gateways_settle()
            for shard in shards():
                shard_tick(shard, now, backend=runtime)

    def run_round(self) -> None:
        for name in ("fulfil", "provision", "scale", "actuate"):
            self.run_loop(name)

    # --- users: claims -----------------------------------------------------------------------------
    @happens(who=WHO, name=CLAIM, kind=KIND, place=PLACE, count=st.integers(1, 4))
    def claim_wanted(self, who: str, name: str, kind: str, place: str, count: int) -> None:
        """A new claim, or another size of the one with that name."""
        one, actor = self.claim(who, name), self.actors[who]
        wanted = world.resources(self.offering(place), count, kind)
        if one is None:
            self.attempt(lambda: claim_create(
                actor=actor, organization=self.organizations[who], name=name, resources=wanted
            ))  # fmt: skip
        else:
            same = world.resources(one.offering, count, one.kind)
            self.attempt(lambda: claim_resize(actor=actor, claim_id=one.id, resources=same))

    @happens(who=WHO, name=CLAIM)
    def claim_given_up(self, who: str, name: str) -> None:
        if one := self.claim(who, name):
            self.attempt(lambda: claim_delete(actor=self.actors[who], claim_id=one.id))

    @happens(who=WHO, name=CLAIM)
    def reduction_withdrawn(self, who: str, name: str) -> None:
        if one := self.claim(who, name):
            self.attempt(lambda: claim_withdraw(actor=self.actors[who], claim_id=one.id))

    # --- users: deployments ------------------------------------------------------------------------
    @happens(who=WHO, name=APP, gpus=st.sampled_from([1, 2, 4, 8]), least=st.integers(1, 3), priority=st.integers(0, 2),
          classes=CLASSES, west_only=st.booleans(), model=st.integers(1, 2))  # fmt: skip
    def deployment_wanted(
        self, who: str, name: str, gpus: int, least: int, priority: int, classes: tuple[str, ...], west_only: bool,
        model: int,
    ) -> None:  # fmt: skip
        """A new deployment, or another spec for the one with that name."""
        actor, one = self.actors[who], self.app(who, name)
        at = gateway(actor, west_only)
        spec = fleet.spec(
            at, self.type.name, name, gpu_count=gpus, min=least, max=least + 3, priority=priority * 100, concurrency=4,
            capacity_classes=tuple(f"CAPACITY_CLASS_{one}" for one in classes), model_path=f"model/{model}",
        )  # fmt: skip
        if one is None:
            self.attempt(lambda: deployment_create(actor=actor, organization=self.organizations[who], spec=spec))
        else:
            self.attempt(lambda: deployment_update(actor=actor, deployment_id=one.id, spec=spec))

    @happens(who=WHO, name=APP, least=st.integers(1, 3), most=st.integers(1, 6))
    def bounds_changed(self, who: str, name: str, least: int, most: int) -> None:
        if one := self.app(who, name):
            block = Autoscaling(min=least, max=most, concurrency=4)
            self.attempt(lambda: autoscaling_update(actor=self.actors[who], deployment_id=one.id, block=block))

    @happens(who=WHO, name=APP, disabled=st.booleans())
    def switched(self, who: str, name: str, disabled: bool) -> None:
        if one := self.app(who, name):
            self.attempt(lambda: deployment_set_disabled(
                actor=self.actors[who], deployment_id=one.id, disabled=disabled
            ))  # fmt: skip

    @happens(who=WHO, name=APP)
    def deployment_given_up(self, who: str, name: str) -> None:
        if one := self.app(who, name):
            self.attempt(lambda: deployment_delete(actor=self.actors[who], deployment_id=one.id))

    @happens(
        who=WHO, name=APP, kind=st.sampled_from(["FREEZE", "PIN"]), size=st.integers(1, 5), minutes=st.integers(1, 40)
    )
    def held(self, who: str, name: str, kind: str, size: int, minutes: int) -> None:
        if one := self.app(who, name):
            pinned = size if kind == "PIN" else None
            until = clock.now() + timedelta(minutes=minutes)
            self.attempt(lambda: hold_create(
                actor=self.actors[who], kind=kind, reason="tried", deployment_id=one.id, expires_at=until, size=pinned
            ))  # fmt: skip

    @happens(who=WHO)
    def holds_ended(self, who: str) -> None:
        for one in Hold.objects.filter(organization=self.organizations[who]):
            self.attempt(lambda hold=one: hold_end(actor=self.actors[who], hold_id=hold.id))  # type: ignore[misc]

    @happens(who=WHO, name=APP, nth=NTH)
    def replica_started_anew(self, who: str, name: str, nth: int) -> None:
        one = self.app(who, name)
        rows = list(one.replicas.order_by("key")) if one else []
        if one and nth < len(rows):
            self.attempt(lambda: replica_restart(
                actor=self.actors[who], deployment_id=one.id, replica_key=rows[nth].key
            ))  # fmt: skip

    @happens(who=WHO, name=APP, in_flight=st.integers(0, 24))
    def traffic(self, who: str, name: str, in_flight: int) -> None:
        if one := self.app(who, name):
            self.runtime.in_flight[one.key] = in_flight

    # --- the platform ------------------------------------------------------------------------------
    @happens(place=PLACE, size=st.integers(0, 5))
    def pool_changed(self, place: str, size: int) -> None:
        self.attempt(lambda: pool_resize(actor=world.PLATFORM, offering=self.offering(place), size=size))

    @happens(who=WHO, place=PLACE, limit=st.integers(0, 5), reserved=st.integers(0, 3), other=st.integers(0, 2))
    def quota_changed(self, who: str, place: str, limit: int, reserved: int, other: int) -> None:
        self.attempt(lambda: quota_set(
            actor=world.PLATFORM, organization=self.organizations[who], offering=self.offering(place), limit=limit,
            reserved=reserved, other_usage=other,
        ))  # fmt: skip

    @happens(kind=st.sampled_from(PriceKind.values), usd=st.integers(1, 20))
    def price_changed(self, kind: str, usd: int) -> None:
        with transaction.atomic():
            old, now = Price.objects.get(kind=kind, valid__endswith=None), clock.now().replace(microsecond=0)
            if old.valid.lower < now:
                Price.objects.filter(pk=old.pk).update(valid=DateTimeTZRange(old.valid.lower, now))
                Price.objects.create(instance_type=self.type, kind=kind, usd_per_gpu_hour=Decimal(usd),
                                     valid=DateTimeTZRange(now, None))  # fmt: skip

    @happens(nth=NTH, work=st.sampled_from(["CORDON", "DRAIN", "BAD", "nothing"]))
    def machine_worked_on(self, nth: int, work: str) -> None:
        there = Instance.objects.filter(state__in=["READY", "DRAINING"]).order_by("key")
        keys = list(there.values_list("key", flat=True))
        if not keys:
            return
        key = keys[nth % len(keys)]
        if work == "nothing":
            self.attempt(lambda: instance_work_clear(actor=world.PLATFORM, instance_key=key))
        else:
            self.attempt(lambda: instance_work_set(
                actor=world.PLATFORM, instance_key=key, work=Work(work), reason="tried"
            ))  # fmt: skip

    @happens(place=PLACE, withdrawn=st.booleans())
    def offering_changed(self, place: str, withdrawn: bool) -> None:
        change = offering_withdraw if withdrawn else offering_restore
        self.attempt(lambda: change(actor=world.PLATFORM, offering=self.offering(place)))

    # --- what breaks -------------------------------------------------------------------------------
    @happens(nth=NTH)
    def machine_vanishes(self, nth: int) -> None:
        if keys := list(SimulatedNode.objects.order_by("instance_key").values_list("instance_key", flat=True)):
            SimulatedNode.objects.filter(instance_key=keys[nth % len(keys)]).delete()

    @happens(nth=NTH)
    def replica_vanishes(self, nth: int) -> None:
        if keys := list(SimulatedReplica.objects.order_by("replica_key").values_list("replica_key", flat=True)):
            SimulatedReplica.objects.filter(replica_key=keys[nth % len(keys)]).delete()

    @happens(nth=NTH)
    def request_never_ends(self, nth: int) -> None:
        if keys := list(SimulatedReplica.objects.order_by("replica_key").values_list("replica_key", flat=True)):
            SimulatedReplica.objects.filter(replica_key=keys[nth % len(keys)]).update(active=1)

    @happens(call=st.sampled_from(["join", "leave", "observe", "nodes"]), done=st.booleans())
    def machines_do_not_answer(self, call: str, done: bool) -> None:
        failing = Faulty(_fails(call, done))
        failing.real = self.nodes  # type: ignore[assignment]
        self.run_loop("provision", nodes=failing)

    @happens(call=st.sampled_from(["start", "drain", "stop", "observe", "replicas", "sample"]), done=st.booleans())
    def runtime_does_not_answer(self, call: str, done: bool) -> None:
        failing = Faulty(_fails(call, done))
        failing.real = self.runtime
        self.run_loop("scale", runtime=failing)
        self.run_loop("actuate", runtime=failing)

    @happens(name=LOOP, at=st.integers(0, 70))
    def worker_killed(self, name: str, at: int) -> None:
        try:
            with Boundaries(at).installed():
                self.run_loop(name)
        except Killed:
            pass

    # --- loops -------------------------------------------------------------------------------------
    @rule(name=LOOP, times=st.integers(1, 2))
    def loop_runs(self, name: str, times: int) -> None:
        for _ in range(times):
            self.run_loop(name)

    @rule(names=st.lists(LOOP, min_size=2, max_size=3))
    def loops_run_side_by_side(self, names: Sequence[str]) -> None:
        errors: list[BaseException] = []

        def work(name: str) -> None:
            try:
                self.run_loop(name)
            except Exception as error:
                errors.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=work, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(MOST_SECONDS)
        none(
            [
                f"{name} is not over after {MOST_SECONDS} s"
                for name, one in zip(names, threads, strict=True)
                if one.is_alive()
            ]
        )
        none([f"{type(error).__name__}: {error}" for error in errors])

    @rule(seconds=st.sampled_from([5, 20, 65]), rounds=st.integers(1, 4))
    def time_passes(self, seconds: int, rounds: int) -> None:
        for _ in range(rounds):
            advance(timedelta(seconds=seconds))
            self.run_round()

    @rule(minutes=st.sampled_from([7, 11, 61, 24 * 60]))
    def nobody_works_for(self, minutes: int) -> None:
        advance(timedelta(minutes=minutes))

    # --- users: windows ----------------------------------------------------------------------------
    @happens(
        who=WHO, name=CLAIM, ahead=st.sampled_from([-15, 0, 1, 30]), minutes=st.sampled_from([1, 20, 90]),
        count=st.integers(1, 4), again=st.booleans(),
    )  # fmt: skip
    def window_wanted(self, who: str, name: str, ahead: int, minutes: int, count: int, again: bool) -> None:
        """A daily window of the claim with that name, soon or now, or one that it has made another one (C12)."""
        one, actor = self.claim(who, name), self.actors[who]
        if one is None:
            return
        start = (clock.now() + timedelta(minutes=ahead)).replace(tzinfo=None, second=0, microsecond=0)
        asked = WindowAsked(start, timedelta(minutes=minutes), "FREQ=DAILY", "UTC", count)
        had = one.windows.order_by("key").first()
        if had and again:
            self.attempt(lambda: window_change(actor=actor, claim_id=one.id, window_id=had.id, asked=asked))
        else:
            self.attempt(lambda: window_create(actor=actor, claim_id=one.id, asked=asked))

    @happens(who=WHO, name=CLAIM)
    def window_given_up(self, who: str, name: str) -> None:
        one = self.claim(who, name)
        had = one.windows.order_by("key").first() if one else None
        if one and had:
            self.attempt(lambda: window_delete(actor=self.actors[who], claim_id=one.id, window_id=had.id))

    def no_windows(self) -> None:
        """Nothing recurs any more, so that a time comes at which nothing moves."""
        for row in ClaimWindow.objects.exclude(claim__status=Status.DELETING).select_related("claim"):
            who = next(who for who, one in self.organizations.items() if one.key == row.claim.organization_id)
            window_delete(actor=self.actors[who], claim_id=row.claim.id, window_id=row.id)

    # --- always, and in the end --------------------------------------------------------------------
    @invariant()
    def everything_holds(self) -> None:
        connection.check_constraints()
        none([f"{one.invariant}: {one.rows}" for one in breaches()])

    def teardown(self) -> None:
        if sys.exc_info()[0] is not None:
            return  # the step that failed says what is wrong
        self.no_windows()
        self.settle()
        now = clock.now()
        none(settled.wrong(now))
        none(ledger_differs())
        for _ in range(2):
            for organization in self.organizations.values():
                none(bill_differs(organization, now))
            metering.meter_pass(now)
        assert metering.meter_pass(now) == 0, "rating again wrote more"

    def settle(self) -> None:
        """Let time pass, an hour at least, until nothing moves."""
        last, still = life.picture(), 0
        for _ in range(MOST_ROUNDS):
            advance(life.LONG_ROUND)
            self.run_round()
            now = life.picture()
            still = still + 1 if now == last and not life.under_way() else 0
            if still >= STILL_ROUNDS:
                return
            last = now
        raise AssertionError(f"not settled; under way: {life.under_way()}; {last}")


def none(wrong: Sequence[str]) -> None:
    assert not wrong, "\n".join(wrong)


def _fails(name: str, done: bool) -> Callable[[str, int, bool], BaseException | None]:
    """A call of that name fails, before it was done or after."""
    return lambda called, number, after: ConnectionError("cut off") if (called, after) == (name, done) else None
