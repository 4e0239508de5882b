"""The worked example of docs/capacity.md is what the code does: its tables are read and compared (C12)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings

from claims.core.states import InstanceState
from claims.core.window_rules import WindowAsked
from claims.core.windows import occurrences
from claims.models import CapacityClaim, ClaimWindow, Instance
from claims.selectors import quota_of
from claims.services import fulfilment, quota_set, window_create
from claims.services.edges import lead_of
from claims.windows import window_of
from console.common import clock
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db
ZONE = ZoneInfo("America/Los_Angeles")
MONDAY = datetime(2026, 11, 2, tzinfo=ZONE)


def table(heading: str) -> Iterator[list[str]]:
    """Rows below the row of the example that begins so."""
    text = (settings.BASE_DIR / "docs" / "capacity.md").read_text()
    lines = text[text.index("### A worked example") :].split("\n")
    first = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


@pytest.fixture
def claim(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> CapacityClaim:
    """The example; the windows begin a week before the test's own time may be, and recur."""
    of = world.offering()
    quota_set(actor=world.PLATFORM, organization=cast.organization, offering=of, limit=16, reserved=0, other_usage=4)
    made = world.claim(cast.admin.actor, of, 2, "CUSTOMER", name="prod")
    world.everything_arrives()
    Instance.objects.update(joining_at=None)
    for number, minutes in enumerate([*range(10, 19), 40]):
        asked = clock.now() - timedelta(days=1, hours=number)
        Instance.objects.create(
            name=f"was-{number}", offering=of, source="POOL", state="RELEASED", gpus=4, created_at=asked,
            joining_at=asked + timedelta(minutes=1), ready_at=asked + timedelta(minutes=minutes),
            backend=settings.NODE_BACKEND,
        )  # fmt: skip
    # As if it were the Monday already on which the windows begin: what is open depends on the time alone.
    monkeypatch.setattr("claims.services.windows.clock.now", lambda: datetime(2026, 10, 26, 19, 30, tzinfo=UTC))
    for hour, lasts, rule, count in ((8, 10, "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", 5), (22, 8, "FREQ=DAILY", 3)):
        start = datetime(2026, 10, 26, hour)  # noqa: DTZ001 - a wall time
        window_create(
            actor=cast.admin.actor, claim_id=made.id,
            asked=WindowAsked(start, timedelta(hours=lasts), rule, ZONE.key, count),
        )  # fmt: skip
    return made


def test_c12_the_occurrences_of_the_example_are_those_of_its_windows(claim: CapacityClaim) -> None:
    rows = {row.count: window_of(row) for row in ClaimWindow.objects.all()}
    told = [tuple(cells) for cells in table("window")]
    assert len(told) == 5
    for name, *times in told:
        begins = datetime.strptime(f"2026 {times[2]}", "%Y %d %b %H:%M").replace(tzinfo=UTC)
        found = next(occurrences(rows[{"day": 5, "night": 3}[name]], begins, begins + timedelta(minutes=1)))
        local = [f"{at.astimezone(ZONE):%a} {at.astimezone(ZONE).day} {at.astimezone(ZONE):%b %H:%M}" for at in
                 (found.start, found.end)]  # fmt: skip
        utc = [f"{at.day} {at:%b %H:%M}" for at in (found.start, found.end)]
        assert [*local, *utc] == times


def test_c12_the_counts_of_the_example_are_those_of_the_loop(claim: CapacityClaim) -> None:
    assert lead_of(claim.offering) == timedelta(minutes=18)
    rows = list(table("from, on the clock"))
    assert len(rows) == 7
    for clocked, count, _ in rows:
        hour, minute = map(int, clocked.split(":"))
        fulfilment.fulfil_pass(now=MONDAY.replace(hour=hour, minute=minute).astimezone(UTC))
        live = claim.instances.exclude(state__in=[InstanceState.RELEASING, InstanceState.RELEASED]).count()
        assert (CapacityClaim.objects.get(key=claim.key).wanted, live) == (int(count), int(count)), clocked
        Instance.objects.filter(state=InstanceState.RELEASING).update(
            state=InstanceState.RELEASED, claim=None, organization=None
        )


def test_c12_the_quota_of_the_example_is_what_is_committed(cast: Cast, claim: CapacityClaim) -> None:
    row = quota_of(cast.organization, claim.offering)
    told = {name: int(count) for name, count in table("quota")}
    assert told == {
        "limit": row.limit, "other use": row.other_usage, "committed by prod, with its windows": row.committed,
        "free for another claim": row.free,
    }  # fmt: skip
