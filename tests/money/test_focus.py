"""B7: the FOCUS export agrees with statements to half a cent a line, unrounded; its columns, enumerations, products."""

import asyncio
import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from claims import metering
from claims.bills import Month
from claims.focus.charges import Export, sums_by_line
from claims.focus.rows import COLUMNS
from claims.models import (
    CapacityClaim,
    ClaimUse,
    Labels,
    Price,
    QuotaChange,
    RatedSlice,
    Statement,
    UsageInterval,
    UsageKind,
)
from claims.services import price_set
from claims.statements.closing import statements_pass
from console.common import clock
from console.common.ids import new_id
from console.common.streams import ROWS_A_CHUNK, aside, csv_chunks
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
MAY, JUNE = (datetime(2026, month, 1, tzinfo=UTC) for month in (5, 6))
NOW = datetime(2026, 6, 3, 10, 25, 30, tzinfo=UTC)
CLAIM, CHAT = new_id(), new_id()
LABELS = {"team": "search", "example.com/cost-center": "4711", "spot": ""}
MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost",
    "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName",
    "ServiceCategory", "ServiceName",
}  # fmt: skip
ENUMERATIONS = {
    "ChargeCategory": {"Usage"}, "ChargeClass": {"", "Correction"}, "ChargeFrequency": {"Usage-Based"},
    "PricingCategory": {"Standard", "Committed"}, "ServiceCategory": {"AI and Machine Learning"},
    "ServiceSubcategory": {"AI Platforms"}, "CapacityReservationStatus": {"", "Used", "Unused"},
    "CommitmentDiscountStatus": {""}, "BillingCurrency": {"USD"}, "PricingCurrency": {"USD"},
    "PricingUnit": {"GPU-Hours"}, "ConsumedUnit": {"GPU-Hours"},
}  # fmt: skip


def used(cast: Cast, started: datetime, ended: datetime | None, kind: str = "CUSTOMER", gpus: int = 4) -> UsageInterval:
    place, claim = world.offering(), kind != "REPLICA"
    return UsageInterval.objects.create(
        kind=UsageKind.CLAIM if claim else UsageKind.REPLICA, resource_key=UsageInterval.objects.count() + 1,
        organization=cast.organization, offering=place, instance=world.gone(place), gpus=gpus,
        claim_kind=kind if claim else "", holder_id=CLAIM if claim else CHAT, holder_name="prod" if claim else "chat",
        started_at=started, ended_at=ended,
    )  # fmt: skip


@pytest.fixture
def exported(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Cast:
    """Two CUSTOMER instances from the 20th of May into June, one of them within what is reserved from the 25th on;
    odd seconds of a replica; a price that changes in mid-hour. May is closed. The claim has labels."""
    of = world.offering()
    Labels.objects.create(organization=cast.organization, kind=UsageKind.CLAIM, holder_id=CLAIM, labels=LABELS)
    monkeypatch.setattr(clock, "now", lambda: MAY)
    QuotaChange.objects.create(organization=cast.organization, offering=of, limit=9, reserved=1, other_usage=0,
                               at=datetime(2026, 5, 25, 7, 13, 11, tzinfo=UTC))  # fmt: skip
    price_set(actor=world.PLATFORM, instance_type=of.instance_type, zone=None, kind="ON_DEMAND",  # type: ignore[arg-type]
              usd=Decimal("11.237"), starts=datetime(2026, 5, 29, 9, 41, 3, tzinfo=UTC))  # fmt: skip
    used(cast, datetime(2026, 5, 20, 3, 4, 5, tzinfo=UTC), datetime(2026, 6, 2, 1, 1, 1, tzinfo=UTC))
    used(cast, datetime(2026, 5, 20, 3, 4, 6, tzinfo=UTC), None)
    used(cast, datetime(2026, 5, 29, 9, 0, 7, tzinfo=UTC), datetime(2026, 5, 29, 11, 59, 58, tzinfo=UTC), "REPLICA", 3)
    metering.meter_pass(NOW)
    statements_pass(now=NOW)
    monkeypatch.setattr(clock, "now", lambda: NOW)
    return cast


def export(cast: Cast, **query: str) -> list[dict[str, str]]:
    answer: Any = cast.billing.api().get("/api/v1/focus", query)
    assert answer.status_code == 200, answer.content
    assert answer.streaming
    return list(csv.DictReader(StringIO(b"".join(answer.streaming_content).decode())))


def test_b7_rows_add_up_to_each_line_of_the_statement(exported: Cast) -> None:
    statement = Statement.objects.get()
    sums = sums_by_line(Export(exported.organization).billed(Month(MAY)))
    lines = list(statement.lines.all())
    assert len(lines) == len(sums) == 5
    for line in lines:
        key = (line.kind, line.holder_id, line.holder_name, line.offering_id, line.rate, line.usd_per_gpu_hour, None)
        assert abs(sums[key] - line.amount) <= Decimal("0.005")
    assert any(usd.quantize(Decimal("0.01")) != usd for usd in sums.values()), "rows are not rounded"
    rows = export(exported, period="2026-05")
    assert {row["InvoiceId"] for row in rows} == {str(statement.id)}
    whole = sum(Decimal(row["BilledCost"]) for row in rows)
    assert whole == sum(sums.values())
    assert abs(whole - Decimal(statement.total or 0)) <= Decimal("0.005") * len(lines)


def test_b7_what_is_billed_late_is_a_correction_of_the_next_statement(exported: Cast) -> None:
    row = used(exported, MAY + 9 * HOUR, MAY + 10 * HOUR, "REPLICA", 1)
    RatedSlice.objects.create(
        interval=row, organization=exported.organization, started_at=row.started_at, ended_at=MAY + 10 * HOUR,
        rate="ON_DEMAND", usd_per_gpu_hour=Decimal("10.50"), gpu_seconds=3600, usd=Decimal("10.50"),
    )  # fmt: skip
    assert len(export(exported, period="2026-05")) == len(
        [one for one in Export(exported.organization).between(MAY, JUNE) if not one.is_correction]
    )
    (found,) = (one for one in export(exported, period="2026-06") if one["ChargeClass"])
    assert (found["ChargeClass"], found["InvoiceId"], found["BilledCost"]) == ("Correction", "", "10.5")
    assert (found["ChargePeriodStart"], found["BillingPeriodStart"]) == ("2026-05-01T09:00:00Z", "2026-06-01T00:00:00Z")
    july = datetime(2026, 7, 3, tzinfo=UTC)
    metering.meter_pass(july)
    statements_pass(now=july)
    june = Statement.objects.get(month=JUNE.date())
    sums = sums_by_line(Export(exported.organization).billed(Month(JUNE)))
    lines = {(one.kind, one.holder_id, one.holder_name, one.offering_id, one.rate, one.usd_per_gpu_hour,
              one.correction_of): one.amount for one in june.lines.all()}  # fmt: skip
    assert lines.keys() == sums.keys()
    assert all(abs(sums[key] - lines[key]) <= Decimal("0.005") for key in sums)
    (found,) = (one for one in export(exported, start="2026-05-01T09:00:00Z", end="2026-05-01T10:00:00Z"))
    assert (found["InvoiceId"], found["ChargeClass"]) == (str(june.id), "Correction")


def test_b7_sums_are_the_ledger_s_own(exported: Cast) -> None:
    rows = export(exported, period="month-to-date")
    end = metering.hour_of(NOW)
    assert sum(Decimal(row["BilledCost"]) for row in rows) == metering.total(
        metering.usage(exported.organization, JUNE, end, NOW)
    )
    day = export(exported, period="last-24-hours")
    assert {row["ChargePeriodStart"] for row in day} == {
        f"{end - hours * HOUR:%Y-%m-%dT%H:%M:%SZ}" for hours in range(1, 25)
    }


def test_b7_columns_and_enumerations_are_those_of_the_format(exported: Cast) -> None:
    rows = export(exported, period="2026-05")
    assert COLUMNS.keys() >= MANDATORY
    assert list(rows[0]) == list(COLUMNS)
    for row in rows:
        for name in MANDATORY - {"ChargeClass"}:
            assert row[name], name
        for name, allowed in ENUMERATIONS.items():
            assert row[name] in allowed, name
        json.loads(row["Tags"]), json.loads(row["SkuPriceDetails"])
    assert {row["PricingCategory"] for row in rows} == {"Standard", "Committed"}


def test_tags_are_the_labels_that_the_holder_has_now_beside_our_own(exported: Cast) -> None:
    def tags() -> dict[str, dict[str, str]]:
        return {row["ResourceName"]: json.loads(row["Tags"]) for row in export(exported, period="2026-05")}

    slug, of = exported.organization.slug, {"organization": exported.organization, "holder_id": CHAT}
    chat = {"headroom/organization": slug, "headroom/kind": "replica"}
    assert tags() == {"prod": {"headroom/organization": slug, "headroom/kind": "claim"} | LABELS, "chat": chat}
    Labels.objects.create(**of, kind=UsageKind.REPLICA, labels={"team": "ads"})
    Labels.objects.create(**of, kind=UsageKind.CLAIM, labels={"team": "of a claim of the same id"})
    Labels.objects.create(**of | {"organization": exported.other}, kind=UsageKind.REPLICA, labels={"team": "theirs"})
    assert tags()["chat"] == chat | {"team": "ads"}


def test_b7_products_and_periods_hold_in_every_row(exported: Cast) -> None:
    for row in export(exported, period="2026-05"):
        number = defaultdict(Decimal, {name: Decimal(value) for name, value in row.items()
                                       if value and (name.endswith("Cost") or ("Price" in name and "Sku" not in name))
                                       and name != "PricingCategory"})  # fmt: skip
        amount = Decimal(row["PricingQuantity"])
        assert abs(amount * number["ContractedUnitPrice"] - number["ContractedCost"]) < Decimal("1e-9")
        assert abs(amount * number["ListUnitPrice"] - number["ListCost"]) < Decimal("1e-9")
        assert number["BilledCost"] == number["EffectiveCost"] == number["ContractedCost"] <= number["ListCost"]
        start, end = (datetime.fromisoformat(row[f"ChargePeriod{which}"]) for which in ("Start", "End"))
        assert end - start == HOUR
        assert start == metering.hour_of(start)
        assert row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["BillingPeriodEnd"]


def test_reserved_hours_show_what_they_would_have_cost(exported: Cast) -> None:
    rows = [row for row in export(exported, period="2026-05") if row["PricingCategory"] == "Committed"]
    assert {row["ListUnitPrice"] for row in rows} == {"10.5", "11.237"}
    assert {row["ContractedUnitPrice"] for row in rows} == {"6.3"}
    # The hour of the price change has a row for each list price.
    hour = [row for row in rows if row["ChargePeriodStart"] == "2026-05-29T09:00:00Z"]
    assert sum(Decimal(row["PricingQuantity"]) for row in hour) == 4


def test_hours_in_which_nothing_ran_on_a_claim_say_so(exported: Cast) -> None:
    claim = CapacityClaim.objects.create(id=CLAIM, organization=exported.organization, offering=world.offering(),
                                         name="prod", kind="CUSTOMER", target=2)  # fmt: skip
    ClaimUse.objects.create(claim=claim, hour=JUNE + 5 * HOUR, looks=60, gpus_used=0, gpus_held=480)
    ClaimUse.objects.create(claim=claim, hour=JUNE + 6 * HOUR, looks=60, gpus_used=1, gpus_held=480)
    rows = export(exported, period="2026-06")
    unused = {row["ChargePeriodStart"] for row in rows if row["CapacityReservationStatus"] == "Unused"}
    assert unused == {"2026-06-01T05:00:00Z"}


@pytest.mark.parametrize(("query", "said"), [
    ({}, "must be given"),
    ({"start": "2026-05-01T00:00:00Z"}, "must be given"),
    ({"start": "2026-05-01T00:30:00Z", "end": "2026-05-02T00:00:00Z"}, "whole hour"),
    ({"start": "2026-05-02T00:00:00Z", "end": "2026-05-02T00:00:00Z"}, "before end"),
    ({"start": "2026-07-02T00:00:00Z", "end": "2026-07-03T00:00:00Z"}, "future"),
    ({"start": "2020-05-02T00:00:00Z", "end": "2026-05-02T00:00:00Z"}, "400 days"),
    ({"start": "yesterday", "end": "2026-05-02T00:00:00Z"}, "must be a time"),
    ({"period": "forever"}, "last-24-hours"),
    ({"period": "2026-13"}, "month such as"),
    ({"period": "2026-07"}, "future"),
    ({"period": "2026-05", "start": "2026-05-01T00:00:00Z"}, "without start"),
])  # fmt: skip
def test_what_cannot_be_exported_is_refused_in_words(exported: Cast, query: dict[str, str], said: str) -> None:
    answer = exported.billing.api().get("/api/v1/focus", query)
    assert answer.status_code == 400
    assert said in answer.content.decode()


def test_hours_without_a_price_are_not_left_out_silently(exported: Cast) -> None:
    Price.objects.all().delete()
    metering.meter_pass(NOW + HOUR)
    answer = exported.billing.api().get(
        "/api/v1/focus", {"start": "2026-06-03T00:00:00Z", "end": "2026-06-04T00:00:00Z"}
    )
    assert answer.status_code == 412
    assert "has no reserved price" in answer.content.decode()


def test_the_export_is_for_who_may_see_money_and_of_one_organization(exported: Cast) -> None:
    assert exported.viewer.api().get("/api/v1/focus", {"period": "month-to-date"}).status_code == 403
    assert exported.admin.api().get("/api/v1/focus", {"period": "month-to-date"}).status_code == 200
    theirs: Any = exported.outsider.api().get("/api/v1/focus", {"period": "month-to-date"})
    assert len(b"".join(theirs.streaming_content).decode().splitlines()) == 1


def test_queries_grow_with_days_and_not_with_rows(exported: Cast) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert list(Export(exported.organization).between(JUNE, NOW))
        return len(found)

    before = queries()
    for _ in range(5):
        used(exported, metering.hour_of(NOW), None, "SERVERLESS")
    metering.meter_pass(NOW + 2 * HOUR)
    assert queries() == before


def test_an_export_is_sent_as_it_is_made() -> None:
    made: list[int] = []

    def rows() -> Iterator[list[str]]:
        for number in range(3 * ROWS_A_CHUNK):
            made.append(number)
            yield [str(number), "a,b"]

    async def first_and_all() -> tuple[int, str]:
        chunks = aside(csv_chunks(rows()))
        first = await anext(chunks)
        before = len(made)
        return before, first + "".join([chunk async for chunk in chunks])

    before, whole = asyncio.run(first_and_all())
    assert before == ROWS_A_CHUNK
    assert list(csv.reader(StringIO(whole)))[-1] == [str(3 * ROWS_A_CHUNK - 1), "a,b"]
