"""Entering another organization: who may, where one lands, and what pages of the one before may still do."""

import pytest
from django.test import Client
from django.urls import reverse

from claims.models import CapacityClaim
from console.dashboard.context import MOST_TO_SWITCH
from console.organizations.models import Membership, Organization, Role
from console.organizations.services import membership_set, organization_create
from tests.cast import SETUP, Cast
from tests.pages.conftest import Running

pytestmark = pytest.mark.django_db


@pytest.fixture
def traveller(cast: Cast) -> Cast:
    """The admin of ours is a viewer of theirs."""
    membership_set(actor=SETUP, user=cast.admin.user, organization=cast.other, role=Role.VIEWER)
    return cast


def to(organization: Organization, after: str = "") -> dict[str, object]:
    return {"organization": organization.key, "next": after}


@pytest.mark.parametrize(("before", "after"), [
    ("/claims", "/claims"),
    ("/deployments?q=chat&sort=-ready", "/deployments?q=chat&sort=-ready"),
    ("/claims/new?zone=RNO2A", "/claims"),  # they may only look there
    ("/nowhere", "/"),
    ("/", "/"),
    ("https://elsewhere.example/claims", "/claims"),
    ("//elsewhere.example", "/"),
    ("/admin/", "/"),
    ("", "/"),
])  # fmt: skip
def test_the_page_is_kept_where_it_names_no_object(traveller: Cast, before: str, after: str) -> None:
    answer = traveller.admin.browser().post(reverse("switch-organization"), to(traveller.other, before))
    assert answer.headers["Location"] == after


def test_from_an_object_one_comes_to_the_list_of_its_kind(traveller: Cast, running: Running) -> None:
    browser = traveller.admin.browser()
    for name, id, lands in (
        ("claim", running.claim.id, "claims"),
        ("deployment", running.deployment.id, "deployments"),
    ):
        address = reverse(name, args=[id])
        answer = browser.post(reverse("switch-organization"), to(traveller.other, address))
        assert answer.headers["Location"] == reverse(lands)
        assert browser.get(address).status_code == 404, "an object of the organization before is not there"
        browser.post(reverse("switch-organization"), to(traveller.organization))
        assert browser.get(address).status_code == 200


def test_the_role_is_that_of_the_organization_entered(traveller: Cast) -> None:
    browser = traveller.admin.browser()
    assert browser.get(reverse("claim-new")).status_code == 200
    browser.post(reverse("switch-organization"), to(traveller.other))
    assert browser.get(reverse("claim-new")).status_code == 403


@pytest.mark.parametrize("chosen", ["", "x", "0", "-1", "9" * 30])
def test_what_is_no_organization_changes_nothing(cast: Cast, running: Running, chosen: str) -> None:
    browser = cast.admin.browser()
    answer = browser.post(reverse("switch-organization"), {"organization": chosen}, follow=True)
    assert "not a member of that organization" in answer.content.decode()
    assert browser.get(reverse("claim", args=[running.claim.id])).status_code == 200


def test_staff_enter_any_organization_and_are_told_so(cast: Cast) -> None:
    browser = cast.platform.browser()
    browser.post(reverse("switch-organization"), to(cast.other))
    assert "Theirs: what needs you first" in browser.get(reverse("overview")).content.decode()
    rows = browser.get(reverse("organizations"), {"q": "cw34"}).content.decode()
    assert "You are here" in rows
    assert "Ours</b>" not in rows


def test_a_member_who_left_is_in_the_next_of_theirs(traveller: Cast) -> None:
    browser = traveller.admin.browser()
    browser.post(reverse("switch-organization"), to(traveller.other))
    Membership.objects.filter(user=traveller.admin.user, organization=traveller.other).delete()
    assert "Ours: what needs you first" in browser.get(reverse("overview")).content.decode()


def test_many_organizations_are_chosen_on_a_page_of_their_own(cast: Cast) -> None:
    for number in range(MOST_TO_SWITCH):
        organization_create(actor=SETUP, id=f"cw{number:04x}", slug=f"more-{number}", name=f"More {number}")
    page = cast.platform.browser().get(reverse("claims")).content.decode()
    assert "<select" not in page.split("</aside>")[0]
    assert reverse("organizations") in page


def test_a_part_of_a_page_of_another_organization_loads_the_page_anew(traveller: Cast) -> None:
    browser = traveller.admin.browser()
    headers = {"HX-Request": "true", "X-Organization": traveller.organization.id}
    assert browser.get(reverse("claims"), headers=headers).headers.get("HX-Refresh") is None
    browser.post(reverse("switch-organization"), to(traveller.other))
    answer = browser.get(reverse("claims"), headers=headers)
    assert (answer.headers["HX-Refresh"], answer.content) == ("true", b"")


def test_a_form_of_another_organization_changes_nothing(cast: Cast, running: Running) -> None:
    answer = cast.admin.browser().post(
        reverse("claim-delete", args=[running.claim.id]), {"in_organization": cast.other.id}
    )
    assert answer.status_code == 409
    assert "Nothing was changed" in answer.content.decode()
    assert CapacityClaim.objects.get().status != "STATUS_DELETING"


@pytest.mark.parametrize("path", ["/admin/", "/admin/claims/quota/"])
def test_a_member_is_told_that_the_admin_is_for_staff(cast: Cast, path: str) -> None:
    answer = cast.admin.browser().get(path, follow=True)
    assert answer.status_code == 403
    assert len(answer.redirect_chain) == 1
    text = answer.content.decode()
    assert "The admin is for the platform&#x27;s staff" in text or "The admin is for the platform's staff" in text
    assert f'href="{reverse("deployments")}"' in text, "in the layout"


def test_nobody_is_sent_from_the_admin_to_sign_in(cast: Cast) -> None:
    answer = Client().get("/admin/", follow=True)
    assert answer.redirect_chain[-1][0].startswith(reverse("sign-in"))
    assert answer.status_code == 200
