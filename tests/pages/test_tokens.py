"""The tokens' pages: the secret is shown once, and is nowhere else."""

import re
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from console.common import clock
from console.organizations.models import ApiToken, AuditEvent, Role
from console.organizations.services import token_create
from tests.cast import SETUP, Cast

pytestmark = pytest.mark.django_db

FORM = {"name": "terraform", "role": "viewer", "lifetime": "30d"}


def shown(page: str) -> str:
    found = re.search(r'value="(hr_[A-Za-z0-9_-]{40,})"', page)
    assert found
    return found[1]


def test_the_secret_is_shown_once_and_works(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    browser = cast.admin.browser()
    answer = browser.post(reverse("token-new"), FORM)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    secret = shown(answer.content.decode())
    token = ApiToken.objects.get(name="terraform")
    assert (token.role, token.created_by) == (Role.VIEWER, cast.admin.user)
    assert token.expires_at
    assert timedelta(days=29, hours=23) < token.expires_at - clock.now() < timedelta(days=30)
    assert Client(headers={"authorization": f"Bearer {secret}"}).get("/api/v1/quota").status_code == 200
    for name in ("tokens", "token-new", "audit", "overview"):
        assert secret not in browser.get(reverse(name)).content.decode(), name
    assert secret not in str(list(AuditEvent.objects.values())) + str(list(ApiToken.objects.values()))
    assert not any(secret in str(one.get_decoded()) for one in Session.objects.all())
    assert secret not in caplog.text


@pytest.mark.parametrize(("changes", "said"), [
    ({"name": ""}, "required"),
    ({"name": "x" * 101}, "at most 100 characters"),
    ({"role": "owner"}, "Select a valid choice"),
    ({"lifetime": "forever"}, "Select a valid choice"),
])  # fmt: skip
def test_a_wrong_form_makes_no_token(cast: Cast, changes: dict[str, str], said: str) -> None:
    before = ApiToken.objects.count()
    answer = cast.admin.browser().post(reverse("token-new"), {**FORM, **changes})
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert ApiToken.objects.count() == before


def test_revoking_is_asked_first_and_recorded(cast: Cast) -> None:
    browser = cast.admin.browser()
    token, secret = token_create(
        actor=SETUP, organization=cast.organization, name="old", role=Role.ADMIN, now=clock.now()
    )
    address = reverse("token-revoke", args=[token.id])
    assert "Revoke old?" in browser.get(address).content.decode()
    token.refresh_from_db()
    assert token.revoked_at is None
    browser.post(address)
    api = Client(headers={"authorization": f"Bearer {secret}"})
    assert api.get("/api/v1/quota").status_code == 401
    assert AuditEvent.objects.filter(action="token.revoke", object_id=str(token.id), user=cast.admin.user).count() == 1
    page = browser.get(reverse("tokens")).content.decode()
    assert "<b>old</b>" not in page
    assert "<b>old</b>" in browser.get(reverse("tokens"), {"ended": "1"}).content.decode()


def test_the_list_shows_what_one_needs_to_tell_tokens_apart(cast: Cast) -> None:
    now = clock.now()
    token, _ = token_create(actor=SETUP, organization=cast.organization, name="for ever", role=Role.BILLING, now=now)
    token_create(actor=SETUP, organization=cast.other, name="foreign", role=Role.ADMIN, now=now)
    page = cast.admin.browser().get(reverse("tokens")).content.decode()
    row = re.sub(r"<[^>]*>|\s+", " ", page.split("<b>for ever</b>")[1].split("</tr>")[0])
    assert " ".join(row.split()) == f"{token.prefix}… billing never Never 0 s ago the command line Revoke"
    assert "foreign" not in page


@pytest.mark.parametrize("who", ["viewer", "billing"])
def test_tokens_and_members_are_for_admins(cast: Cast, who: str) -> None:
    browser = getattr(cast, who).browser()
    for name in ("tokens", "token-new", "members"):
        assert browser.get(reverse(name)).status_code == 403, name
    page = browser.get(reverse("overview")).content.decode()
    for name in ("tokens", "members"):
        assert f'href="{reverse(name)}"' not in page
    assert "Apitoken" not in page
    assert "Token created" not in page, "not even that one was made"


def test_the_page_asks_no_more_for_many(cast: Cast) -> None:
    browser = cast.admin.browser()

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert browser.get(reverse("tokens")).status_code == 200
        return len(found)

    queries()
    before = queries()
    for number in range(5):
        token_create(
            actor=cast.admin.actor, organization=cast.organization, name=f"t{number}", role=Role.ADMIN, now=clock.now()
        )
    assert queries() == before
