"""The life of a claim: one table of steps that nothing can leave, and conditions that say how it stands and since when."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from claims import provisioning
from claims.core import allocation
from claims.core.conditions import ClaimFacts, Condition, claim_conditions
from claims.core.states import CLAIM_TRANSITIONS, ImpossibleStep, Status, stepped
from claims.models import CapacityClaim, ClaimEvent, ClaimUse, SimulatedNode, Work
from claims.services import claim_delete, claim_resize, fulfilment, instance_work_set
from claims.use import under_use_note
from console.common import clock
from console.notifications.models import Notification
from tests import world
from tests.cast import Cast

PAIRS = list(product(Status, Status))
TYPES = ["Ready", "ResourcesApplied"]


def allowed(old: Status, new: Status) -> bool:
    return new == old or new in CLAIM_TRANSITIONS[old]


# --- the table -------------------------------------------------------------------------------------
def test_the_table_is_about_every_status_and_ends_in_deleting() -> None:
    assert set(CLAIM_TRANSITIONS) == set(Status)
    for old in Status:
        assert CLAIM_TRANSITIONS[old] or old == Status.DELETING, "from everywhere it can be deleted, and then it goes"
    assert Status.CREATING not in {new for several in CLAIM_TRANSITIONS.values() for new in several}
    assert Status.UPDATING not in CLAIM_TRANSITIONS[Status.CREATING], "polling clients would take it for an update"


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_c5_a_step_that_the_table_lacks_fails_loudly(old: Status, new: Status) -> None:
    if allowed(old, new):
        assert stepped(old, new) == new
        return
    with pytest.raises(ImpossibleStep):
        stepped(old, new)


@pytest.mark.django_db
@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_c5_the_database_refuses_every_other_step(cast: Cast, old: Status, new: Status) -> None:
    claim = world.claim(cast.admin.actor, world.offering(), 1)
    _forced(claim, old)

    def move() -> int:
        with transaction.atomic():
            return CapacityClaim.objects.filter(key=claim.key).update(status=new)

    if allowed(old, new):
        assert move() == 1
    else:
        with pytest.raises(DatabaseError, match="Invalid transition"):
            move()
    assert CapacityClaim.objects.get(key=claim.key).status == (new if allowed(old, new) else old)


def _forced(claim: CapacityClaim, status: Status) -> None:
    """Whatever the table says."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE claims_capacityclaim SET status = %s WHERE key = %s", [status.value, claim.key])
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")


@pytest.mark.django_db
@pytest.mark.parametrize("status", Status)
def test_c5_a_claim_begins_as_creating_and_goes_from_deleting(cast: Cast, status: Status) -> None:
    claim = world.claim(cast.admin.actor, world.offering(), 1)
    _forced(claim, status)

    def again() -> None:
        with transaction.atomic():
            CapacityClaim.objects.bulk_create([CapacityClaim(
                organization=cast.organization, offering=world.offering(), name="other", kind="SERVERLESS", target=1,
                status=status,
            )])  # fmt: skip

    def gone() -> None:
        with transaction.atomic():
            CapacityClaim.objects.filter(key=claim.key).delete()

    if status == Status.CREATING:
        again()
    else:
        with pytest.raises(DatabaseError, match="Cannot insert"):
            again()
    if status == Status.DELETING:
        gone()
    else:
        with pytest.raises(DatabaseError, match="Cannot delete"):
            gone()
    assert CapacityClaim.objects.filter(key=claim.key).exists() == (status != Status.DELETING)


@pytest.mark.parametrize(("status", "allocated"), product(Status, (1, 2)))
def test_c8_what_it_has_never_asks_for_a_step_that_is_none(status: Status, allocated: int) -> None:
    assert allowed(status, allocation.next_status(status, allocated=allocated, effective=2))


# --- conditions ------------------------------------------------------------------------------------
def said(claim: CapacityClaim) -> dict[str, Condition]:
    return {one["type"]: one for one in world.reread(claim).conditions}


def short(claim: CapacityClaim) -> dict[str, tuple[str, str]]:
    return {type_: (one["status"].removeprefix("STATUS_"), one["reason"]) for type_, one in said(claim).items()}


def own(cast: Cast, count: int = 2) -> CapacityClaim:
    """A claim with machines of its own, READY."""
    world.quota(cast.organization, world.offering(), limit=count)
    claim = world.claim(cast.admin.actor, world.offering(), count, "CUSTOMER", name="own")
    world.everything_arrives()
    return world.reread(claim)


def lose_one(claim: CapacityClaim) -> None:
    one = claim.instances.filter(lost_at=None, state="READY").order_by("key")[0]
    SimulatedNode.objects.filter(instance_key=one.key).delete()


@pytest.mark.django_db
def test_what_is_set_aside_is_applied_once_all_of_it_is_there(cast: Cast) -> None:
    world.quota(cast.organization, world.offering(), limit=2)
    claim = world.claim(cast.admin.actor, world.offering(), 2, "CUSTOMER")
    assert short(claim) == {"Ready": ("FALSE", "Joining"), "Progressing": ("TRUE", "Reconciling"),
                            "ResourcesApplied": ("FALSE", "Reconciling")}  # fmt: skip
    world.everything_arrives()
    assert short(claim) == {"Ready": ("TRUE", "AllAllocated"), "ResourcesApplied": ("TRUE", "Applied")}
    assert said(claim)["ResourcesApplied"]["message"] == "2 instances set aside, as asked for"


@pytest.mark.django_db
def test_c7_what_waits_only_for_its_time_is_applied(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 3)
    claim = world.claim(cast.admin.actor, of, 3)
    world.settle()
    for count in (2, 1):
        claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, count))
    assert short(claim)["Progressing"] == ("TRUE", "ReductionScheduled")
    assert short(claim)["ResourcesApplied"] == ("TRUE", "Applied")


@pytest.mark.django_db
def test_c6_a_lost_machine_degrades_the_claim_until_its_replacement_is_there(cast: Cast) -> None:
    claim = own(cast)
    assert "Degraded" not in short(claim), "it never was"
    lose_one(claim)
    world.settle()
    assert short(claim)["Degraded"] == ("TRUE", "InstanceLost")
    world.settle(2)
    assert not claim.instances.filter(lost_at__isnull=False).exists(), "it is gone, and its replacement still joins"
    assert (world.reread(claim).status, short(claim)["Degraded"]) == (Status.UPDATING, ("TRUE", "InstanceLost"))
    assert said(claim)["Degraded"]["message"] == "1 instance on the way to make it whole"
    world.everything_arrives()
    assert (world.reread(claim).status, short(claim)["Degraded"]) == (Status.READY, ("FALSE", "Healed"))
    healed = said(claim)["Degraded"]
    world.settle(2)
    assert said(claim)["Degraded"] == healed, "it stays with the time of the healing"
    lose_one(claim)
    world.settle()
    assert short(claim)["Degraded"][0] == "TRUE", "lost again, degraded again"


@pytest.mark.django_db
def test_c6_a_pool_heals_at_once_and_it_is_told_all_the_same(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 3)
    claim = world.claim(cast.admin.actor, of, 2)
    world.settle()
    lose_one(claim)
    world.settle()
    assert short(claim)["Degraded"] == ("FALSE", "Healed")
    assert [(one.kind, one.subject, one.text) for one in Notification.objects.all()] == [
        ("CLAIM_DEGRADED", "mine is degraded", "1 instance lost; replaced")
    ]
    told = ClaimEvent.objects.filter(claim_id=claim.id, what="Degraded").order_by("id")
    assert [(one.after, one.reason, one.message) for one in told] == [
        ("STATUS_TRUE", "InstanceLost", "1 instance lost; replaced"),
        ("STATUS_FALSE", "Healed", "Whole again: what was lost is replaced"),
    ]


@pytest.mark.django_db
def test_what_a_pass_does_that_waited_for_the_lock_comes_after_what_it_waited_for(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 3)
    claim = world.claim(cast.admin.actor, of, 2)
    world.settle()
    began = clock.now()
    lose_one(claim)
    provisioning.provision_pass(now=clock.now())
    fulfilment.fulfil_pass(now=began)
    told = ClaimEvent.objects.filter(claim_id=claim.id, what="Degraded").order_by("at", "id")
    assert [one.after for one in told] == ["STATUS_TRUE", "STATUS_FALSE"]
    assert world.reread(claim).updated_at > began


@pytest.mark.django_db
def test_a_machine_that_the_platform_takes_away_degrades_the_claim(cast: Cast) -> None:
    claim = own(cast)
    key = claim.instances.order_by("key")[0].key
    instance_work_set(actor=world.PLATFORM, instance_key=key, work=Work.BAD, reason="fan")
    assert short(claim)["Degraded"][0] == "TRUE"
    world.everything_arrives()
    assert short(claim)["Degraded"] == ("FALSE", "Healed")


def use(claim: CapacityClaim, share: float) -> None:
    """What the last day looked like."""
    hour = clock.now().replace(minute=0, second=0, microsecond=0)
    for ago in range(24):
        ClaimUse.objects.update_or_create(
            claim=claim, hour=hour - timedelta(hours=ago),
            defaults={"looks": 60, "gpus_used": round(share * 480), "gpus_held": 480},
        )  # fmt: skip


@pytest.mark.django_db
def test_a_claim_that_is_hardly_used_says_so_until_it_is_used(cast: Cast) -> None:
    claim = own(cast)
    under_use_note(now=clock.now())
    assert "UnderUsed" not in short(claim), "nothing is known"
    use(claim, 0.5)
    assert under_use_note(now=clock.now()) == []
    assert "UnderUsed" not in short(claim), "it never was"
    use(claim, 0.1)
    assert under_use_note(now=clock.now()) == [claim]
    first = said(claim)["UnderUsed"]
    assert (first["status"], first["reason"]) == ("STATUS_TRUE", "LittleUsed")
    assert first["message"] == "Replicas held less than 20% of its GPUs over the last 24 hours"
    use(claim, 0.05)
    assert under_use_note(now=clock.now()) == []
    world.settle()
    assert said(claim)["UnderUsed"] == first, "neither another look nor the loop makes it new"
    use(claim, 0.5)
    under_use_note(now=clock.now())
    assert short(claim)["UnderUsed"] == ("FALSE", "Used")
    assert [one.subject for one in Notification.objects.all()] == ["own is under-used"]
    assert list(ClaimEvent.objects.filter(what="UnderUsed").order_by("id").values_list("after", flat=True)) == [
        "STATUS_TRUE", "STATUS_FALSE",
    ]  # fmt: skip


@pytest.mark.django_db
def test_the_vendors_api_lists_no_condition_that_it_does_not_know(cast: Cast) -> None:
    claim = own(cast)
    lose_one(claim)
    world.settle()
    use(claim, 0.1)
    under_use_note(now=clock.now())
    api = cast.viewer.api()
    told = api.send("GET", f"/v1alpha1/inference/capacityclaims/{claim.id}").json()["capacityClaim"]["status"]
    ours = api.send("GET", f"/api/v1/claims/{claim.id}").json()["capacityClaim"]["status"]
    assert [one["type"] for one in told["conditions"]] == ["Ready", "Progressing", "ResourcesApplied"]
    assert [one["type"] for one in ours["conditions"]] == [
        "Ready", "Progressing", "ResourcesApplied", "Degraded", "UnderUsed",
    ]  # fmt: skip
    for one in ours["conditions"]:
        assert all(one[name] for name in ("reason", "message", "lastUpdateTime"))
        assert one["zone"] == "US-WEST-04A"
        assert one["status"] in ("STATUS_TRUE", "STATUS_FALSE")


@pytest.mark.django_db
def test_c11_what_goes_is_neither_degraded_nor_under_used_any_more(cast: Cast) -> None:
    claim = own(cast)
    lose_one(claim)
    world.settle()
    use(claim, 0.1)
    under_use_note(now=clock.now())
    claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    assert short(claim) == {"Ready": ("FALSE", "Deleting"), "Progressing": ("TRUE", "Deleting"),
                            "ResourcesApplied": ("FALSE", "Deleting")}  # fmt: skip


def test_every_claim_that_can_be_has_conditions_in_the_apis_form() -> None:
    now = clock_free()
    lacks: list[dict[str, Any]] = [{}, {"lost": 1}, {"drained": 1}, {"failures": 3}, {"draining": 2}]
    for status, allocated, more, kind in product(Status, (0, 2), lacks, ("SERVERLESS", "CUSTOMER")):
        facts = ClaimFacts(
            kind=kind, status=status, zone="Z", target=2, effective=2, allocated=allocated, left=1, **more
        )
        old: list[Condition] = []
        for _ in range(2):
            found = claim_conditions(facts, old, now)
            assert [one["type"] for one in found][:1] == ["Ready"]
            assert len({one["type"] for one in found}) == len(found)
            assert all(one["reason"] and one["message"] and one["lastUpdateTime"] for one in found)
            assert {one["status"] for one in found} <= {"STATUS_TRUE", "STATUS_FALSE"}
            assert not old or found == old, "saying it again changes nothing"
            old = found


def clock_free() -> datetime:

    return datetime(2026, 3, 4, 12, tzinfo=UTC)
