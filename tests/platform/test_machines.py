"""Work on machines, withdrawals and prices in /admin/: shown first, done through the services, for staff alone."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims.effects import work_effects
from claims.models import Instance, Offering, Price, Work
from console.organizations.models import AuditEvent
from tests import world
from tests.cast import Cast, Member

pytestmark = pytest.mark.django_db


def act(who: Member, model: str, action: str, rows: list[Any], **more: str) -> Any:
    body = {"action": action, "_selected_action": [str(row.pk) for row in rows], **more}
    address = reverse(f"admin:claims_{model}_changelist")
    return who.browser().post(address, body, follow=who.user.is_staff)


def words(answer: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


@pytest.mark.parametrize(("action", "work", "audit"), [
    ("cordon", "CORDON", "instance.cordon"), ("drain", "DRAIN", "instance.drain"), ("mark_bad", "BAD", "instance.bad"),
])  # fmt: skip
def test_work_is_shown_first_and_done_with_its_reason(cast: Cast, action: str, work: str, audit: str) -> None:
    first, second = world.pool(world.offering(), 2)
    world.take(first, cast.organization, 1)
    before = list(Instance.objects.order_by("key").values())
    asked = act(cast.platform, "instance", action, [first, second])
    assert first.name in words(asked)
    assert "1 replica" in words(asked)
    assert "Reason" in words(asked)
    unsaid = act(cast.platform, "instance", action, [first, second], confirmed="yes", reason="  ")
    assert "This field is required" in words(unsaid)
    assert list(Instance.objects.order_by("key").values()) == before
    done = act(cast.platform, "instance", action, [first, second], confirmed="yes", reason="new firmware")
    assert "2 done" in words(done)
    worked = Instance.objects.filter(key__in=[first.key, second.key])
    assert set(worked.values_list("work", "work_reason")) == {(work, "new firmware")}
    assert set(AuditEvent.objects.filter(action=audit).values_list("actor", flat=True)) == {"platform"}


def test_work_is_ended_and_a_refusal_keeps_nobody_else(cast: Cast) -> None:
    first, second = world.pool(world.offering(), 2)
    world.take(second, cast.organization, 1)
    act(cast.platform, "instance", "cordon", [first], confirmed="yes", reason="x")
    act(cast.platform, "instance", "mark_bad", [second], confirmed="yes", reason="x")
    ended = act(cast.platform, "instance", "end_work", [first, second], confirmed="yes")
    assert "1 done" in words(ended)
    assert "is bad and on its way out for good" in words(ended)
    assert dict(Instance.objects.filter(key__in=[first.key, second.key]).values_list("key", "work")) == {
        first.key: "", second.key: "BAD",
    }  # fmt: skip


def test_too_many_at_once_are_refused(cast: Cast) -> None:
    rows = world.pool(world.offering(), 201)
    answer = act(cast.platform, "instance", "cordon", rows, confirmed="yes", reason="all")
    assert "at most 200 at once" in words(answer)
    assert not Instance.objects.exclude(work="").exists()


def test_members_reach_none_of_it(cast: Cast) -> None:
    (one,) = world.pool(world.offering(), 1)
    for who in (cast.admin, cast.viewer, cast.outsider):
        for answer in (act(who, "instance", "mark_bad", [one], confirmed="yes", reason="x"),
                       act(who, "offering", "withdraw", [world.offering()], confirmed="yes")):  # fmt: skip
            assert answer.status_code == 302
    assert Instance.objects.get().work == ""
    assert not Offering.objects.filter(withdrawn_at__isnull=False).exists()


def test_the_effect_names_claims_and_whether_something_is_free(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 3)
    world.quota(cast.organization, of, limit=1)
    world.claim(cast.admin.actor, of, 2, name="shared")
    world.claim(cast.admin.actor, of, 1, "CUSTOMER", name="own")
    world.everything_arrives()
    machines = list(
        Instance.objects.filter(claim__isnull=False).select_related("claim", "organization").order_by("key")
    )
    world.take(machines[0], cast.organization, 1, claim=machines[0].claim)
    machines[0].refresh_from_db()
    assert [one.text for one in work_effects(machines, Work.DRAIN)] == [
        "1 replica of ours moves away; claim shared gets a free one of the pool at once; stays, cordoned",
        "empty; claim shared waits for a free one of the pool; stays, cordoned",
        "empty; claim own is short of it and pays for it until the work ends; stays, cordoned",
    ]
    assert work_effects(machines, Work.BAD)[2].text == (
        "empty; claim own is short of it until its replacement has joined; given back, a fresh machine comes"
    )
    assert [one.text for one in work_effects(machines[:1], "")] == ["nothing: there is no work on it"]


def test_offerings_are_withdrawn_and_restored(cast: Cast) -> None:
    of = world.offering()
    (_, busy) = world.pool(of, 2)
    world.take(busy, cast.organization, 1)
    asked = act(cast.platform, "offering", "withdraw", [of])
    assert "1 free instances go now, 1 in use and 0 claimed as they free up" in words(asked)
    assert not Offering.objects.filter(withdrawn_at__isnull=False).exists()
    act(cast.platform, "offering", "withdraw", [of], confirmed="yes")
    assert Offering.objects.get(key=of.key).withdrawn_at
    act(cast.platform, "offering", "restore", [of], confirmed="yes")
    assert Offering.objects.get(key=of.key).withdrawn_at is None
    assert AuditEvent.objects.filter(object_type="Offering", actor="platform").count() == 2


def test_a_price_is_added_and_what_cannot_be_is_said(cast: Cast) -> None:
    of = world.offering()
    browser, address = cast.platform.browser(), reverse("admin:claims_price_add")
    block = {"instance_type": of.instance_type.pk, "zone": "", "kind": "ON_DEMAND", "usd_per_gpu_hour": "11.25",
             "starts_0": "2030-01-01", "starts_1": "00:00:00"}  # fmt: skip
    before = Price.objects.count()
    refused = browser.post(address, {**block, "usd_per_gpu_hour": "1000001"}, follow=True)
    assert "less than or equal to 1000000" in words(refused)
    assert "successfully" not in words(refused)
    assert Price.objects.count() == before
    assert "added successfully" in words(browser.post(address, block, follow=True))
    made = Price.objects.latest("pk")
    assert (str(made.usd_per_gpu_hour), made.valid.lower.isoformat(), made.valid.upper) == (
        "11.250000", "2030-01-01T00:00:00+00:00", None,
    )  # fmt: skip
    page = words(browser.get(reverse("admin:claims_price_change", args=[made.pk])))
    assert "From: 2030-01-01 00:00:00+00:00 Until: another is set" in page
    assert browser.post(reverse("admin:claims_price_change", args=[made.pk]), block).status_code == 403
    assert browser.post(reverse("admin:claims_price_delete", args=[made.pk]), {"post": "yes"}).status_code == 403


def test_new_states_are_on_the_lists(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 3)
    claim = world.claim(cast.admin.actor, of, 3, name="shrinking")
    for count in (2, 1):
        cast.admin.api().send("PATCH", f"/v1alpha1/inference/capacityclaims/{claim.id}", {"resources": {
            "instanceId": "gb200-4x", "instanceCount": count, "capacityType": "CAPACITY_TYPE_SERVERLESS",
            "zones": ["US-WEST-04A"]}})  # fmt: skip
    page = cast.platform.browser().get(reverse("admin:claims_capacityclaim_changelist")).content.decode()
    for name, value in (("target", 1), ("effective", 2), ("allocated", 2)):
        assert f'<td class="field-{name}">{value}</td>' in page
    found = cast.platform.browser().get(reverse("admin:claims_instance_changelist"), {"work": "BAD", "q": "shrinking"})
    assert "0 machines" in words(found) or "0 instances" in words(found)


@pytest.mark.thorough
def test_ten_thousand_machines_take_as_many_queries_as_ten(cast: Cast) -> None:
    browser, address = cast.platform.browser(), reverse("admin:claims_instance_changelist")
    of = world.offering()
    world.pool(of, 10)

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert browser.get(address, {"work": "", "q": "gb200"}).status_code == 200
        return len(found)

    queries()
    before = queries()
    Instance.objects.bulk_create(
        Instance(name=f"gb200-{number}", offering=of, source="POOL", state="READY", gpus=4) for number in range(10_000)
    )
    assert queries() == before
