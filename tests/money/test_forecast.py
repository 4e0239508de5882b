"""The forecast: so far, plus claims as they are held, plus the last seven days on demand; and budgets measured by it."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse

from claims import metering
from claims.budgets import budget_set, budget_state
from claims.forecast import forecast
from claims.models import Budget, CapacityClaim, ClaimWindow, Price, QuotaChange, UsageInterval
from claims.services import price_set
from console.common import clock
from console.common.errors import InvalidArgument, PermissionDenied
from console.common.ids import new_id
from console.dashboard.attention import Notice, notices
from console.dashboard.views.overview import facts_of
from console.organizations.models import AuditEvent
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 6, 21, tzinfo=UTC)  # ten days, 240 hours, before the month ends
CLAIM, CHAT = new_id(), new_id()


@pytest.fixture(autouse=True)
def at_that_time(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are held against the database's own clock: the cast's are made before."""
    monkeypatch.setattr(clock, "now", lambda: NOW)


def used(cast: Cast, started: datetime, ended: datetime | None, kind: str = "SERVERLESS", gpus: int = 4) -> None:
    place, claim = world.offering(), kind != "REPLICA"
    UsageInterval.objects.create(
        kind="CLAIM" if claim else "REPLICA", resource_key=UsageInterval.objects.count() + 1,
        organization=cast.organization, offering=place, instance=world.gone(place), gpus=gpus,
        claim_kind=kind if claim else "", holder_id=CLAIM if claim else CHAT, holder_name="prod" if claim else "chat",
        started_at=started, ended_at=ended,
    )  # fmt: skip


def test_claims_are_held_on_to_the_end_of_the_month(cast: Cast) -> None:
    used(cast, NOW - 10 * HOUR, None)
    used(cast, NOW - 10 * HOUR, NOW - 5 * HOUR)  # given back: nothing more of it
    found = forecast(cast.organization, NOW)
    assert found.so_far == 15 * 4 * Decimal("10.50")
    assert found.claims == 240 * 4 * Decimal("10.50")
    assert found.on_demand == 0
    assert found.total == found.so_far + found.claims


def test_prices_and_quota_that_are_set_for_later_are_foreseen(cast: Cast) -> None:
    of = world.offering()
    price_set(actor=world.PLATFORM, instance_type=of.instance_type, zone=None, kind="RESERVED",  # type: ignore[arg-type]
              usd=Decimal(5), starts=NOW + 100 * HOUR)  # fmt: skip
    QuotaChange.objects.create(organization=cast.organization, offering=of, limit=9, reserved=1, other_usage=0,
                               at=NOW - DAY)  # fmt: skip
    used(cast, NOW - HOUR, None, "CUSTOMER")
    used(cast, NOW - HOUR, None, "CUSTOMER")
    reserved = 4 * (100 * Decimal("6.30") + 140 * Decimal(5))
    assert forecast(cast.organization, NOW).claims == reserved + 4 * 240 * Decimal("10.50")


def windows(cast: Cast, kind: str, count: int) -> None:
    """Every day from 08:00 to 18:00 UTC the claim whose machines `used` makes has so many instances; else it has one."""
    claim = world.claim(cast.admin.actor, world.offering(), 1, kind)
    CapacityClaim.objects.filter(key=claim.key).update(id=CLAIM, name="prod")
    ClaimWindow.objects.create(claim=claim, first=NOW.date(), at=time(8), duration=10 * HOUR, recurrence="FREQ=DAILY",
                               time_zone="UTC", count=count)  # fmt: skip


@pytest.mark.parametrize("by_holder", [True, False])
def test_c12_what_windows_will_add_is_foreseen(cast: Cast, by_holder: bool) -> None:
    windows(cast, "SERVERLESS", 3)
    used(cast, NOW - 10 * HOUR, None)
    used(cast, NOW - 10 * HOUR, None, "REPLICA")
    found = forecast(cast.organization, NOW, by_holder=by_holder)
    assert found.claims == (240 + 10 * 10 * 2) * 4 * Decimal("10.50")
    assert len(found.ahead) == 2, "both are told of the holders that there are"


@pytest.mark.parametrize("by_holder", [True, False])
def test_c12_what_an_open_window_gives_back_is_foreseen(
    cast: Cast, by_holder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A customer's: one of its three is paid as reserved, whatever the windows do, and the others on demand."""
    of, now = world.offering(), NOW + 12 * HOUR
    monkeypatch.setattr(clock, "now", lambda: now)
    world.quota(cast.organization, of, limit=9, reserved=1)
    windows(cast, "CUSTOMER", 3)
    for hours in (30, 4, 4):
        used(cast, now - hours * HOUR, None, "CUSTOMER")
    more = 6 + 9 * 10  # hours in which it has two more, today's to come included
    found = forecast(cast.organization, now, by_holder=by_holder)
    assert found.claims == 4 * (228 * Decimal("6.30") + more * 2 * Decimal("10.50"))


def test_c12_a_window_of_a_claim_that_holds_nothing_yet_is_foreseen(cast: Cast) -> None:
    windows(cast, "SERVERLESS", 2)
    assert forecast(cast.organization, NOW).claims == 10 * 10 * 4 * Decimal("10.50")


def test_on_demand_goes_on_as_in_the_last_seven_days(cast: Cast) -> None:
    used(cast, NOW - 20 * DAY, NOW - 10 * DAY, "REPLICA", 3)  # before these days: spent, and not a part of the mean
    used(cast, NOW - 2 * DAY, NOW - 2 * DAY + 21 * HOUR, "REPLICA", 2)
    found = forecast(cast.organization, NOW)
    assert found.on_demand == 42 * Decimal("10.50") * 240 / 168
    assert found.so_far == (3 * 240 + 42) * Decimal("10.50")


def test_a_young_ledger_is_averaged_over_the_time_there_is(cast: Cast) -> None:
    used(cast, NOW - 8 * HOUR, NOW - 6 * HOUR, "REPLICA", 1)
    assert forecast(cast.organization, NOW).on_demand == 2 * Decimal("10.50") * 240 / 8


def test_nothing_used_is_nothing_foreseen(cast: Cast) -> None:
    found = forecast(cast.organization, NOW)
    assert found.total == 0
    assert found.seconds_left == 240 * 3600


def test_at_the_end_of_the_month_the_forecast_is_what_was_spent(cast: Cast) -> None:
    used(cast, NOW - 10 * HOUR, None)
    last = datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC)
    end = last + timedelta(seconds=1)
    spent = metering.total(metering.usage(cast.organization, datetime(2026, 6, 1, tzinfo=UTC), end, end))
    assert abs(forecast(cast.organization, last).total - spent) < Decimal("1e-8")


def test_the_page_states_the_method_and_adds_up(cast: Cast) -> None:
    used(cast, NOW - 10 * HOUR, None)
    used(cast, NOW - 2 * DAY, NOW - 2 * DAY + 21 * HOUR, "REPLICA", 2)
    found = forecast(cast.organization, NOW)
    for by in ("claim", "deployment", "type", "zone", "day"):
        page = cast.billing.browser().get(reverse("billing"), {"by": by}).content.decode()
        assert f"${found.total:,.2f}" in page
        assert "How the forecast is made" in page
        assert ("Forecast, month" in page) == (by != "day")
    page = cast.billing.browser().get(reverse("billing"), {"by": "claim"}).content.decode()
    assert f"${4 * 250 * Decimal('10.50'):,.2f}" in page
    past = cast.billing.browser().get(reverse("billing"), {"month": "2026-05"})
    assert past.status_code == 200


# --- budgets ---------------------------------------------------------------------------------------
def budget(cast: Cast, amount: str) -> None:
    budget_set(actor=cast.billing.actor, organization=cast.organization, amount=Decimal(amount), now=NOW)


def told(cast: Cast) -> list[Notice]:
    state = budget_state(cast.organization, NOW)
    found = notices(facts_of(cast.organization, NOW, budget=state))
    return [one for one in found if one.subject.startswith("budget")]


@pytest.mark.parametrize(("amount", "crossed"), [
    ("840.01", []), ("840.00", ["50"]), ("525.01", ["50"]), ("525.00", ["50", "80"]), ("420.01", ["50", "80"]),
    ("420.00", ["50", "80", "100"]), ("1.00", ["50", "80", "100"]),
])  # fmt: skip
def test_thresholds_are_crossed_to_the_cent(cast: Cast, amount: str, crossed: list[str]) -> None:
    used(cast, NOW - 10 * HOUR, NOW)  # 420 USD
    budget(cast, amount)
    state = budget_state(cast.organization, NOW)
    assert state is not None
    assert [one for one in state.crossings if one != "forecast"] == crossed
    assert state.forecast_exceeds == (Decimal(amount) < 420)
    assert [one.level for one in told(cast)[:1]] == [
        {"50": "info", "80": "warn", "100": "bad"}[one] for one in crossed[-1:]
    ]


def test_a_forecast_above_the_budget_is_told_before_it_is_spent(cast: Cast) -> None:
    used(cast, NOW - 10 * HOUR, None)  # 420 so far, 10,080 more to come
    budget(cast, "10500.00")
    assert told(cast) == []
    budget(cast, "10499.99")
    (notice,) = told(cast)
    assert notice.title == "The month is going to exceed its budget"
    assert "$10,500.00 is the forecast" in notice.text


@pytest.mark.parametrize("wrong", ["0", "-5", "0.001", "100000000000", "NaN", "Infinity"])
def test_a_budget_that_is_none_is_refused_and_changes_nothing(cast: Cast, wrong: str) -> None:
    budget(cast, "100.00")
    with pytest.raises(InvalidArgument):
        budget(cast, wrong)
    assert Budget.objects.get().amount == 100
    assert AuditEvent.objects.filter(object_type="Budget").count() == 1


def test_budgets_are_for_billing_and_admin(cast: Cast) -> None:
    for member in (cast.viewer, cast.outsider):
        with pytest.raises(PermissionDenied):
            budget_set(actor=member.actor, organization=cast.organization, amount=Decimal(1), now=NOW)
    assert not Budget.objects.exists()
    for member in (cast.billing, cast.admin):
        budget_set(actor=member.actor, organization=cast.organization, amount=Decimal(1), now=NOW)


def test_the_api_sets_reads_and_takes_away(cast: Cast) -> None:
    used(cast, NOW - 10 * HOUR, NOW)
    api = cast.billing.api()
    assert api.get("/api/v1/budgets").json()["items"] == []
    made = api.send("PUT", "/api/v1/budgets", {"amount": "500.00"}).json()
    assert (made["amount"], made["spent"], made["forecast"]) == ("500.00", "420.00", "420.00")
    assert [one["crossed"] for one in made["thresholds"]] == [True, True, False]
    assert api.get("/api/v1/budgets").json()["items"] == [made]
    refused: list[Any] = [{}, {"amount": True}, {"amount": "much"}, {"amount": "-1"}, [], {"amount": {}}]
    for wrong in refused:
        assert api.send("PUT", "/api/v1/budgets", wrong).status_code == 400, wrong
    assert cast.viewer.api().get("/api/v1/budgets").status_code == 403
    assert cast.viewer.api().send("PUT", "/api/v1/budgets", {"amount": "1"}).status_code == 403
    assert cast.outsider.api().get("/api/v1/budgets").json()["items"] == []
    assert Budget.objects.get().amount == 500
    for _ in range(2):
        assert api.send("DELETE", "/api/v1/budgets").status_code == 204
    assert not Budget.objects.exists()


def test_the_page_changes_the_budget(cast: Cast) -> None:
    browser = cast.billing.browser()
    assert browser.post(reverse("budget"), {"amount": "500"}).status_code == 302
    assert Budget.objects.get().amount == 500
    for wrong in ({"amount": "0"}, {"amount": "-1"}, {"amount": "x"}, {}):
        assert browser.post(reverse("budget"), wrong).status_code == 422
    assert Budget.objects.get().amount == 500
    assert "$500.00" in browser.get(reverse("budget")).content.decode()
    browser.post(reverse("budget"), {"amount": ""})
    assert not Budget.objects.exists()


def test_without_a_price_a_budget_says_that_it_does_not_know(cast: Cast) -> None:
    used(cast, NOW - 10 * HOUR, None)
    budget(cast, "1.00")
    Price.objects.all().delete()
    state: Any = budget_state(cast.organization, NOW)
    assert (state.spent, state.crossings) == (None, [])
    assert "not known" in cast.billing.browser().get(reverse("budget")).content.decode()
