"""The billing pages: totals that are the ledger's own, cut every way, down to the intervals; for who may see money."""

import csv
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.db import connection
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims import bills, metering
from claims.core.rating import PriceMissing
from claims.focus.charges import Export
from claims.labels import labels_of_all
from claims.models import Labels, Offering, Price, QuotaChange, UsageInterval
from console.common import clock
from console.common.ids import new_id
from console.dashboard.billing import TABLES, lines
from console.dashboard.views.billing import offerings
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 11, 10, 25, 30, tzinfo=UTC)
START, HOUR = datetime(2026, 3, 1, tzinfo=UTC), timedelta(hours=1)
CLAIM, CHAT = new_id(), new_id()


@pytest.fixture(autouse=True)
def at_that_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def used(
    cast: Cast, name: str, started: datetime, ended: datetime | None, *, kind: str = "CLAIM", claim: str = "CUSTOMER",
    of: Offering | None = None, key: int = 0,
) -> UsageInterval:  # fmt: skip
    place = of or world.offering()
    instance = world.gone(place)
    return UsageInterval.objects.create(
        kind=kind, resource_key=key or UsageInterval.objects.count() + 1, organization=cast.organization,
        offering=place, instance=instance, gpus=4 if kind == "CLAIM" else 1,
        claim_kind=claim if kind == "CLAIM" else "", holder_id=CLAIM if kind == "CLAIM" else CHAT, holder_name=name,
        started_at=started, ended_at=ended,
    )  # fmt: skip


@pytest.fixture
def month(cast: Cast) -> Cast:
    """In March: a CUSTOMER claim of two instances since the 10th (one within the reserved two, less one other use), a
    replica in Reno for two hours; in February: five hours of a replica."""
    of, reno = world.offering(), world.offering("RNO2A", "gd-1xgh200")
    QuotaChange.objects.create(organization=cast.organization, offering=of, limit=9, reserved=4, other_usage=1,
                               at=NOW - 3 * HOUR)  # fmt: skip
    QuotaChange.objects.create(organization=cast.organization, offering=of, limit=9, reserved=2, other_usage=1,
                               at=NOW - 2 * HOUR)  # fmt: skip
    for _ in range(2):
        used(cast, "prod", NOW - 30 * HOUR, None)
    used(cast, "chat", NOW - 5 * HOUR, NOW - 3 * HOUR, kind="REPLICA", of=reno)
    used(
        cast, "chat", datetime(2026, 2, 3, 4, tzinfo=UTC), datetime(2026, 2, 3, 9, tzinfo=UTC), kind="REPLICA", of=reno
    )
    return cast


def plain(page: bytes) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page.decode()).split())


def test_the_month_to_date_is_the_ledgers_own_total(month: Cast) -> None:
    # Of 60 instance-hours at 4 GPUs: for the last three hours first both at the reserved rate for one hour, then one.
    reserved, on_demand = Decimal(4 * 4) * Decimal("6.30"), Decimal(56 * 4) * Decimal("10.50")
    replica = 2 * Decimal("6.50")
    whole = reserved + on_demand + replica
    page = plain(month.billing.browser().get(reverse("billing")).content)
    assert f"Month to date ${whole:,.2f} 242.0 GPU-hours" in page
    assert f"At the reserved rate ${reserved:,.2f}" in page
    assert f"On demand ${on_demand + replica:,.2f} 226.0 GPU-hours" in page
    assert "An hour now $67.20" in page
    assert "Unused reserved 1.0 instance-hours $25.20 at the reserved rate; never charged" in page
    assert "Unused reserved over the month: reserved quantity minus other use" in page
    metering.meter_pass(NOW)
    again = plain(month.billing.browser().get(reverse("billing")).content)
    assert again.partition("Month to date")[2] == page.partition("Month to date")[2], "rated ahead or not"


CUTS = [*TABLES, "label:team", "label:env", "label:nobody.has/it"]


def labelled(cast: Cast) -> None:
    """The claim is of search, the deployment of ads; what others call by the same ids counts for nothing."""
    of = {"organization": cast.organization}
    Labels.objects.create(**of, kind="CLAIM", holder_id=CLAIM, labels={"team": "search", "env": ""})
    Labels.objects.create(**of, kind="REPLICA", holder_id=CHAT, labels={"team": "ads"})
    Labels.objects.create(**of, kind="REPLICA", holder_id=CLAIM, labels={"team": "wrong"})
    Labels.objects.create(organization=cast.other, kind="CLAIM", holder_id=CLAIM, labels={"theirs": "x"})


@pytest.mark.parametrize("by", CUTS)
def test_every_cut_adds_up_and_every_amount_leads_to_its_intervals(month: Cast, by: str) -> None:
    metering.meter_pass(NOW)
    labelled(month)
    labels = labels_of_all(month.organization)
    browser = month.admin.browser()
    rows = metering.usage(month.organization, metering.month_of(NOW), NOW, NOW)
    found = lines(month.organization, by, rows, offerings(), bills.Month(metering.month_of(NOW)), labels)
    assert sum(one.amount.total for one in found) == metering.total(rows)
    page = browser.get(reverse("billing"), {"by": by}).content.decode()
    for line in found:
        amount = f"${line.amount.total:,.2f}"
        address = reverse("billing-lines") + "?" + line.query
        assert address.replace("&", "&amp;") in page
        behind = plain(browser.get(address).content)
        assert f"Together {amount}" in behind, line.name
        assert f"{line.amount.gpu_seconds / 3600:,.1f} GPU-hours" in behind


def test_a_bill_is_cut_by_the_values_of_a_label(month: Cast) -> None:
    browser = month.billing.browser()
    assert "Label</a>" not in browser.get(reverse("billing")).content.decode(), "nothing has labels"
    labelled(month)
    claim, chat = Decimal("100.80") + Decimal(56 * 4) * Decimal("10.50"), Decimal("13.00")
    for by, expected in (
        ("label:team", {"search": claim, "ads": chat}),
        ("label:env", {"(empty)": claim, "no label env": chat}),
        ("label:theirs", {"no label theirs": claim + chat}),
    ):
        page = browser.get(reverse("billing"), {"by": by})
        assert {line.name: line.amount.total for line in page.context["lines"]} == expected
        assert page.context["whole"].total == claim + chat
        assert sum(line.foreseen for line in page.context["lines"]) == page.context["foreseen"]
        assert f"By label {by.removeprefix('label:')}" in page.content.decode()
        rows = list(csv.DictReader(StringIO(browser.get(reverse("billing-csv"), {"by": by}).content.decode())))
        assert {row["name"]: Decimal(row["total_usd"]) for row in rows} == expected
    assert 'href="?by=label%3Aenv"' in browser.get(reverse("billing")).content.decode(), "the first of the keys"
    for wrong in ("label:", "label:a b", "label:x/y/z", "team"):
        assert browser.get(reverse("billing"), {"by": wrong}).context["by"] == "claim"


@pytest.mark.parametrize(("by", "own", "rest"), [
    ("claim", "prod", "on demand, no claim"), ("deployment", "chat", "claims, whoever runs on them"),
])  # fmt: skip
def test_what_has_no_line_of_its_own_is_the_last_line(month: Cast, by: str, own: str, rest: str) -> None:
    page = month.billing.browser().get(reverse("billing"), {"by": by})
    found = page.context["lines"]
    assert [line.name for line in found] == [own, rest]
    assert sum(line.amount.total for line in found) == page.context["whole"].total
    assert sum(line.foreseen for line in found) == page.context["foreseen"] == page.context["forecast"].total
    assert not found[-1].gone


def test_figures_above_the_table_lead_to_what_they_are_the_sum_of(month: Cast) -> None:
    browser = month.admin.browser()
    page = browser.get(reverse("billing")).content.decode()
    behind = {}
    for query in ("month=2026-03&held=1", "month=2026-03&kind=claim", "month=2026-03&kind=replica", "month=2026-03"):
        address = f"{reverse('billing-lines')}?{query}"
        assert query.endswith("replica") or address.replace("&", "&amp;") in page
        behind[query] = browser.get(address).context
    start = metering.month_of(NOW)
    rows = metering.usage(month.organization, start, NOW, NOW)
    whole, claims = metering.total(rows), metering.total(row for row in rows if row.kind == "CLAIM")
    totals = {query: one["whole"].total for query, one in behind.items()}
    assert totals["month=2026-03"] == whole
    assert totals["month=2026-03&kind=claim"] == claims
    assert totals["month=2026-03&kind=replica"] == whole - claims
    held = behind["month=2026-03&held=1"]
    ids = set(UsageInterval.objects.filter(organization=month.organization, ended_at=None).values_list("id", flat=True))
    assert {row["interval"].id for row in held["rows"]} == ids != set()
    assert held["whole"].total == sum(row["amount"].total for row in held["rows"])
    present = plain(browser.get(reverse("billing-lines"), {"held": "1"}).content)
    assert "What an hour costs now Everything that is held at this moment, at its present rate Together" in present
    assert "Together, an hour $67.20" in present


def test_what_the_focus_export_covers_and_when_it_has_rows_is_said(month: Cast) -> None:
    """No hour is rated yet; then all that have ended, two minutes after the hour."""
    browser = month.billing.browser()
    page = plain(browser.get(reverse("billing")).content)
    assert "has no row of March 2026 yet: it is made of whole hours that have ended" in page
    assert "what is used now is in it from 2026-03-11 11:02:00 UTC on" in page
    assert list(Export(month.organization).between(START, NOW)) == []
    metering.meter_pass(NOW)
    page = plain(browser.get(reverse("billing")).content)
    assert "has the whole hours of March 2026 up to 2026-03-11 10:00:00 UTC" in page
    assert "The hour under way is in it from 2026-03-11 11:02:00 UTC on" in page
    assert list(Export(month.organization).between(START, NOW)) != []
    past = plain(browser.get(reverse("billing"), {"month": "2026-02"}).content)
    assert "has the whole hours of February 2026 up to 2026-03-01 00:00:00 UTC , a row for each hour" in past
    assert "under way" not in past


def test_what_an_hour_costs_now_is_made_of_the_rates_of_what_is_held(month: Cast) -> None:
    """One of the claim's two instances is within the reserved quantity, with a replica that began this moment."""
    used(month, "chat", NOW, None, kind="REPLICA", of=world.offering("RNO2A", "gd-1xgh200"))
    browser = month.billing.browser()
    for _ in range(2):
        held = browser.get(reverse("billing-lines"), {"held": "1"}).context
        amounts = sorted((row["amount"].reserved, row["amount"].on_demand) for row in held["rows"])
        assert amounts == [(0, Decimal("6.50")), (0, Decimal("42.00")), (Decimal("25.20"), 0)]
        assert held["whole"].total == browser.get(reverse("billing")).context["forecast"].per_hour == Decimal("73.70")
        metering.meter_pass(NOW)
    alone = browser.get(reverse("billing-lines"), {"held": "1", "kind": "claim"}).context
    assert alone["whole"].total == Decimal("67.20"), "of what is chosen"


def test_the_amounts_of_intervals_add_up_to_the_whole(month: Cast) -> None:
    start = metering.month_of(NOW)
    ids = set(UsageInterval.objects.values_list("id", flat=True))
    expected = metering.total(metering.month_to_date(month.organization, NOW))
    for _ in range(2):
        costs = bills.interval_amounts(month.organization, ids, start, NOW + HOUR, NOW)
        assert sum((one.total for one in costs.values()), Decimal(0)) == expected
        metering.meter_pass(NOW)


def test_a_past_month_is_chosen_and_has_no_present(month: Cast) -> None:
    browser = month.admin.browser()
    page = browser.get(reverse("billing"), {"month": "2026-02", "by": "deployment"})
    text = plain(page.content)
    assert "February 2026 $32.50 5.0 GPU-hours" in text
    assert "An hour now" not in text
    assert "chat deleted 5.0 $0.00 $32.50 $32.50 100 %" in text
    for wrong in ("2026-13", "1999-01", "x"):
        assert "Month to date" in plain(browser.get(reverse("billing"), {"month": wrong}).content)
    assert [one.name for one in bills.months(month.organization, NOW)] == ["2026-03", "2026-02"]
    assert [one.name for one in bills.months(month.other, NOW)] == ["2026-03"]


def test_a_claim_that_is_there_is_linked(month: Cast) -> None:
    of = world.offering()
    claim = world.claim(month.admin.actor, of, 1, name="there")
    one = used(month, "there", NOW - HOUR, None)
    other = UsageInterval.objects.filter(pk=one.pk)
    copy = other.values().get() | {"id": None, "holder_id": claim.id, "instance_id": world.gone(of).key}
    UsageInterval.objects.create(**copy)
    page = month.admin.browser().get(reverse("billing")).content.decode()
    assert f'<a href="{reverse("claim", args=[claim.id])}"><b>there</b></a>' in page


def test_the_chart_stacks_reserved_and_on_demand_by_day(month: Cast) -> None:
    found = month.billing.browser().get(reverse("chart-billing", args=["2026-03"])).json()
    reserved, on_demand = found["series"]
    assert [one["name"] for one in found["series"]] == ["Reserved rate", "On demand"]
    assert [value for _, value in reserved["points"]] == [0, 100.8]
    days = [datetime.fromtimestamp(at / 1000, UTC).day for at, _ in on_demand["points"]]
    assert days == [10, 11]
    total = sum(value for one in found["series"] for _, value in one["points"])
    assert total == pytest.approx(float(metering.total(metering.month_to_date(month.organization, NOW))), abs=0.02)
    assert month.billing.browser().get(reverse("chart-billing", args=["2026-02"])).json()["to"] == 1772323200000


@pytest.mark.parametrize("by", ["claim", "deployment", "zone", "day"])
def test_the_csv_has_the_rows_of_the_page_exactly(month: Cast, by: str) -> None:
    answer = month.billing.browser().get(reverse("billing-csv"), {"month": "2026-03", "by": by})
    assert answer.headers["Content-Type"] == "text/csv"
    assert f"headroom-ours-2026-03-by-{by}.csv" in answer.headers["Content-Disposition"]
    found = list(csv.DictReader(StringIO(answer.content.decode())))
    rows = metering.month_to_date(month.organization, NOW)
    assert sum(Decimal(row["total_usd"]) for row in found) == metering.total(rows)
    assert sum(int(row["gpu_seconds"]) for row in found) == sum(row.gpu_seconds for row in rows)


def test_money_is_for_who_may_see_it(month: Cast) -> None:
    addresses = [reverse("billing"), reverse("billing-csv"), reverse("billing-lines"),
                 reverse("chart-billing", args=["2026-03"])]  # fmt: skip
    for address in addresses:
        assert month.viewer.browser().get(address).status_code == 403
        for member in (month.billing, month.admin, month.platform):
            assert member.browser().get(address).status_code == 200
    assert f'href="{addresses[0]}"' not in month.viewer.browser().get(reverse("claims")).content.decode()
    theirs = plain(month.outsider.browser().get(reverse("billing")).content)
    assert "Month to date $0.00" in theirs
    lines_of = month.outsider.browser().get(reverse("billing-lines"), {"claim": str(CLAIM)})
    assert "Nothing was used that fits" in plain(lines_of.content)


def test_a_missing_price_is_said_and_nothing_is_free(month: Cast) -> None:
    Price.objects.filter(kind="ON_DEMAND").update(valid=DateTimeTZRange(None, NOW - 4 * HOUR))
    with pytest.raises(PriceMissing):
        metering.month_to_date(month.organization, NOW)
    browser = month.billing.browser()
    for name in ("billing", "billing-lines", "overview"):
        page = plain(browser.get(reverse(name)).content)
        assert "has no on-demand price at 2026-03-11" in page, name
        assert "$0.00" not in page
    assert browser.get(reverse("billing-csv")).status_code == 409
    assert browser.get(reverse("chart-billing", args=["2026-03"])).json()["series"][0]["points"] == []


@pytest.mark.parametrize(("name", "query"), [
    *(("billing", {"by": by}) for by in CUTS), ("billing-csv", {}), ("billing-lines", {}),
    ("billing-lines", {"label": "team=search"}), ("billing-lines", {"unlabelled": "team"}),
])  # fmt: skip
def test_the_pages_ask_no_more_for_many(month: Cast, name: str, query: dict[str, str]) -> None:
    browser, reno = month.billing.browser(), world.offering("RNO2A", "gd-1xgh200")

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert browser.get(reverse(name), query).status_code == 200
        return len(found)

    queries()
    before = queries()
    for number in range(5):
        used(month, f"more-{number}", NOW - 9 * HOUR, None, claim="SERVERLESS")
        used(month, f"less-{number}", NOW - 9 * HOUR, NOW, kind="REPLICA", of=reno)
    assert queries() == before
