"""Notes on charts: who writes them, who takes them away."""

from datetime import timedelta

import pytest

from console.common import clock
from console.common.errors import InvalidArgument, NotFound, PermissionDenied
from console.organizations.models import AuditEvent
from deployments.models import Annotation, Deployment
from deployments.selectors import annotations_of
from deployments.services import annotation_create, annotation_delete
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def chat(cast: Cast) -> Deployment:
    return fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), world.offering())


def test_a_note_is_written_listed_and_taken_away(cast: Cast, chat: Deployment) -> None:
    earlier = clock.now() - timedelta(minutes=5)
    note = annotation_create(actor=cast.admin.actor, deployment_id=chat.id, text=" 1.4 out ", at=earlier)
    second = annotation_create(actor=cast.admin.actor, deployment_id=chat.id, text="1.5 out")
    assert [one.text for one in annotations_of(chat, earlier)] == ["1.5 out", "1.4 out"]
    assert annotations_of(chat, clock.now()) == []
    annotation_delete(actor=cast.admin.actor, annotation_id=note.id)
    assert annotations_of(chat, earlier) == [second]
    actions = list(AuditEvent.objects.filter(object_type="Annotation").order_by("id").values_list("action", flat=True))
    assert actions == ["note.create", "note.create", "note.delete"]


def test_a_note_belongs_to_who_wrote_it_and_to_admins(cast: Cast, chat: Deployment) -> None:
    note = annotation_create(actor=cast.admin.actor, deployment_id=chat.id, text="1.4 out")
    for member, error in ((cast.viewer, PermissionDenied), (cast.outsider, NotFound)):
        with pytest.raises(error):
            annotation_delete(actor=member.actor, annotation_id=note.id)
    assert Annotation.objects.get().text == "1.4 out"
    Annotation.objects.update(user=cast.viewer.user)
    annotation_delete(actor=cast.viewer.actor_signed_in(), annotation_id=note.id)
    assert not Annotation.objects.exists()


@pytest.mark.parametrize("text", ["", "  ", "x" * 201])
def test_a_note_says_something_short(cast: Cast, chat: Deployment, text: str) -> None:
    with pytest.raises(InvalidArgument):
        annotation_create(actor=cast.admin.actor, deployment_id=chat.id, text=text)
    assert not Annotation.objects.exists()


def test_a_note_is_about_what_has_happened_in_our_own_house(cast: Cast, chat: Deployment) -> None:
    with pytest.raises(InvalidArgument):
        annotation_create(actor=cast.admin.actor, deployment_id=chat.id, text="x", at=clock.now() + timedelta(days=1))
    with pytest.raises(NotFound):
        annotation_create(actor=cast.outsider.actor, deployment_id=chat.id, text="x")
    with pytest.raises(PermissionDenied):
        annotation_create(actor=cast.viewer.actor, deployment_id=chat.id, text="x")
    assert not Annotation.objects.exists()
