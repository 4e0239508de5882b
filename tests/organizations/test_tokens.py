from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from console.common import clock
from console.common.errors import InvalidArgument
from console.organizations.models import ApiToken, AuditEvent, Role
from console.organizations.selectors import token_by_secret
from console.organizations.services import token_create, token_revoke
from tests.cast import SETUP, Cast

pytestmark = pytest.mark.django_db


def test_a_token_is_found_by_its_secret_which_is_not_stored(cast: Cast) -> None:
    token, secret = token_create(
        actor=cast.admin.actor, organization=cast.organization, name="ci", role=Role.VIEWER, now=clock.now()
    )
    assert token_by_secret(secret, clock.now()) == token
    stored = ApiToken.objects.filter(pk=token.pk).values().get()
    assert secret not in str(stored)


def test_an_expired_token_is_not_found(cast: Cast) -> None:
    now = clock.now()
    _, secret = token_create(
        actor=SETUP,
        organization=cast.organization,
        name="t",
        role=Role.ADMIN,
        now=now,
        lifetime=timedelta(hours=8),
    )
    assert token_by_secret(secret, now + timedelta(hours=7, minutes=59))
    assert token_by_secret(secret, now + timedelta(hours=8)) is None


def test_revoking_ends_a_token_once(cast: Cast) -> None:
    token, secret = token_create(
        actor=SETUP, organization=cast.organization, name="t", role=Role.ADMIN, now=clock.now()
    )
    token_revoke(actor=cast.admin.actor, token=token, now=clock.now())
    token_revoke(actor=cast.admin.actor, token=token, now=clock.now())
    assert token_by_secret(secret, clock.now()) is None
    assert AuditEvent.objects.filter(action="token.revoke", object_id=str(token.id)).count() == 1


def test_a_lifetime_in_the_past_is_refused_and_stores_nothing(cast: Cast) -> None:
    before = (ApiToken.objects.count(), AuditEvent.objects.count())
    with pytest.raises(InvalidArgument) as refusal:
        token_create(
            actor=SETUP, organization=cast.organization, name="t", role=Role.ADMIN, now=timezone.now(),
            lifetime=timedelta(seconds=-1),
        )  # fmt: skip
    assert [v.field for v in refusal.value.violations] == ["expires"]
    assert (ApiToken.objects.count(), AuditEvent.objects.count()) == before


@pytest.mark.parametrize("name", ["ours", "cw12ab"])
def test_createtoken_prints_the_secret_alone(cast: Cast, name: str) -> None:
    out = StringIO()
    call_command("createtoken", name, "--role", "admin", "--expires", "8h", stdout=out)
    token = token_by_secret(out.getvalue().rstrip("\n"), clock.now())
    assert token is not None
    assert (token.organization, token.role) == (cast.organization, "admin")


@pytest.mark.parametrize(("arguments", "said"), [(["nobody"], "nobody"), (["ours", "--expires", "soon"], "--expires")])
def test_createtoken_says_what_is_wrong(cast: Cast, arguments: list[str], said: str) -> None:
    before = ApiToken.objects.count()
    with pytest.raises(CommandError, match=said):
        call_command("createtoken", *arguments)
    assert ApiToken.objects.count() == before
