"""A creation sends few messages, and holds the row that others wait for during the last of them alone."""

import threading
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DataError, connection, transaction
from django.test.utils import CaptureQueriesContext

from claims import locks
from claims.models import CapacityClaim, Instance, Quota
from console.common.errors import FailedPrecondition
from console.common.rows import rows_insert
from console.common.together import run_together
from console.organizations.models import AuditEvent
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db(transaction=True)


def test_c3_a_creation_asks_for_the_quota_in_its_last_message(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=9)
    world.claim(cast.admin.actor, of, 1, "CUSTOMER", name="before")
    with CaptureQueriesContext(connection) as asked:
        world.claim(cast.admin.actor, of, 3, "CUSTOMER", name="one")
    sent = [one["sql"] for one in asked if one["sql"] not in ("BEGIN", "COMMIT")]
    assert len(sent) == 3
    assert ["UPDATE claims_quota" in one for one in sent] == [False, False, True]
    assert Instance.objects.filter(claim__name="one", organization=cast.organization).count() == 3
    assert Quota.objects.get().committed_bound == 4


def test_w1_a_customer_claim_is_made_while_somebody_holds_its_offering(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=2)
    made: list[Any] = []

    def create() -> None:
        made.append(world.claim(cast.admin.actor, of, 2, "CUSTOMER"))
        connection.close()

    with transaction.atomic():
        locks.offerings_lock([of.key])
        other = threading.Thread(target=create)
        other.start()
        other.join(timeout=20)
        assert made, "it waits for the offering"
    world.settle()
    assert Instance.objects.filter(claim=made[0]).count() == 2, "the loop asks for no more than are there already"


def test_c1_a_refused_creation_leaves_neither_claim_nor_machines_nor_audit(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=2)
    before = AuditEvent.objects.count()
    with pytest.raises(FailedPrecondition):
        world.claim(cast.admin.actor, of, 3, "CUSTOMER")
    assert (CapacityClaim.objects.count(), Instance.objects.count(), AuditEvent.objects.count()) == (0, 0, before)
    assert world.claim(cast.admin.actor, of, 2, "CUSTOMER").target == 2


def test_statements_sent_together_answer_each_for_itself() -> None:
    found = run_together(
        [("SELECT %s + 1", [1]), ("SELECT 1 WHERE false", []), ("SELECT n FROM generate_series(1, %s) n", [2])]
    )
    assert found == [[(2,)], [], [(1,), (2,)]]


def test_of_statements_sent_together_the_first_that_fails_is_the_last() -> None:
    with pytest.raises(DataError), transaction.atomic():
        run_together([("INSERT INTO auth_group (name) VALUES (%s)", ["one"]), ("SELECT 1 / %s", [0])])
    assert not Group.objects.exists()


def test_rows_of_several_models_get_their_keys_and_keep_those_they_have() -> None:
    new, known = Group(name="new"), Group(pk=4711, name="known")
    rows_insert([new], [], [known], also=[("SELECT 1", [])])
    assert dict(Group.objects.values_list("name", "pk")) == {"new": new.pk, "known": 4711}
    assert not new._state.adding
