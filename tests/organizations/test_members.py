"""Who belongs to an organization: added, changed and removed by its admins; one admin always stays."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection

from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from console.organizations import locks, services
from console.organizations.actors import Actor
from console.organizations.models import AuditEvent, Membership, Role, User
from console.organizations.services import (
    member_add,
    membership_remove,
    membership_set,
    token_create,
    token_revoke,
)
from tests.cast import SETUP, Cast


def of(cast: Cast, user: User) -> Membership:
    return Membership.objects.select_related("organization").get(organization=cast.organization, user=user)


def state() -> tuple[list[tuple[int, int, str]], int]:
    rows = Membership.objects.order_by("id").values_list("user_id", "organization_id", "role")
    return list(rows), AuditEvent.objects.count()


@pytest.mark.django_db
def test_somebody_is_added_by_name_and_removed_again_both_recorded(cast: Cast) -> None:
    actor = cast.admin.actor
    made = member_add(actor=actor, organization=cast.organization, username="outsider", role=Role.BILLING)
    assert made.role == Role.BILLING
    membership_remove(actor=actor, membership=made)
    membership_remove(actor=actor, membership=made)
    assert not Membership.objects.filter(organization=cast.organization, user=cast.outsider.user).exists()
    events = AuditEvent.objects.filter(object_type="Membership", object_name="outsider", actor="token admin")
    told = events.order_by("id").values_list("action", "before", "after")
    assert list(told) == [
        ("member.set", None, {"role": "billing"}),
        ("member.remove", {"role": "billing"}, None),
    ]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "said"), [("nobody", "nobody signs in as"), ("viewer", "is a member already"), ("", "nobody")]
)
def test_who_cannot_be_added_is_refused_on_the_name(cast: Cast, name: str, said: str) -> None:
    before = state()
    with pytest.raises(InvalidArgument, match=said) as refusal:
        member_add(actor=cast.admin.actor, organization=cast.organization, username=name, role=Role.ADMIN)
    assert [violation.field for violation in refusal.value.violations] == ["username"]
    assert state() == before


@pytest.mark.django_db
def test_an_account_that_is_closed_cannot_be_added(cast: Cast) -> None:
    User.objects.filter(username="outsider").update(is_active=False)
    with pytest.raises(InvalidArgument, match="nobody signs in"):
        member_add(actor=cast.admin.actor, organization=cast.organization, username="outsider", role=Role.ADMIN)


@pytest.mark.django_db
def test_the_last_admin_can_neither_go_nor_become_less(cast: Cast) -> None:
    mine, before = of(cast, cast.admin.user), state()
    attempts: list[Callable[[], object]] = [
        lambda: membership_remove(actor=cast.admin.actor, membership=mine),
        lambda: membership_remove(actor=SETUP, membership=mine),
        lambda: membership_set(
            actor=cast.admin.actor, user=cast.admin.user, organization=cast.organization, role=Role.VIEWER
        ),
    ]
    for attempt in attempts:
        with pytest.raises(FailedPrecondition, match="admin is the last admin"):
            attempt()
    assert state() == before
    membership_set(actor=SETUP, user=cast.viewer.user, organization=cast.organization, role=Role.ADMIN)
    membership_remove(actor=cast.admin.actor, membership=mine)


@pytest.mark.django_db
def test_an_admin_whose_account_is_closed_does_not_count(cast: Cast) -> None:
    membership_set(actor=SETUP, user=cast.viewer.user, organization=cast.organization, role=Role.ADMIN)
    User.objects.filter(username="viewer").update(is_active=False)
    with pytest.raises(FailedPrecondition):
        membership_remove(actor=SETUP, membership=of(cast, cast.admin.user))


@pytest.mark.django_db
@pytest.mark.parametrize("who", ["viewer", "billing", "outsider"])
def test_only_admins_of_the_organization_change_members_and_tokens(cast: Cast, who: str) -> None:
    actor, now = getattr(cast, who).actor, clock.now()
    token, _ = token_create(actor=SETUP, organization=cast.organization, name="t", role=Role.VIEWER, now=now)
    before = state()
    attempts: list[Callable[[], object]] = [
        lambda: membership_set(actor=actor, user=cast.viewer.user, organization=cast.organization, role=Role.ADMIN),
        lambda: member_add(actor=actor, organization=cast.organization, username="outsider", role=Role.ADMIN),
        lambda: membership_remove(actor=actor, membership=of(cast, cast.billing.user)),
        lambda: token_create(actor=actor, organization=cast.organization, name="x", role=Role.ADMIN, now=now),
        lambda: token_revoke(actor=actor, token=token, now=now),
    ]
    for attempt in attempts:
        with pytest.raises((PermissionDenied, NotFound)):
            attempt()
    token.refresh_from_db()
    assert token.revoked_at is None
    assert state() == before


@pytest.fixture
def two_admins(transactional_db: None, cast: Cast) -> Cast:
    membership_set(actor=SETUP, user=cast.viewer.user, organization=cast.organization, role=Role.ADMIN)
    return cast


def two_admins_go_at_once(cast: Cast) -> list[str]:
    """Both admins remove themselves in the same moment; what each heard."""
    heard: list[str] = []
    together = threading.Barrier(2)

    def go(user: User) -> None:
        actor = Actor(name=user.username, organization=cast.organization, role=Role.ADMIN, user=user)
        mine = of(cast, user)
        together.wait(10)
        try:
            membership_remove(actor=actor, membership=mine)
            heard.append("gone")
        except FailedPrecondition as refusal:
            heard.append(refusal.kind)
        finally:
            connection.close()

    threads = [threading.Thread(target=go, args=(user,)) for user in (cast.admin.user, cast.viewer.user)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return sorted(heard)


def admins(cast: Cast) -> int:
    return Membership.objects.filter(organization=cast.organization, role=Role.ADMIN).count()


@pytest.mark.django_db(transaction=True)
def test_of_two_admins_who_go_at_once_one_stays(two_admins: Cast) -> None:
    assert two_admins_go_at_once(two_admins) == ["LAST_ADMIN", "gone"]
    assert admins(two_admins) == 1


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_both_would_go(two_admins: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race that the lock is there for: each sees the other before either has gone."""
    both = threading.Barrier(2)
    keep = services._keep_an_admin
    monkeypatch.setattr(locks, "members_lock", lambda organization: None)

    def looked(going: Membership) -> None:
        keep(going)
        both.wait(10)

    monkeypatch.setattr(services, "_keep_an_admin", looked)
    assert two_admins_go_at_once(two_admins) == ["gone", "gone"]
    assert admins(two_admins) == 0
