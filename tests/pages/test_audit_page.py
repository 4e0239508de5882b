"""The audit page: filters in the address, pages, differences to read, and who may read what."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from console.common import clock
from console.dashboard.changes import Change, changes
from console.organizations.models import AuditEvent, Organization
from tests import world
from tests.cast import Cast, Member
from tests.pages.conftest import Running

pytestmark = pytest.mark.django_db


def event(organization: Organization | None, name: str = "chat", **fields: Any) -> AuditEvent:
    given = {"actor": "ann", "action": "deployment.update", "object_type": "Deployment", "object_id": "1"}
    return AuditEvent.objects.create(organization=organization, object_name=name, **{**given, **fields})


def seen(member: Member, **query: Any) -> list[str]:
    """Names of the objects in the table, in its order."""
    page = member.browser().get(reverse("audit"), query).content.decode()
    return re.findall(r"<b>([^<]*)</b>", page.split('aria-label="Events"')[1])


def test_each_filter_narrows_and_lives_in_the_address(cast: Cast) -> None:
    now, of = clock.now(), cast.organization
    event(of, "a", actor="bob", at=now - timedelta(days=3))
    event(of, "b", action="claim.create", object_type="CapacityClaim", object_id="77")
    event(of, "c", at=now - timedelta(hours=2))
    event(cast.other, "foreign")
    event(None, "pool")
    mine = {"who": "ann"}
    assert seen(cast.viewer, **mine) == ["c", "b"]
    assert seen(cast.viewer, who="BOB") == ["a"]
    assert seen(cast.viewer, what="claim.") == ["b"]
    assert seen(cast.viewer, object="77") == ["b"]
    assert seen(cast.viewer, object="C", **mine) == ["c"]
    assert seen(cast.viewer, range="1h", **mine) == ["b"]
    since, until = (f"{now - timedelta(hours=hours):%Y-%m-%dT%H:%M}" for hours in (80, 1))
    assert seen(cast.viewer, since=since, until=until, what="deployment") == ["c", "a"]
    assert seen(cast.viewer, who="nobody") == []


def test_what_cannot_be_a_time_is_said_and_ignored(cast: Cast) -> None:
    event(cast.organization, "a")
    page = cast.viewer.browser().get(reverse("audit"), {"since": "soon", "before": "x' OR 1"}).content.decode()
    assert "Enter a valid date/time" in page
    assert "<b>a</b>" in page


def test_older_events_are_pages_away(cast: Cast) -> None:
    for number in range(120):
        event(cast.organization, f"n{number}")
    browser, names, address = cast.viewer.browser(), list[str](), reverse("audit") + "?who=ann"
    while address:
        page = browser.get(address).content.decode()
        names += re.findall(r"<b>([^<]*)</b>", page.split('aria-label="Events"')[1])
        following = re.search(r'href="(\?[^"]*)"[^>]*rel="next"', page)
        address = reverse("audit") + following[1].replace("&amp;", "&") if following else ""
    assert names == [f"n{number}" for number in reversed(range(120))]


def test_tokens_and_members_are_for_admins_to_read_of(cast: Cast) -> None:
    for action, kind in (("member.set", "Membership"), ("token.create", "ApiToken")):
        event(cast.organization, "eve", action=action, object_type=kind)
        assert seen(cast.admin, what=action) == ["eve"]
    for member in (cast.viewer, cast.billing):
        assert seen(member, what="member.") == []
        assert seen(member, what="token.") == []
        assert "token.create" not in member.browser().get(reverse("audit")).content.decode()


def test_the_platforms_own_events_are_for_its_staff(cast: Cast) -> None:
    event(None, "pool")
    assert seen(cast.platform, of="platform") == ["pool"]
    assert "pool" not in seen(cast.admin, of="platform")


def test_an_object_that_is_there_is_linked_and_one_that_is_gone_is_not(cast: Cast, running: Running) -> None:
    event(cast.organization, "gone", object_type="CapacityClaim", object_id="01a21afb-570c-75ea-865b-1b1f689883c4")
    page = cast.viewer.browser().get(reverse("audit")).content.decode()
    for name, id in (("claim", running.claim.id), ("deployment", running.deployment.id)):
        assert f'<a href="{reverse(name, args=[id])}"><b>' in page
    assert "01a21afb-570c-75ea-865b-1b1f689883c4</a>" not in page
    assert re.search(r"(?<!>)<b>gone</b>", page)


def test_a_change_is_told_field_by_field() -> None:
    one = AuditEvent(
        before={"min": 1, "max": 4, "priority": None, "zones": ["A"], "auth": {"core_weave_auth": {}}},
        after={"min": 1, "max": 9, "priority": 700, "zones": ["A", "B"], "auth": {"weights": {"api_key": "s3cret"}}},
    )
    assert changes(one) == [
        Change("max", "4", "9"),
        Change("priority", "unset", "700"),
        Change("zones", "A", "A, B"),
        Change("auth: core weave auth", "present", "unset"),
        Change("auth: weights: api key", "unset", "hidden"),
    ]


def test_a_creation_tells_what_was_set_and_a_deletion_what_was() -> None:
    assert changes(AuditEvent(after={"instanceCount": 3, "note": "", "disabled": False})) == [
        Change("instance count", None, "3"),
        Change("disabled", None, "no"),
    ]
    assert changes(AuditEvent(before={"role": "viewer"})) == [Change("role", "viewer", None)]
    assert changes(AuditEvent()) == []


def test_the_page_asks_no_more_for_many(cast: Cast, running: Running) -> None:
    browser = cast.admin.browser()

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert browser.get(reverse("audit")).status_code == 200
        return len(found)

    queries()
    before = queries()
    for number in range(5):
        world.claim(cast.admin.actor, world.offering(), 1, name=f"more-{number}")
    assert queries() == before
