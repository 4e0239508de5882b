"""The members' page: who may see it, what it does."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from console.common import clock
from console.organizations.models import Membership, Role, User
from console.organizations.services import membership_set, token_create
from tests.cast import SETUP, Cast

pytestmark = pytest.mark.django_db


def membership(cast: Cast, name: str) -> Membership:
    return Membership.objects.get(organization=cast.organization, user__username=name)


def test_an_admin_adds_changes_and_removes(cast: Cast) -> None:
    browser = cast.admin.browser()
    answer = browser.post(reverse("members"), {"username": "outsider", "role": "viewer"}, follow=True)
    assert "outsider is a member now, as viewer." in answer.content.decode()
    one = membership(cast, "outsider")
    browser.post(reverse("member-role", args=[one.id]), {"role": "billing"})
    one.refresh_from_db()
    assert one.role == Role.BILLING
    asked = browser.get(reverse("member-remove", args=[one.id])).content.decode()
    assert "Remove outsider?" in asked
    assert "No valid token of this organization was made by outsider" in asked
    assert Membership.objects.filter(id=one.id).exists(), "asking removes nobody"
    browser.post(reverse("member-remove", args=[one.id]))
    assert not Membership.objects.filter(id=one.id).exists()


def test_a_name_that_cannot_be_added_is_refused_on_its_field(cast: Cast) -> None:
    before = Membership.objects.count()
    for name, said in (("nobody", "nobody signs in as"), ("viewer", "is a member already"), ("", "required")):
        answer = cast.admin.browser().post(reverse("members"), {"username": name, "role": "viewer"})
        assert answer.status_code == 422
        assert said in answer.content.decode()
    assert Membership.objects.count() == before


def test_the_last_admin_is_told_why_they_stay(cast: Cast) -> None:
    one, browser = membership(cast, "admin"), cast.admin.browser()
    for name, data in (("member-remove", {}), ("member-role", {"role": "viewer"})):
        answer = browser.post(reverse(name, args=[one.id]), data, follow=True)
        assert "admin is the last admin of the organization" in answer.content.decode()
    one.refresh_from_db()
    assert one.role == Role.ADMIN


def test_a_role_that_is_none_changes_nothing(cast: Cast) -> None:
    one = membership(cast, "viewer")
    answer = cast.admin.browser().post(reverse("member-role", args=[one.id]), {"role": "owner"}, follow=True)
    assert "The role must be one of" in answer.content.decode()
    assert membership(cast, "viewer").role == Role.VIEWER


def test_who_removes_themselves_is_outside_at_once(cast: Cast) -> None:
    membership_set(actor=SETUP, user=cast.viewer.user, organization=cast.organization, role=Role.ADMIN)
    browser = cast.admin.browser()
    asked = browser.get(reverse("member-remove", args=[membership(cast, "admin").id])).content.decode()
    assert "You lose sight of Ours" in " ".join(asked.split())
    answer = browser.post(reverse("member-remove", args=[membership(cast, "admin").id]), follow=True)
    assert answer.status_code == 403
    assert "You are in no organization" in answer.content.decode()


def test_tokens_that_outlive_a_member_are_named(cast: Cast) -> None:
    membership_set(actor=SETUP, user=cast.outsider.user, organization=cast.organization, role=Role.ADMIN)
    for organization in (cast.organization, cast.other):
        token, _ = token_create(actor=SETUP, organization=organization, name="t", role=Role.ADMIN, now=clock.now())
        token.created_by = cast.outsider.user
        token.save()
    asked = cast.admin.browser().get(reverse("member-remove", args=[membership(cast, "outsider").id]))
    assert "1 valid token that outsider made goes on working" in " ".join(asked.content.decode().split())


def test_the_page_asks_no_more_for_many(cast: Cast) -> None:
    browser = cast.admin.browser()

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert browser.get(reverse("members")).status_code == 200
        return len(found)

    queries()
    before = queries()
    for number in range(5):
        user = User.objects.create_user(f"more-{number}")
        membership_set(actor=SETUP, user=user, organization=cast.organization, role=Role.VIEWER)
    assert queries() == before
