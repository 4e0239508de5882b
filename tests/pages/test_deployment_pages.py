"""The deployment page and list: holds, why not more, rollout, prices, memory, notes; and who may do what."""

import html
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims.models import Instance
from console.common import clock
from console.dashboard.forms import DeploymentForm
from console.organizations.models import AuditEvent
from deployments.core.states import ReplicaState
from deployments.models import Annotation, AutoscalingPolicy, Deployment, Hold, Replica
from deployments.services import annotation_create, deployment_update, hold_create
from tests import fleet, world
from tests.cast import Cast
from tests.pages.conftest import Running

pytestmark = pytest.mark.django_db


def page(browser: Client, name: str, one: Deployment, **query: str) -> str:
    answer = browser.get(reverse(name, args=[one.id]), query)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def listed(browser: Client, **query: str) -> list[str]:
    answer = browser.get(reverse("deployments"), query)
    assert answer.status_code == 200
    return [row.deployment.name for row in answer.context["rows"]]


def hold_form(**changes: Any) -> dict[str, Any]:
    return {"kind": "FREEZE", "size": "", "reason": "incident 7", "lasts": "4h", **changes}


def test_r19_a_deployment_is_frozen_from_its_page_and_let_go_there(cast: Cast, running: Running) -> None:
    browser, one = cast.admin.browser(), running.deployment
    answer = browser.post(reverse("deployment-hold", args=[one.id]), hold_form(), follow=True)
    assert "chat is frozen. The next pass" in answer.content.decode()
    hold = Hold.objects.get()
    assert hold.expires_at is not None
    assert timedelta(hours=3, minutes=59) < hold.expires_at - clock.now() < timedelta(hours=4, minutes=1)
    for shown in (page(browser, "deployment", one), page(cast.viewer.browser(), "deployment", one)):
        assert "<b>Frozen</b> by admin" in shown
        assert "incident 7" in shown
    assert "End the freeze" not in page(cast.viewer.browser(), "deployment", one)
    fleet.tick(one.instance_type)
    why = page(browser, "deployment-why", one)
    assert "frozen by admin since" in why
    answer = browser.post(reverse("hold-end", args=[hold.id]), {"deployment": str(one.id)})
    assert answer.headers["Location"] == reverse("deployment", args=[one.id])
    assert "Frozen" not in page(browser, "deployment", one).split("notes-title")[0]


def test_r19_a_pin_outside_the_bounds_is_refused_beside_its_number(cast: Cast, running: Running) -> None:
    browser, address = cast.admin.browser(), reverse("deployment-hold", args=[running.deployment.id])
    answer = browser.post(address, hold_form(kind="PIN", size="7"))
    assert answer.status_code == 422
    assert "a size of 7 lies outside 2 to 6" in answer.content.decode()
    for changes in ({"reason": ""}, {"lasts": ""}, {"lasts": "forever"}, {"kind": "PIN"}):
        assert browser.post(address, hold_form(**changes)).status_code == 422
    assert not Hold.objects.exists()
    browser.post(address, hold_form(kind="PIN", size="5", lasts="ended"))
    assert (Hold.objects.get().size, Hold.objects.get().expires_at) == (5, None)


def test_r19_the_organization_and_the_fleet_are_frozen_from_the_list(cast: Cast, running: Running) -> None:
    form = {"reason": "network work", "lasts": "1d"}
    answer = cast.admin.browser().post(reverse("freeze"), form, follow=True)
    assert "All deployments of Ours are frozen" in " ".join(answer.content.decode().split())
    assert "whole fleet" not in answer.content.decode()
    again = cast.admin.browser().post(reverse("freeze"), form)
    assert (again.status_code, Hold.objects.count()) == (422, 1)
    assert cast.admin.browser().post(reverse("freeze"), {**form, "fleet": "1"}).status_code == 403
    assert cast.admin.browser().post(reverse("freeze"), {"reason": "", "lasts": "1d"}).status_code == 422
    platform = cast.platform.browser()
    platform.post(reverse("switch-organization"), {"organization": cast.organization.key})
    platform.post(reverse("freeze"), {**form, "fleet": "1"})
    assert Hold.objects.filter(organization__isnull=True).count() == 1
    shown = page(cast.admin.browser(), "deployment", running.deployment)
    assert shown.count('class="hr-hold"') == 2
    assert shown.count("End the freeze") == 1, "an admin ends the organization's, not the fleet's"
    fleet_hold = Hold.objects.get(organization__isnull=True)
    assert cast.admin.browser().post(reverse("hold-end", args=[fleet_hold.id])).status_code == 403
    assert platform.post(reverse("hold-end", args=[fleet_hold.id])).status_code == 302


def test_r19_the_page_says_why_not_more_and_what_would_help(cast: Cast, running: Running) -> None:
    one = running.deployment
    AutoscalingPolicy.objects.filter(deployment=one).update(min=20, max=20)
    fleet.tick(one.instance_type)
    why = page(cast.admin.browser(), "deployment-why", one)
    assert "POOL_EXHAUSTED" in why
    assert "Who holds the GPUs" in why
    assert f"{reverse('claim-new')}?zone=US-WEST-04A&amp;type=gb200-4x" in why, "where a claim is made"
    assert "Do it" not in page(cast.viewer.browser(), "deployment-why", one)
    assert cast.outsider.browser().get(reverse("deployment-why", args=[one.id])).status_code == 404


def test_r19_where_quota_leaves_nothing_the_page_offers_no_claim(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    front = fleet.gateway(cast.admin.actor, of.zone.name)
    one = fleet.deployment(cast.admin.actor, front, of, gpu_count=4, min=3, max=3)
    fleet.run(of.instance_type, clock.now(), 2)
    why = " ".join(page(cast.admin.browser(), "deployment-why", one).split())
    assert ("More quota for gb200-4x in US-WEST-04A: a claim would need 2 instances, the limit of 0 leaves 0 "
            '<span class="text-secondary">no more before it is raised and claimed</span>') in why  # fmt: skip
    assert "Do it" not in why


def test_before_the_first_decision_the_page_says_so(cast: Cast, running: Running) -> None:
    one = fleet.deployment(cast.admin.actor, running.deployment.gateways.get(), world.offering(), name="fresh")
    assert "No decision yet" in page(cast.admin.browser(), "deployment-why", one)
    assert "No decision yet" in page(cast.admin.browser(), "deployment", one)


def test_the_progress_of_a_rollout_is_shown_with_its_pairs(cast: Cast, running: Running) -> None:
    one = running.deployment
    browser = cast.admin.browser()
    assert "are being replaced" not in page(browser, "deployment", one)
    changed = fleet.spec(one.gateways.get(), min=2, max=6, version="0.22.0")
    deployment_update(actor=cast.admin.actor, deployment_id=one.id, spec=changed)
    old = Replica.objects.filter(deployment=one).first()
    assert old is not None
    replacement = Replica.objects.create(
        deployment=one, instance_type=one.instance_type, revision=2, capacity_class=1, state=ReplicaState.STARTING,
        gpus=1, replaces=old, expected_at=clock.now() + timedelta(minutes=3),
    )  # fmt: skip
    shown = page(browser, "deployment", one)
    assert "<b>1 of 3</b> replicas carry revision 2, 0 of them ready." in shown
    assert f"Replica {old.key} <span" in shown
    assert f"is replaced by {replacement.key}" in shown
    data = browser.get(reverse("chart-replicas", args=[one.id])).json()
    assert [(note["kind"], note["text"]) for note in data["notes"]] == [("revision", "Revision 2")]


def test_a_replica_is_started_anew_from_the_page(cast: Cast, running: Running) -> None:
    browser, one = cast.admin.browser(), running.deployment
    replica = Replica.objects.filter(deployment=one).earliest("key")
    address = reverse("replica-restart", args=[one.id, replica.key])
    assert f'action="{address}"' in page(browser, "deployment", one)
    assert cast.viewer.browser().post(address).status_code == 403
    assert cast.outsider.browser().post(address).status_code == 404
    assert Replica.objects.filter(revision=0).count() == 0
    answer = browser.post(address, follow=True)
    assert f"Replica {replica.key} is to be started anew" in answer.content.decode()
    shown = page(browser, "deployment", one)
    assert "1 restart asked for by an operator." in shown
    assert f'action="{address}"' not in shown
    assert "Replica asked to start anew" in shown
    Replica.objects.filter(key=replica.key).update(state=ReplicaState.DRAINING)
    assert "only one that is STARTING or READY" in browser.post(address, follow=True).content.decode()
    assert browser.post(reverse("replica-restart", args=[one.id, 0])).status_code == 404


def test_replicas_that_failed_are_told_with_reason_and_next_try(cast: Cast, running: Running) -> None:
    one, now = running.deployment, clock.now()
    gone = Replica.objects.filter(deployment=one).first()
    assert gone is not None
    Replica.objects.create(
        deployment=one, instance_type=one.instance_type, revision=1, capacity_class=2, state=ReplicaState.FAILED, gpus=1,
        stopped_at=now - timedelta(minutes=2), reason="LOADING_TOO_LONG", last_error="no weights at this path",
        retry_at=now + timedelta(minutes=5),
    )  # fmt: skip
    shown = page(cast.viewer.browser(), "deployment", one)
    assert "Failed in the last hour" in shown
    assert "It loaded for too long. no weights at this path" in shown
    assert "Next try" in shown


def test_money_is_shown_to_who_sees_it(cast: Cast, running: Running) -> None:
    for member in (cast.admin, cast.billing):
        shown = page(member.browser(), "deployment", running.deployment)
        assert "What it costs" in shown
        assert "Price now" in shown
    assert "What it costs" not in page(cast.viewer.browser(), "deployment", running.deployment)


def test_the_models_memory_is_estimated_and_set(cast: Cast, running: Running) -> None:
    browser, one = cast.admin.browser(), running.deployment
    shown = page(browser, "deployment", one)
    assert '<b>130 GiB</b> of weights <span class="tag">estimate</span> in <b>167 GiB</b>' in shown
    address = reverse("deployment-memory", args=[one.id])
    browser.post(address, {"gib": "400"})
    shown = page(browser, "deployment", one)
    assert "Does not fit" in shown
    assert "it lacks 233 GiB" in shown
    assert browser.post(address, {"gib": "-1"}).status_code == 422
    assert cast.viewer.browser().post(address, {"gib": "5"}).status_code == 403
    assert Deployment.objects.get().model_memory_gib == 400


def test_the_form_of_a_new_deployment_has_every_field(cast: Cast, running: Running) -> None:
    text = cast.admin.browser().get(reverse("deployment-new")).content.decode()
    assert [name for name in DeploymentForm.base_fields if f'name="{name}"' not in text] == []


def test_notes_are_written_listed_drawn_and_deleted(cast: Cast, running: Running) -> None:
    browser, one = cast.admin.browser(), running.deployment
    browser.post(reverse("note-new", args=[one.id]), {"text": "1.4 out", "at": ""})
    note = Annotation.objects.get()
    assert note.user == cast.admin.user
    assert "1.4 out <span" in page(browser, "deployment", one)
    for name in ("chart-replicas", "chart-queue", "chart-waits"):
        notes = browser.get(reverse(name, args=[one.id])).json()["notes"]
        assert [(found["kind"], found["text"], found["moment"]) for found in notes] == [("note", "1.4 out", True)]
    for form in ({"text": ""}, {"text": "x", "at": "2099-01-01T00:00"}, {"text": "x", "at": "yesterday"}):
        assert browser.post(reverse("note-new", args=[one.id]), form).status_code == 422
    assert cast.viewer.browser().post(reverse("note-new", args=[one.id]), {"text": "x"}).status_code == 403
    assert cast.viewer.browser().post(reverse("note-delete", args=[note.id])).status_code == 403
    assert cast.outsider.browser().post(reverse("note-delete", args=[note.id])).status_code == 404
    assert Annotation.objects.count() == 1
    browser.post(reverse("note-delete", args=[note.id]), {"deployment": str(one.id)})
    assert not Annotation.objects.exists()


def test_a_hold_is_a_band_on_the_charts(cast: Cast, running: Running) -> None:
    one, now = running.deployment, clock.now()
    hold_create(actor=cast.admin.actor, kind="PIN", reason="launch", deployment_id=one.id, size=3)
    hold_create(actor=cast.admin.actor, kind="FREEZE", reason="work")
    Hold.objects.filter(kind="FREEZE").update(
        created_at=now - timedelta(minutes=30), ended_at=now - timedelta(minutes=10)
    )
    notes = cast.viewer.browser().get(reverse("chart-queue", args=[one.id])).json()["notes"]
    assert [(note["text"], note["moment"], note["until"] is None) for note in notes] == [
        ("Pinned to 3: launch", False, True), ("Frozen (organization): work", False, False),
    ]  # fmt: skip


@pytest.mark.parametrize(("query", "names"), [
    ({}, ["chat", "second", "third"]),
    ({"sort": "-name"}, ["third", "second", "chat"]),
    ({"sort": "-priority"}, ["second", "third", "chat"]),
    ({"sort": "nonsense"}, ["chat", "second", "third"]),
    ({"q": "SEC"}, ["second"]),
    ({"q": "llama-3"}, ["chat", "second", "third"]),
    ({"state": "disabled"}, ["third"]),
    ({"state": "short"}, ["second"]),
    ({"state": "ready"}, ["chat"]),
    ({"class": "reserved"}, ["third"]),
    ({"class": "both"}, ["chat", "second"]),
    ({"type": "gb200-4x"}, ["chat", "second", "third"]),
    ({"type": "b200-8x"}, []),
    ({"held": "1"}, ["second"]),
    ({"held": "1", "q": "chat"}, []),
])  # fmt: skip
def test_the_list_is_filtered_and_ordered_by_its_address(
    cast: Cast, running: Running, query: dict[str, str], names: list[str]
) -> None:
    at, of, actor = running.deployment.gateways.get(), world.offering(), cast.admin.actor
    second = fleet.deployment(actor, at, of, name="second", min=5, max=5, gpu_count=4, priority=700)
    third = fleet.deployment(actor, at, of, name="third", priority=5, capacity_classes=("CAPACITY_CLASS_RESERVED",))
    Deployment.objects.filter(key=third.key).update(disabled=True)
    fleet.tick(of.instance_type)
    hold_create(actor=actor, kind="FREEZE", reason="x", deployment_id=second.id)
    assert listed(cast.viewer.browser(), **query) == names


def test_the_list_shows_the_reason_the_trend_and_the_hold(cast: Cast, running: Running) -> None:
    hold_create(actor=cast.admin.actor, kind="PIN", reason="x", deployment_id=running.deployment.id, size=4)
    text = " ".join(cast.viewer.browser().get(reverse("deployments")).content.decode().split())
    assert "pinned to 4" in text
    assert "<polyline points=" in text
    assert "The size is held at 2" in text
    assert 'name="deployment"' not in text, "a viewer chooses nothing"


def test_a_long_list_comes_in_pages(cast: Cast, running: Running) -> None:
    at, type_ = running.deployment.gateways.get(), running.deployment.instance_type
    rows = [
        Deployment(organization=cast.organization, name=f"many-{number:03}", engine="vllm", instance_type=type_,
                   sent_instance_type=type_.name, gpu_count=1, model_name="llama", model_bucket="w", model_path="p")
        for number in range(60)
    ]  # fmt: skip
    for row in Deployment.objects.bulk_create(rows):
        row.gateways.add(at)
        AutoscalingPolicy.objects.create(deployment=row, min=1, max=2)
    browser = cast.viewer.browser()
    pages = [listed(browser), listed(browser, page="2"), listed(browser, page="3")]
    assert [len(one) for one in pages] == [25, 25, 11]
    assert len({name for one in pages for name in one}) == 61
    assert 'href="?page=2"' in browser.get(reverse("deployments")).content.decode()


def bulk(browser: Client, ids: list[Any], **data: Any) -> Any:
    return browser.post(reverse("deployments-bulk"), {"deployment": [str(id) for id in ids], **data})


def test_priorities_of_several_are_previewed_then_set(cast: Cast, running: Running) -> None:
    browser, one = cast.admin.browser(), running.deployment
    low = fleet.deployment(cast.admin.actor, one.gateways.get(), world.offering(), name="low", min=9, max=9, priority=1)
    fleet.tick(one.instance_type)
    preview = bulk(browser, [one.id, low.id], action="priority", priority="300").content.decode()
    assert "Set the priority of 2 deployments to 300" in preview
    assert "Who is affected in the next pass" in preview
    assert set(AutoscalingPolicy.objects.values_list("priority", flat=True)) == {None, 1}, "nothing is saved yet"
    seen = {f"seen_{one.id}": "0", f"seen_{low.id}": "1"}
    bulk(browser, [one.id, low.id], action="priority", priority="300", confirmed="1", **seen)
    assert set(AutoscalingPolicy.objects.values_list("priority", flat=True)) == {300}
    events = AuditEvent.objects.filter(action="deployment.autoscaling")
    assert {(event.object_name, str(event.before), str(event.after)) for event in events} == {
        ("chat", "{'priority': None}", "{'priority': 300}"), ("low", "{'priority': 1}", "{'priority': 300}"),
    }  # fmt: skip
    overtaken = bulk(browser, [one.id, low.id], action="priority", priority="5", confirmed="1", **seen)
    assert overtaken.status_code == 302
    for wrong in ("\u00b2", "9" * 5000):
        seen[f"seen_{one.id}"] = wrong
        assert bulk(browser, [one.id], action="priority", priority="300", confirmed="1", **seen).status_code == 302
    assert set(AutoscalingPolicy.objects.values_list("priority", flat=True)) == {300}, "somebody else's stays"


def test_several_are_disabled_and_enabled_with_a_preview(cast: Cast, running: Running) -> None:
    browser, one = cast.admin.browser(), running.deployment
    waits = fleet.deployment(cast.admin.actor, one.gateways.get(), world.offering(), name="waits", gpu_count=4, min=3)
    fleet.tick(one.instance_type)
    preview = " ".join(bulk(browser, [one.id], action="disable").content.decode().split())
    assert "2 replicas finish what they run and let 2 GPUs go. On demand they cost $21.00 an hour." in preview
    assert "Others that get GPUs for more or fewer replicas: waits 2 to 3." in preview
    assert not Deployment.objects.get(key=one.key).disabled
    bulk(browser, [one.id, waits.id], action="disable", confirmed="1")
    assert Deployment.objects.filter(disabled=True).count() == 2
    bulk(browser, [one.id], action="enable", confirmed="1")
    assert list(Deployment.objects.filter(disabled=True)) == [waits]


@pytest.mark.parametrize("changes", [
    {"action": "priority", "priority": ""}, {"action": "priority", "priority": "1001"}, {"action": "explode"}, {"deployment": []},
])  # fmt: skip
def test_a_wrong_bulk_change_is_refused(cast: Cast, running: Running, changes: dict[str, Any]) -> None:
    form = {"deployment": [str(running.deployment.id)], "action": "priority", "priority": "3", "confirmed": "1"}
    assert cast.admin.browser().post(reverse("deployments-bulk"), {**form, **changes}).status_code == 422
    assert AutoscalingPolicy.objects.get().priority is None


def test_what_is_another_organizations_is_not_changed_in_bulk(cast: Cast, running: Running) -> None:
    theirs = fleet.deployment(cast.outsider.actor, fleet.gateway(cast.outsider.actor), world.offering(), name="theirs")
    ids = [running.deployment.id, theirs.id]
    for extra in ({}, {"confirmed": "1"}):
        assert bulk(cast.admin.browser(), ids, action="priority", priority="3", **extra).status_code == 404
    assert set(AutoscalingPolicy.objects.values_list("priority", flat=True)) == {None}


def test_the_preview_of_autoscaling_says_what_follows(cast: Cast, running: Running) -> None:
    browser, one = cast.admin.browser(), running.deployment
    address = reverse("deployment-autoscaling", args=[one.id])

    def preview(**changes: Any) -> str:
        form = {"min": 2, "max": 6, "concurrency": "", "priority": "", "classes": "", **changes}
        return " ".join(browser.post(address, form).content.decode().split())

    assert "The size that is wanted does not change: 2 replicas; 2 run." in preview(max=9)
    assert "<b>$94.50</b>" in preview(max=9), "9 replicas x 1 GPU x 10.50"
    reserved = preview(max=9, classes="CAPACITY_CLASS_RESERVED")
    assert "$94.50" not in reserved
    assert "<b>nothing: it runs on claims alone</b>" in reserved
    more = preview(min=5)
    assert "The next pass would want 5 replicas instead of 2; 2 run." in more
    assert "GPUs are there for" not in more
    assert "GPUs are there for 9 of these 30." not in preview(min=5)
    assert "GPUs are there for 12 of these 30." in preview(min=30, max=30)
    assert "1 of 2 replicas go, least active first" in preview(min=1, max=1)
    assert "With a min of 1 instead of 2 it may shrink that far" in preview(min=1)
    assert "A change of classes starts anew: 2 replicas to replace, replacement first" in preview(
        classes="CAPACITY_CLASS_ON_DEMAND"
    )
    assert AutoscalingPolicy.objects.get().max == 6


def test_a_viewer_changes_nothing_here_by_hand_written_requests(cast: Cast, running: Running) -> None:
    browser, id = cast.viewer.browser(), running.deployment.id
    hold = hold_create(actor=cast.admin.actor, kind="FREEZE", reason="x", deployment_id=id)
    note = annotation_create(actor=cast.admin.actor, deployment_id=id, text="x")
    attempts: list[Callable[[], Any]] = [
        lambda: browser.post(reverse("deployment-hold", args=[id]), hold_form(kind="PIN", size="3")),
        lambda: browser.post(reverse("freeze"), {"reason": "x", "lasts": "1d"}),
        lambda: browser.post(reverse("hold-end", args=[hold.id])),
        lambda: browser.post(reverse("note-new", args=[id]), {"text": "x"}),
        lambda: browser.post(reverse("note-delete", args=[note.id])),
        lambda: browser.post(reverse("deployment-memory", args=[id]), {"gib": "3"}),
        lambda: bulk(browser, [id], action="disable", confirmed="1"),
    ]
    assert [attempt().status_code for attempt in attempts] == [403] * len(attempts)
    assert (Hold.objects.get().ended_at, Annotation.objects.count()) == (None, 1)
    assert not Deployment.objects.get().disabled


@pytest.mark.parametrize("name", ["deployment", "deployment-why", "deployments"])
def test_queries_do_not_grow_with_what_is_shown(cast: Cast, running: Running, name: str) -> None:
    browser, one = cast.admin.browser(), running.deployment
    address = reverse(name, args=[] if name == "deployments" else [one.id])

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert browser.get(address).status_code == 200
        return len(found)

    hold_create(actor=cast.admin.actor, kind="FREEZE", reason="x", deployment_id=one.id)
    fleet.tick(one.instance_type)
    queries()
    before = queries()
    hold_create(actor=cast.admin.actor, kind="FREEZE", reason="x")
    hold_create(actor=cast.admin.actor, kind="PIN", reason="x", deployment_id=one.id, size=6)
    for number in range(3):
        annotation_create(actor=cast.admin.actor, deployment_id=one.id, text=f"note {number}")
        fleet.deployment(cast.admin.actor, one.gateways.get(), world.offering(), name=f"more-{number}")
    fleet.tick(one.instance_type)
    assert Instance.objects.filter(gpus_used__gt=0).exists()
    assert queries() == before


def test_r19_what_would_help_leads_to_a_form_that_is_filled_in(cast: Cast, running: Running) -> None:
    one = running.deployment
    AutoscalingPolicy.objects.filter(deployment=one).update(
        min=40, max=40, capacity_classes=["CAPACITY_CLASS_ON_DEMAND"]
    )
    fleet.tick(one.instance_type)
    browser = cast.admin.browser()
    text = browser.get(reverse("deployment-why", args=[one.id])).content.decode()
    (claim, classes) = (
        next(link for link in re.findall('href="([^"]+)">(?:Do it|Claim|Allow)', text) if part in link)
        for part in ("count=", "classes=")
    )
    filled = browser.get(html.unescape(classes.partition("#")[0])).content.decode()
    assert re.search(r'<option value="CAPACITY_CLASS_ON_DEMAND,CAPACITY_CLASS_RESERVED"\s+selected>', filled)
    reserve = browser.get(html.unescape(claim)).content.decode()
    (count,) = re.findall(r"count=(\d+)", claim)
    assert re.search(rf'name="count"[^>]*value="{count}"', reserve) or re.search(
        rf'value="{count}"[^>]*name="count"', reserve
    )
    proposed = browser.get(reverse("deployment", args=[one.id]), {"max": "77", "priority": "9"}).content.decode()
    assert re.search('name="max" value="77"', proposed)
    assert AutoscalingPolicy.objects.get(deployment=one).max == 40, "an address changes nothing"
