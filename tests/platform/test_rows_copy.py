"""Rows stored with COPY are what `bulk_create` would have stored."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from claims.models import Quota
from console.common import clock
from console.common.rows import rows_copy
from deployments.models import Decision, Deployment, Replica
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db

AWKWARD = {
    "text": 'tab\t, "quoted", new\nline, back\\slash, \\N, ünïcode',
    "none": None,
    "list": [1, 2],
    "granted_code": 7,
}
CODES = {f"{stage}_code": n for n, stage in enumerate(("signal", "need", "damped", "wanted", "ahead"))}


@pytest.fixture
def one(cast: Cast) -> Deployment:
    of = world.offering()
    return fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, name="one")


def decision(one: Deployment, **more: Any) -> Decision:
    fields = {"deployment": one, "organization_id": one.organization_id, "at": clock.now(), "current": 1, "wanted": 2,
              "granted": 1, "bound": "CAPACITY", "record": {**CODES, **AWKWARD}}  # fmt: skip
    return Decision(**{**fields, **more})


def stored(model: Any) -> list[dict[str, Any]]:
    return list(model.objects.order_by("pk").values())


def test_every_value_is_the_same(one: Deployment) -> None:
    rows_copy([decision(one), decision(one, wanted=-5)])
    copied = stored(Decision)
    Decision.objects.all().delete()
    Decision.objects.bulk_create([decision(one), decision(one, wanted=-5)])
    for row, other in zip(copied, stored(Decision), strict=True):
        assert row.pop("id") != other.pop("id")
        assert row.pop("at") < other.pop("at")
        assert row == other
    assert copied[0]["record"]["text"] == AWKWARD["text"]
    assert copied[0]["codes"][:2] == [0, 1]


def test_each_row_has_its_key_in_order(one: Deployment) -> None:
    made = [
        Replica(deployment=one, instance_type=one.instance_type, revision=n, capacity_class=1, state=1, gpus=1)
        for n in range(1, 6)
    ]
    rows_copy(made)
    assert [one.pk for one in made] == list(range(made[0].pk, made[0].pk + 5))
    assert {row["key"]: row["revision"] for row in stored(Replica)} == {row.pk: row.revision for row in made}
    assert not made[0]._state.adding
    assert stored(Replica)[0]["created_at"] is not None, "what the row does not say the database does"


def test_keys_that_are_known_stay(one: Deployment) -> None:
    rows_copy([decision(one, id=10**9), decision(one, id=10**9 + 1)])
    assert Decision.objects.filter(id__gte=10**9).count() == 2


def test_nothing_is_no_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        rows_copy([])


def test_a_row_that_may_not_be_is_refused_as_ever_and_none_is_stored(cast: Cast, one: Deployment) -> None:
    of, before = world.offering("RNO2A", "gd-1xgh200"), Quota.objects.count()
    rows = [Quota(organization=cast.organization, offering=of, limit=n) for n in (1, 2)]
    with pytest.raises(IntegrityError), transaction.atomic():
        rows_copy(rows)
    assert Quota.objects.count() == before
