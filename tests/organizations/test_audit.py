import pytest
from django.db import DatabaseError, connection, transaction

from console.organizations.models import AuditEvent, Membership, Role
from console.organizations.services import membership_set
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def test_a_change_of_role_is_recorded_with_before_and_after(cast: Cast) -> None:
    membership_set(actor=cast.admin.actor, user=cast.viewer.user, organization=cast.organization, role=Role.BILLING)
    event = AuditEvent.objects.order_by("id").last()
    assert event is not None
    assert (event.actor, event.action, event.before, event.after) == (
        "token admin", "member.set", {"role": "viewer"}, {"role": "billing"},
    )  # fmt: skip


def test_giving_the_same_role_again_changes_and_records_nothing(cast: Cast) -> None:
    before = AuditEvent.objects.count()
    membership_set(actor=cast.admin.actor, user=cast.viewer.user, organization=cast.organization, role=Role.VIEWER)
    assert AuditEvent.objects.count() == before
    assert Membership.objects.filter(user=cast.viewer.user).count() == 1


@pytest.mark.parametrize("statement", [
    "UPDATE organizations_auditevent SET actor = 'nobody'",
    "DELETE FROM organizations_auditevent",
])  # fmt: skip
def test_the_database_refuses_to_alter_history(cast: Cast, statement: str) -> None:
    membership_set(actor=cast.admin.actor, user=cast.viewer.user, organization=cast.organization, role=Role.BILLING)
    before = list(AuditEvent.objects.values())
    assert before
    with connection.cursor() as cursor, pytest.raises(DatabaseError, match="Cannot"), transaction.atomic():
        cursor.execute(statement)
    assert list(AuditEvent.objects.values()) == before
