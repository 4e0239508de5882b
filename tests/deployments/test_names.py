"""Other deployments that a decision speaks of are called by their names, wherever it is told."""

import re
from typing import Any

import pytest
from django.urls import reverse

from console.common import clock
from deployments.core.reasons import Reason
from deployments.models import Decision, Deployment
from deployments.selectors import names_of
from deployments.services import deployment_delete
from deployments.services.deployments import deployment_remove
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def deleted(cast: Cast, at: Any, name: str = "old") -> Deployment:
    one = fleet.deployment(cast.admin.actor, at, world.offering(), name=name)
    deployment_remove(deployment_delete(actor=cast.admin.actor, deployment_id=one.id))
    assert not Deployment.objects.filter(key=one.key).exists()
    return one


def test_own_ones_have_names_also_once_deleted_and_those_of_others_none(cast: Cast) -> None:
    at = fleet.gateway(cast.admin.actor)
    own, old = fleet.deployment(cast.admin.actor, at, world.offering(), name="chat"), deleted(cast, at)
    theirs = fleet.deployment(cast.outsider.actor, fleet.gateway(cast.outsider.actor), world.offering(), name="secret")
    keys = {own.key, old.key, theirs.key, 10**9, -1}
    assert names_of(cast.organization, keys) == {
        own.key: "chat", old.key: "old", theirs.key: "a deployment of another organization",
        10**9: "a deployment that is deleted",
    }  # fmt: skip
    assert names_of(cast.other, [old.key]) == {old.key: "a deployment that is deleted"}, (
        "its name is not theirs to know"
    )
    assert names_of(cast.organization, [theirs.key], platform=True) == {theirs.key: "secret"}


@pytest.mark.parametrize("gone", [False, True])
def test_wherever_a_decision_is_told_it_names_who_went_first(cast: Cast, gone: bool) -> None:
    at, of = fleet.gateway(cast.admin.actor), world.offering()
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, at, of, name="chat", min=2)
    other = deleted(cast, at, "urgent") if gone else fleet.deployment(cast.admin.actor, at, of, name="urgent", min=1)
    fleet.run(of.instance_type, clock.now(), 2)
    for row in Decision.objects.filter(deployment=one):
        record = row.record | {"granted_code": int(Reason.RECLAIMED), "granted_other": other.key}
        Decision.objects.filter(pk=row.pk).update(record=record, wanted=9, granted=1)
    newest = Decision.objects.filter(deployment=one).latest("id")
    browser, api = cast.admin.browser(), cast.admin.api()
    pages = [reverse("overview"), reverse("capacity"), reverse("deployments"), reverse("deployment", args=[one.id]),
             reverse("decisions"), reverse("decision", args=[newest.id])]  # fmt: skip
    answers = [f"/api/v1/deployments/{one.id}/decisions", "/api/v1/decisions", f"/api/v1/decisions/{newest.id}",
               "/api/v1/events"]  # fmt: skip
    for told in [browser.get(page).content.decode() for page in pages] + [
        api.get(url).content.decode() for url in answers
    ]:
        assert "so that urgent, which has a higher priority" in " ".join(told.split())
        assert not re.search(r"deployment \d+", told)
