"""Every address of the console x everybody who may come to its door x objects of another organization.

The addresses come from the URL table itself. A new page is tried without being named here; only one with a parameter of a
new kind, or one that is not for every member to read, has to say so in these tables.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.test import Client
from django.urls import URLPattern, reverse

from claims.core.window_rules import WindowAsked
from claims.models import Price
from claims.services import quota_request_create, window_create
from console.common import clock
from console.dashboard.urls import urlpatterns
from console.notifications.channels import channel_create, channel_test
from console.notifications.models import Delivery, Notification
from console.organizations.models import ApiToken, Membership, Role
from console.organizations.services import token_create
from deployments.backtests.asked import Asked, resolved
from deployments.models import Annotation, Backtest, Decision, HistoryRun, Replica
from deployments.schedules.services import ScheduleAsked, schedule_create
from deployments.services.holds import hold_create
from tests import world
from tests.cast import Cast, Member
from tests.pages.conftest import Running

pytestmark = pytest.mark.django_db

# No member's page: what they are for, and where they are tested.
ELSEWHERE = {"sign-in": "test_kit", "sign-out": "test_kit", "switch-organization": "test_switching",
             "organizations": "test_switching", "events": "test_stream"}  # fmt: skip
# What a viewer may not even see: forms that change something, and what is for admins to read.
FOR_ADMINS = {"deployment-new", "deployment-delete", "claim-new", "claim-delete", "gateway-new", "gateway-edit",
              "gateway-delete", "claim-window-new", "claim-window", "claim-window-delete", "members", "member-remove", "tokens", "token-new", "token-revoke", "channel-new", "channel", "channel-rotate",
              "channel-delete", "delivery", "quota-request", "schedule-new", "schedule", "backtest-new"}  # fmt: skip
FOR_MONEY = {
    "billing",
    "billing-csv",
    "billing-lines",
    "chart-billing",
    "chart-spend",
    "statements",
    "statement",
    "budget",
}
# What the role billing may change.
BY_BILLING = {"budget"}
NO_OBJECT = {"zone": "US-WEST-04A", "type": "gb200-4x", "month": f"{datetime.now(UTC):%Y-%m}"}
PARAMETER = re.compile(r"([^/<>]*)/?<(?:[a-z]+:)?([a-z]+)>")
# Tables whose rows a visit may change by itself.
MOVING = {"session", "accessattempt", "loop"}


@dataclass(frozen=True)
class Address:
    name: str
    url: str
    has_object: bool


def addresses(objects: dict[str, Any]) -> list[Address]:
    found = []
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        assert pattern.name, f"{pattern} needs a name"
        if pattern.name in ELSEWHERE:
            continue
        values, has_object = {}, False
        for before, name in PARAMETER.findall(str(pattern.pattern)):
            if name in NO_OBJECT:
                values[name] = NO_OBJECT[name]
                continue
            assert before in objects, f"{pattern.name}: name an object for {before}/<{name}> in this file"
            values[name], has_object = objects[before], True
        found.append(Address(pattern.name, reverse(pattern.name, kwargs=values), has_object))
    return found


@pytest.fixture
def everything(cast: Cast, running: Running) -> list[Address]:
    """An object of ours for every kind of parameter, by the segment before it."""
    of = running.deployment
    token, _ = token_create(
        actor=cast.admin.actor, organization=cast.organization, name="ci", role=Role.VIEWER, now=clock.now()
    )
    hold = hold_create(actor=cast.admin.actor, kind="FREEZE", reason="look", deployment_id=of.id)
    note = Annotation.objects.create(deployment=of, at=clock.now(), text="1.4 out")
    instance = running.claim.instances.get()
    now = clock.now()
    window = window_create(
        actor=cast.admin.actor, claim_id=running.claim.id,
        asked=WindowAsked(datetime(2030, 1, 1, 8), timedelta(hours=1), "FREQ=DAILY", "UTC", 1),  # noqa: DTZ001
    )  # fmt: skip
    schedule = schedule_create(
        actor=cast.admin.actor, deployment_id=of.id,
        asked=ScheduleAsked(datetime(2030, 1, 1, 8), timedelta(hours=1), "FREQ=DAILY", "UTC", max=of.autoscaling.max),  # noqa: DTZ001
    )  # fmt: skip
    made = HistoryRun.objects.create(organization=cast.organization, starts_at=now - timedelta(hours=1), ends_at=now,
                                     made_from=now, world={}, first_decision=1)  # fmt: skip
    made.deployments.add(of)
    channel, _ = channel_create(actor=cast.admin.actor, organization=cast.organization, type="EMAIL", name="on call",
                                target="oncall@example.com", kinds=["SHORTAGE"])  # fmt: skip
    told = Delivery.objects.get(pk=channel_test(actor=cast.admin.actor, channel=channel, now=now).pk)
    Notification.objects.filter(pk=told.notification_id).update(kind="SHORTAGE")
    asked = quota_request_create(actor=cast.admin.actor, organization=cast.organization, offering=world.offering(),
                                 wanted=99, reason="launch", now=now)  # fmt: skip
    what_if = Backtest.objects.create(organization=cast.organization, deployment=of, deployment_name=of.name, created_by="admin",
                                      request=resolved(of, Asked(trace=b"", baselines=["hpa"]), now))  # fmt: skip
    return addresses({
        "requests": asked.id,
        "decisions": Decision.objects.filter(deployment=of).latest("id").id,
        "schedules": schedule.id,
        "channels": channel.id, "deliveries": told.pk, "notifications": told.notification_id,
        "windows": window.id,
        "deployments": of.id, "claims": running.claim.id, "gateways": of.gateways.get().id, "tokens": token.id,
        "members": Membership.objects.get(organization=cast.organization, user=cast.viewer.user).id,
        "holds": hold.id, "notes": note.id, "instances": instance.key,
        "histories": made.id, "backtests": what_if.id,
        "replicas": Replica.objects.filter(deployment=of).latest("key").key,
    })  # fmt: skip


def state() -> dict[str, Any]:
    """Every row of our own tables; a token's last use is no change."""
    ours = [model for label in ("claims", "deployments", "organizations", "notifications", "dashboard", "loops")
            for model in apps.get_app_config(label).get_models() if model._meta.model_name not in MOVING]  # fmt: skip
    found = {}
    for model in ours:
        names = [field.attname for field in model._meta.concrete_fields
                 if field.attname not in ("last_used_at", "last_login")]  # fmt: skip
        found[model.__name__] = sorted(map(repr, model._default_manager.values_list(*names)))
    return found


@pytest.fixture
def nothing_changes(everything: list[Address]) -> Iterator[None]:
    before = state()
    yield
    after = state()
    assert [name for name in before if before[name] != after[name]] == []


def tried(member: Member, address: Address, method: str) -> int:
    """The answer's status; -1 where the page does not have the method."""
    browser = member.browser()
    status = int(getattr(browser, method)(address.url).status_code)
    return -1 if status == 405 else status


def test_the_table_names_nothing_that_is_not_there(everything: list[Address]) -> None:
    names = {address.name for address in everything}
    assert names >= FOR_ADMINS | FOR_MONEY
    assert not ELSEWHERE.keys() & names
    assert {pattern.name for pattern in urlpatterns} == names | ELSEWHERE.keys()


@pytest.mark.thorough
@pytest.mark.usefixtures("nothing_changes")
def test_nobody_is_sent_to_sign_in_from_everywhere(everything: list[Address]) -> None:
    for address in everything:
        for method in ("get", "post"):
            answer = getattr(Client(), method)(address.url)
            if answer.status_code != 405:
                told = (answer.status_code, answer.headers.get("Location", "").split("?")[0])
                assert told == (302, reverse("sign-in")), (method, address.url)


@pytest.mark.usefixtures("nothing_changes")
def test_an_object_of_another_organization_is_not_found_by_its_admin(cast: Cast, everything: list[Address]) -> None:
    for address in everything:
        if address.has_object:
            answers = {method: tried(cast.outsider, address, method) for method in ("get", "post")}
            assert set(answers.values()) <= {404, -1}, (address.name, answers)
            assert set(answers.values()) != {-1}, address.name


@pytest.mark.thorough
@pytest.mark.usefixtures("nothing_changes")
def test_pages_without_an_object_show_another_organization_nothing_of_ours(
    cast: Cast, running: Running, everything: list[Address]
) -> None:
    names = [str(running.claim.id), str(running.deployment.id), ">prod<", ">chat<", "cw12ab"]
    for address in everything:
        if not address.has_object and tried(cast.outsider, address, "get") == 200:
            page = cast.outsider.browser().get(address.url).content.decode()
            assert [name for name in names if name in page] == [], address.name


@pytest.mark.thorough
@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize("who", ["viewer", "billing"])
def test_who_may_only_read_sees_what_the_role_allows_and_no_more(
    cast: Cast, everything: list[Address], who: str
) -> None:
    member: Member = getattr(cast, who)
    for address in everything:
        closed = address.name in FOR_ADMINS or (who == "viewer" and address.name in FOR_MONEY)
        answer = tried(member, address, "get")
        assert answer in ({403, -1} if closed else {200, -1}), (address.name, answer)


@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize("who", ["viewer", "billing"])
def test_who_may_only_read_changes_nothing_anywhere(cast: Cast, everything: list[Address], who: str) -> None:
    for address in everything:
        answer = tried(getattr(cast, who), address, "post")
        expected = {422} if who == "billing" and address.name in BY_BILLING else {403, -1}
        assert answer in expected, (address.name, answer)


def test_no_page_shows_a_viewer_an_amount_of_money(cast: Cast, everything: list[Address]) -> None:
    browser = cast.viewer.browser()
    for address in everything:
        answer = browser.get(address.url)
        if answer.status_code == 200:
            assert "$" not in answer.content.decode(), address.name


@pytest.mark.thorough
@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize("who", ["admin", "platform"])
def test_admins_and_the_platform_may_open_every_page(cast: Cast, everything: list[Address], who: str) -> None:
    assert ApiToken.objects.filter(organization=cast.organization).exists()
    for address in everything:
        answer = tried(getattr(cast, who), address, "get")
        assert answer in {200, -1}, (address.name, answer)


# Pages that show an amount where there is a price.
SAY_SO = {"overview", "deployment", "claim", "claim-new"}
PRICES: dict[str, dict[str, str]] = {
    "none": {},
    "no reserved ones": {"kind": "ON_DEMAND"},
    "of another zone": {"zone__name": "US-EAST-01A"},
}


@pytest.mark.thorough
@pytest.mark.parametrize("left", PRICES)
def test_a_missing_price_stops_no_page(cast: Cast, everything: list[Address], left: str) -> None:
    kept = Price.objects.filter(**PRICES[left]) if left != "none" else Price.objects.none()
    Price.objects.exclude(pk__in=kept.values("pk")).delete()
    world.a_second_passes()  # what has cost nothing yet needs no price
    browser = cast.admin.browser()
    choice = {"zone": "US-WEST-04A", "type": "gb200-4x", "kind": "CUSTOMER", "count": "2"}
    for address in everything:
        answer = browser.get(address.url, choice if address.name == "claim-new" else {})
        told = {409, 200} if address.name == "billing-csv" else {200}  # a file without amounts would pass for a bill
        assert answer.status_code in told | {405}, address.name
        if left == "none" and address.name in SAY_SO:
            assert "no price set" in answer.content.decode().lower(), address.name
