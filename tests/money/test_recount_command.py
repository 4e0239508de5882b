"""`manage.py recount`: an independent count, second by second, agrees on any history, and finds what was tampered with."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from claims import metering
from claims.models import QuotaChange, Statement, StatementLine, UsageInterval
from claims.recount.count import cents, recount
from claims.services import price_set
from claims.statements.closing import statements_pass
from console.common import clock
from console.common.ids import new_id
from console.organizations.models import AuditEvent
from tests import world
from tests.cast import Cast
from tests.money.test_recount import History, histories
from tests.search import examples

pytestmark = pytest.mark.django_db

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# Before months end: a plain one, a leap day, a year; and the hours in which clocks change in Europe and America.
STARTS = [
    datetime(2026, 2, 28, 22, 49, tzinfo=UTC), datetime(2028, 2, 29, 22, 49, tzinfo=UTC),
    datetime(2028, 2, 28, 23, 11, tzinfo=UTC), datetime(2026, 12, 31, 22, 49, tzinfo=UTC),
    datetime(2026, 3, 29, 0, 29, tzinfo=UTC), datetime(2026, 11, 1, 5, 29, tzinfo=UTC),
]  # fmt: skip
FAR = 40 * DAY


@examples(
    6,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(histories, st.sampled_from(STARTS))
def test_b6_the_recount_agrees_on_any_history_to_the_second_and_the_cent(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, history: list[tuple[int, tuple[Any, ...]]], start: datetime
) -> None:
    world.offering()
    with transaction.atomic(), monkeypatch.context() as patch:
        told = History(cast.organization, world.offering(), patch)
        told.now = start
        for wait, (what, *given_) in history:
            told.pass_time(wait)
            getattr(told, what)(*given_)
        told.pass_time(9000)
        for machine in range(3):
            while told.running(machine):
                told.leave(machine, 0)
        told.pass_time(7)
        told.meter()
        found = recount()
        assert found.differences == []
        told.pass_time(int(FAR.total_seconds()))
        told.meter()
        statements_pass(now=told.now)
        found = recount()
        assert found.differences == []
        if UsageInterval.objects.exists():
            assert Statement.objects.exists()
            assert found.lines == StatementLine.objects.count()
            assert found.intervals == UsageInterval.objects.count()
        transaction.set_rollback(True)


LEAP = datetime(2028, 2, 29, tzinfo=UTC)
NOW = datetime(2028, 3, 4, tzinfo=UTC)


@pytest.fixture
def spent(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Cast:
    """Over the leap day and the month's end: two CUSTOMER instances, of which one becomes reserved in mid-hour."""
    of, holder = world.offering(), new_id()
    monkeypatch.setattr(clock, "now", lambda: LEAP)
    QuotaChange.objects.create(organization=cast.organization, offering=of, limit=9, reserved=1, other_usage=0,
                               at=LEAP + timedelta(hours=13, seconds=11))  # fmt: skip
    price_set(actor=world.PLATFORM, instance_type=of.instance_type, zone=None, kind="ON_DEMAND",  # type: ignore[arg-type]
              usd=Decimal("11.237"), starts=LEAP + timedelta(hours=17, seconds=7))  # fmt: skip
    for key in (1, 2):
        UsageInterval.objects.create(
            kind="CLAIM", resource_key=key, organization=cast.organization, offering=of, instance=world.gone(of), gpus=4,
            claim_kind="CUSTOMER", holder_id=holder, holder_name="prod", started_at=LEAP + timedelta(hours=9, seconds=key),
            ended_at=LEAP + timedelta(hours=26, seconds=3),
        )  # fmt: skip
    metering.meter_pass(NOW)
    statements_pass(now=NOW)
    return cast


def said(*arguments: str) -> tuple[int, str]:
    out, code = StringIO(), 0
    try:
        call_command("recount", *arguments, stdout=out)
    except SystemExit as ended:
        code = int(str(ended.code))
    return code, out.getvalue()


def test_the_command_says_how_much_it_counted(spent: Cast) -> None:
    # February at three prices (on demand before and after, reserved), March at two.
    assert said() == (0, "2 intervals, 5 lines, 0 differences\n")
    assert said("--from", "2028-03-01", "--to", "2028-03-02") == (0, "2 intervals, 2 lines, 0 differences\n")
    assert said("--from", "2028-02-29T12:00")[0] == 0
    assert said("--to", "2028-02-29T12:00") == (0, "2 intervals, 1 lines, 0 differences\n")


TAMPERED = {
    "an interval that ends a second later": "UPDATE claims_usageinterval SET ended_at = ended_at + interval '1 second' WHERE resource_key = 1",
    "an interval that is missing": "UPDATE claims_usageinterval SET ended_at = started_at WHERE resource_key = 2",
    "a slice of another rate": "UPDATE claims_ratedslice SET rate = 'ON_DEMAND' WHERE rate = 'RESERVED'",
    "a slice of another cost": "UPDATE claims_ratedslice SET usd = usd + 0.000001 WHERE id = (SELECT max(id) FROM claims_ratedslice)",
    "a slice that is missing": "DELETE FROM claims_ratedslice WHERE id = (SELECT min(id) FROM claims_ratedslice)",
    "a quota change that was moved": "UPDATE claims_quotachange SET at = at + interval '1 second' WHERE reserved = 1",
    "another price": "UPDATE claims_price SET usd_per_gpu_hour = 11.238 WHERE usd_per_gpu_hour = 11.237",
    "a cent on a line": "UPDATE claims_statementline SET amount = amount + 0.01 WHERE id = (SELECT max(id) FROM claims_statementline)",
    "a cent on the total": "UPDATE claims_statement SET total = total + 0.01",
    "a second on a line": "UPDATE claims_statementline SET gpu_seconds = gpu_seconds + 1 WHERE id = (SELECT max(id) FROM claims_statementline)",
}  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_found(spent: Cast, what: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SET session_replication_role = replica; {TAMPERED[what]}; SET session_replication_role = DEFAULT"
        )
    code, text = said()
    assert code == 1
    assert text.startswith("DIFFERENCE: ours")
    assert not text.endswith(" 0 differences\n")


@pytest.mark.parametrize(("hour", "differences"), [(9, 0), (10, 2)])
def test_what_was_held_before_the_claim_was_made_is_found(spent: Cast, hour: int, differences: int) -> None:
    holder = UsageInterval.objects.values_list("holder_id", flat=True).first()
    AuditEvent.objects.create(organization=spent.organization, at=LEAP + hour * HOUR, actor="admin", action="claim.create",
                              object_type="CapacityClaim", object_id=str(holder))  # fmt: skip
    assert len(recount().differences) == differences


@pytest.mark.parametrize("arguments", [
    ("--from", "yesterday"), ("--to", "2028-02-29T12:30"), ("--from", "2028-03-02", "--to", "2028-03-01"),
])  # fmt: skip
def test_times_that_make_no_sense_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        call_command("recount", *arguments)


def test_half_a_cent_is_a_cent() -> None:
    assert [cents(Fraction(one)) for one in ("0.105", "0.1049999", "0.115", "0")] == [11, 10, 12, 0]


def test_it_shares_no_code_with_what_it_counts_again() -> None:
    for file in Path("claims/recount").glob("*.py"):
        imports = [line for line in file.read_text().splitlines() if line.startswith(("import ", "from "))]
        assert [line for line in imports if "claims" in line and "claims.recount" not in line] == []
