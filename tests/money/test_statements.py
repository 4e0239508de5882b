"""B6: statements are closed on the third day, once, and are fixed; what is rated late is a line of the next one."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims import metering
from claims.bills import Month
from claims.models import (
    MeterCursor,
    Offering,
    RatedSlice,
    Statement,
    StatementLine,
    StatementStatus,
    UsageInterval,
    UsageKind,
)
from claims.statements.closing import statement_close, statements_pass
from claims.statements.selectors import statement_of, statements_of
from console.common import clock
from console.common.ids import new_id
from console.common.money import to_cents
from console.organizations.models import AuditEvent
from tests import world
from tests.cast import Cast

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
MAY, JUNE, JULY = (datetime(2026, month, 1, tzinfo=UTC) for month in (5, 6, 7))
THIRD = datetime(2026, 6, 3, tzinfo=UTC)
CLAIM = new_id()


def used(
    cast: Cast, started: datetime, ended: datetime | None, *, name: str = "prod", gpus: int = 4, kind: str = "CLAIM",
    of: Offering | None = None,
) -> UsageInterval:  # fmt: skip
    place = of or world.offering()
    return UsageInterval.objects.create(
        kind=kind, resource_key=UsageInterval.objects.count() + 1, organization=cast.organization, offering=place,
        instance=world.gone(place), gpus=gpus, claim_kind="SERVERLESS" if kind == "CLAIM" else "", holder_id=CLAIM,
        holder_name=name, started_at=started, ended_at=ended,
    )  # fmt: skip


@pytest.fixture
def spent(cast: Cast) -> Cast:
    """Ten seconds and 100 hours of a claim in May, running on into June; a second of one GPU of a replica."""
    used(cast, JUNE - 100 * HOUR - 10 * SECOND, JUNE + 10 * HOUR)
    used(cast, MAY + HOUR, MAY + HOUR + SECOND, name="chat", gpus=1, kind=UsageKind.REPLICA)
    return cast


def rated_to(now: datetime) -> None:
    metering.meter_pass(now + timedelta(minutes=3))


@pytest.mark.django_db
def test_b6_a_month_is_closed_on_the_third_day_and_not_before(spent: Cast) -> None:
    rated_to(THIRD)
    assert statements_pass(now=THIRD - SECOND) == 0
    assert not Statement.objects.exists()
    assert statements_pass(now=THIRD) == 1
    statement = Statement.objects.get()
    assert (statement.month, statement.status, statement.closed_at) == (MAY.date(), StatementStatus.CLOSED, THIRD)
    assert AuditEvent.objects.filter(action="statement.close", object_id=str(statement.id)).count() == 1


@pytest.mark.django_db
def test_b6_a_month_that_is_not_rated_stays_open(spent: Cast) -> None:
    rated_to(JUNE - HOUR)
    assert statements_pass(now=THIRD) == 0
    rated_to(JUNE)
    assert statements_pass(now=THIRD) == 1


@pytest.mark.django_db
def test_b6_lines_are_exact_sums_rounded_half_up_once(spent: Cast) -> None:
    rated_to(THIRD)
    statements_pass(now=THIRD)
    chat, prod = StatementLine.objects.order_by("holder_name")
    assert (prod.gpu_seconds, prod.usd_per_gpu_hour, prod.rate) == (4 * 360010, Decimal("10.50"), "ON_DEMAND")
    assert prod.amount == to_cents(4 * 360010 * Decimal("10.50") / 3600) == Decimal("4200.12")
    # A second costs 0.29 cents: less than half a cent is nothing, and the hours of the slices were never rounded.
    assert (chat.gpu_seconds, chat.amount) == (1, Decimal("0.00"))
    assert Statement.objects.get().total == Decimal("4200.12")
    assert prod.description == "SERVERLESS claim prod: gb200-4x in US-WEST-04A on demand"


@pytest.mark.django_db
def test_b6_half_a_cent_is_a_cent(cast: Cast) -> None:
    # 36 seconds of a GPU at 10.50 USD an hour are 10.5 cents.
    used(cast, MAY, MAY + 36 * SECOND, gpus=1)
    rated_to(THIRD)
    statements_pass(now=THIRD)
    assert StatementLine.objects.get().amount == Decimal("0.11")


@pytest.mark.django_db
def test_b6_closing_again_changes_nothing(spent: Cast) -> None:
    rated_to(THIRD)
    statements_pass(now=THIRD)
    before = list(Statement.objects.values()), list(StatementLine.objects.values())
    assert statements_pass(now=THIRD + HOUR) == 0
    assert not statement_close(organization=spent.organization, month=Month(MAY), now=THIRD + HOUR)
    assert (list(Statement.objects.values()), list(StatementLine.objects.values())) == before


@pytest.mark.django_db(transaction=True)
def test_b6_passes_side_by_side_close_once(spent: Cast) -> None:
    rated_to(THIRD)
    together, closed = threading.Barrier(4), []

    def run() -> None:
        try:
            together.wait(timeout=30)
            closed.append(statements_pass(now=THIRD))
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(closed) == [0, 0, 0, 1]
    assert (Statement.objects.count(), StatementLine.objects.count()) == (1, 2)


CHANGES: dict[str, Callable[[Statement], object]] = {
    "another total": lambda one: Statement.objects.filter(pk=one.pk).update(total=0),
    "open again": lambda one: Statement.objects.filter(pk=one.pk).update(
        status="OPEN", closed_at=None, total=None, slices_until=None
    ),
    "gone": lambda one: Statement.objects.filter(pk=one.pk)._raw_delete("default"),
    "another amount": lambda one: StatementLine.objects.filter(statement=one).update(amount=0),
    "a line less": lambda one: StatementLine.objects.filter(statement=one)._raw_delete("default"),
    "a line more": lambda one: StatementLine.objects.create(
        statement=one, kind="CLAIM", holder_id=CLAIM, holder_name="late", offering=world.offering(), description="late",
        rate="ON_DEMAND", usd_per_gpu_hour=1, gpu_seconds=1, amount=1,
    ),
}  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize("change", CHANGES)
def test_b6_the_database_refuses_to_change_what_is_closed(spent: Cast, change: str) -> None:
    rated_to(THIRD)
    statements_pass(now=THIRD)
    before = list(Statement.objects.values()), list(StatementLine.objects.values())
    with pytest.raises(ProgrammingError), transaction.atomic():
        CHANGES[change](Statement.objects.get())
    assert (list(Statement.objects.values()), list(StatementLine.objects.values())) == before


@pytest.mark.django_db
def test_b6_the_database_refuses_a_second_statement_of_a_month(spent: Cast) -> None:
    rated_to(THIRD)
    statements_pass(now=THIRD)
    with pytest.raises(IntegrityError), transaction.atomic():
        Statement.objects.create(organization=spent.organization, month=MAY.date())


def rated_late(cast: Cast, at: datetime) -> RatedSlice:
    """A slice of May that came after its statement: the ledger itself enters nothing there any more."""
    row = used(cast, at, at + HOUR, name="late", gpus=1)
    return RatedSlice.objects.create(
        interval=row, organization=cast.organization, started_at=at, ended_at=at + HOUR, rate="ON_DEMAND",
        usd_per_gpu_hour=Decimal("10.50"), gpu_seconds=3600, usd=Decimal("10.50"),
    )  # fmt: skip


@pytest.mark.django_db
def test_b6_what_is_rated_after_its_month_was_closed_is_corrected_in_the_next(spent: Cast) -> None:
    rated_to(THIRD)
    statements_pass(now=THIRD)
    may = Statement.objects.get()
    rated_late(spent, MAY + 50 * HOUR)
    rated_to(JULY + 3 * timedelta(days=1))
    assert statements_pass(now=JULY + timedelta(days=2)) == 1
    june = Statement.objects.get(month=JUNE.date())
    own, correction = june.lines.order_by("id")
    assert (own.holder_name, own.correction_of, own.amount) == ("prod", None, Decimal("420.00"))
    assert (correction.holder_name, correction.correction_of) == ("late", MAY.date())
    assert correction.amount == Decimal("10.50")
    assert correction.description.startswith("Correction of 2026-05: SERVERLESS claim late")
    assert june.total == Decimal("430.50")
    may.refresh_from_db()
    assert may.total == Decimal("4200.12")
    # And never again: the statement after the next has nothing of it.
    august = datetime(2026, 8, 3, tzinfo=UTC)
    rated_to(august)
    assert statements_pass(now=august) == 1
    assert not Statement.objects.get(month=JULY.date()).lines.exists()


@pytest.mark.django_db
def test_b6_months_are_closed_in_order_and_none_is_left_out(spent: Cast) -> None:
    now = datetime(2026, 9, 4, tzinfo=UTC)
    rated_to(now)
    assert statements_pass(now=now) == 4
    assert [one.month.month for one in Statement.objects.order_by("month")] == [5, 6, 7, 8]
    totals = [one.total for one in Statement.objects.order_by("month")]
    assert totals == [Decimal("4200.12"), Decimal("420.00"), Decimal(0), Decimal(0)]


@pytest.mark.django_db
def test_b6_another_organization_s_use_is_not_billed(spent: Cast) -> None:
    rated_to(THIRD)
    statements_pass(now=THIRD)
    assert {one.organization for one in Statement.objects.all()} == {spent.organization}
    assert statements_of(spent.other, THIRD)[0].total == 0


# --- reading ---------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_an_open_statement_becomes_what_it_showed(spent: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    rated_to(JUNE - 20 * HOUR)
    _, open_lines = statement_of(spent.organization, Month(MAY), THIRD)
    rated_to(THIRD)
    statements_pass(now=THIRD)
    one, closed_lines = statement_of(spent.organization, Month(MAY), THIRD)
    assert closed_lines == open_lines
    assert one.stored is not None
    assert one.total == one.stored.total


NOW = datetime(2026, 6, 4, 12, tzinfo=UTC)


@pytest.fixture
def closed(spent: Cast, monkeypatch: pytest.MonkeyPatch) -> Cast:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    rated_to(THIRD)
    statements_pass(now=THIRD)
    return spent


@pytest.mark.django_db
def test_the_api_lists_statements_and_their_lines(closed: Cast) -> None:
    api = closed.billing.api()
    june, may = api.get("/api/v1/statements").json()["items"]
    assert (june["month"], june["status"], june["total"]) == ("2026-06", "OPEN", "420.00")
    assert (may["month"], may["status"], may["total"]) == ("2026-05", "CLOSED", "4200.12")
    one = api.get("/api/v1/statements/2026-05").json()
    assert sum(Decimal(line["amount"]) for line in one["lines"]) == Decimal(one["total"])
    assert one["lines"][0]["gpuHours"] == "400.011111"
    assert api.get("/api/v1/statements/2026-06").json()["total"] == "420.00"


@pytest.mark.django_db
def test_statements_of_the_future_are_refused(closed: Cast) -> None:
    api = closed.billing.api()
    answer = api.get("/api/v1/statements/2026-07")
    assert answer.status_code == 400
    assert "2026-07 lies in the future" in answer.content.decode()
    for wrong in ("2026-13", "2026", "may", "0000-01", "2026-1"):
        assert api.get(f"/api/v1/statements/{wrong}").status_code == 400, wrong
    assert api.get("/api/v1/statements/2026-04").status_code == 404
    page = closed.billing.browser().get(reverse("statement", args=["2026-07"]))
    assert page.status_code == 400
    assert "lies in the future" in page.content.decode()


@pytest.mark.django_db
def test_statements_are_for_who_may_see_money(closed: Cast) -> None:
    for path in ("/api/v1/statements", "/api/v1/statements/2026-05"):
        assert closed.viewer.api().get(path).status_code == 403
        assert closed.admin.api().get(path).status_code == 200
    assert closed.outsider.api().get("/api/v1/statements/2026-05").status_code == 404
    for address in (reverse("statements"), reverse("statement", args=["2026-05"])):
        assert closed.viewer.browser().get(address).status_code == 403
        page = closed.billing.browser().get(address)
        assert page.status_code == 200
        assert "$4,200.12" in page.content.decode()


@pytest.mark.django_db
def test_the_admin_shows_statements_and_changes_none(closed: Cast) -> None:
    browser, one = closed.platform.browser(), Statement.objects.get()
    address = reverse("admin:claims_statement_change", args=[one.pk])
    assert "4200.12" in browser.get(address).content.decode()
    assert browser.post(address, {"total": "1"}).status_code == 403
    assert browser.get(reverse("admin:claims_statement_changelist")).status_code == 200
    assert MeterCursor.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("month", ["2026-05", "2026-06"])
def test_statements_ask_no_more_for_many(closed: Cast, month: str) -> None:
    api = closed.billing.api()

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert api.get(f"/api/v1/statements/{month}").status_code == 200
            assert api.get("/api/v1/statements").status_code == 200
        return len(found)

    queries()
    before = queries()
    for number in range(5):
        used(closed, NOW - 9 * HOUR, None, name=f"more-{number}", of=world.offering("RNO2A", "gd-1xgh200"))
    assert queries() == before
