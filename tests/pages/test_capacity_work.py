"""Platform work on machines, by the page: who is affected first, then the work, and its end."""

import pytest
from django.urls import reverse

from claims.models import CapacityClaim, Instance, Source, Work
from claims.services import instance_work_set
from console.common import clock
from console.organizations.models import AuditEvent
from deployments.impact.instances import WorkPreview, work_preview
from tests import world
from tests.cast import Cast, Member
from tests.impact.test_against_the_loops import foreseen_of, made, replica_counts, serverless, what_happened
from tests.pages.conftest import Running

pytestmark = pytest.mark.django_db


def used(running: Running) -> Instance:
    """The claim's one instance, which two replicas are on."""
    return Instance.objects.select_related("offering__zone", "offering__instance_type", "claim").get(
        claim=running.claim
    )


def page(who: Member, instance: Instance, **asked: str) -> str:
    answer = who.browser().get(reverse("instance", args=[instance.key]), asked)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def set_(cast: Cast, instance: Instance, work: Work) -> None:
    platform = cast.platform.browser()
    answer = platform.post(reverse("instance-work-set", args=[instance.key]), {"work": work, "reason": "loose fan"})
    assert answer.status_code == 302


def test_a_drain_shows_which_replicas_move_where_and_what_the_claim_gets(cast: Cast, running: Running) -> None:
    text = page(cast.platform, used(running), work="DRAIN")
    assert "2 replicas move, 0 stop" in text
    assert "Claim prod of Ours loses it and gets a free instance of the pool at once." in text
    assert "chat</a>" in text
    assert not Instance.objects.exclude(work="").exists(), "nothing is done by looking"


@pytest.mark.parametrize("work", [Work.DRAIN, Work.BAD])
def test_c10_work_does_what_was_foreseen(cast: Cast, work: Work) -> None:
    claim = serverless(cast, 1, pool=3)
    made(cast, {"size": 2})
    instance = Instance.objects.select_related("offering__zone", "offering__instance_type", "claim").get(claim=claim)
    preview = work_preview(instance, work, clock.now())
    assert len(preview.impact.moves) == 2
    set_(cast, instance, work)
    assert what_happened(instance.offering.instance_type, replica_counts()) == foreseen_of(preview.impact)
    (held,) = CapacityClaim.objects.get().instances.filter(state="READY")
    assert held.key != instance.key
    instance.refresh_from_db()
    assert instance.gpus_used == 0
    assert instance.state in {"DRAIN": {"READY"}, "BAD": {"RELEASING", "RELEASED"}}[work]


def test_a_cordon_moves_nothing(cast: Cast, running: Running) -> None:
    instance = used(running)
    text = page(cast.platform, instance, work="CORDON")
    assert "2 of 4 GPUs stay in use; 2 free ones are offered to nobody" in text
    assert "Claim prod of Ours keeps it" in text
    assert "replicas move" not in text
    set_(cast, instance, Work.CORDON)
    assert "Cordoned" in page(cast.platform, instance)
    assert "loose fan" in page(cast.platform, instance)
    event = AuditEvent.objects.get(object_type="Instance")
    assert event.actor == "platform"
    cast.platform.browser().post(reverse("instance-work-clear", args=[instance.key]))
    assert Instance.objects.get(key=instance.key).work == ""


def seen(cast: Cast, source: str, work: Work) -> WorkPreview:
    of = world.offering()
    if source == Source.CUSTOMER:
        world.quota(cast.organization, of, limit=4)
        world.claim(cast.admin.actor, of, 1, "CUSTOMER")
        world.everything_arrives()
    instance = Instance.objects.select_related("offering__zone", "offering__instance_type", "claim").get(source=source)
    return work_preview(instance, work, clock.now())


def test_what_replaces_the_machine_goes_by_whose_it_is(cast: Cast) -> None:
    world.pool(world.offering(), 1)
    assert seen(cast, "POOL", Work.CORDON).replacement is None
    assert seen(cast, "POOL", Work.DRAIN).replacement is None
    bad = seen(cast, "POOL", Work.BAD).replacement
    assert bad is not None
    assert (bad.claim, bad.at_once, bad.joining is not None) == (None, False, True)
    drained = seen(cast, "CUSTOMER", Work.DRAIN).replacement
    assert drained is not None
    assert drained.none
    fresh = seen(cast, "CUSTOMER", Work.BAD).replacement
    assert fresh is not None
    assert (fresh.claim is not None, fresh.joining is not None) == (True, True)


def test_a_refusal_is_shown_and_changes_nothing(cast: Cast, running: Running) -> None:
    instance, browser = used(running), cast.platform.browser()
    address = reverse("instance-work-set", args=[instance.key])
    assert "reason" in browser.post(address, {"work": "DRAIN", "reason": " "}, follow=True).content.decode()
    assert "must be one of" in browser.post(address, {"work": "BURN", "reason": "x"}, follow=True).content.decode()
    assert Instance.objects.get(key=instance.key).work == ""
    instance_work_set(actor=world.PLATFORM, instance_key=instance.key, work=Work.BAD, reason="dead GPU")
    answer = browser.post(reverse("instance-work-clear", args=[instance.key]), follow=True)
    assert "on its way out for good" in answer.content.decode()
    assert "End the work" not in page(cast.platform, instance)


@pytest.mark.parametrize("who", ["admin", "viewer", "billing"])
def test_members_see_their_machines_and_only_the_platform_works_on_them(cast: Cast, running: Running, who: str) -> None:
    member, instance = getattr(cast, who), used(running)
    text = page(member, instance, work="DRAIN")
    assert "chat</a> 2, 2 free" in text
    assert "Work on it" not in text
    assert "what it does" not in text
    for name in ("instance-work-set", "instance-work-clear"):
        answer = member.browser().post(reverse(name, args=[instance.key]), {"work": "BAD", "reason": "mine"})
        assert answer.status_code == 403
    assert Instance.objects.get(key=instance.key).work == ""


def test_a_machine_of_nobody_or_of_others_is_not_found_by_members(cast: Cast, running: Running) -> None:
    free = Instance.objects.filter(organization=None).first()
    assert free is not None
    for member, instance in ((cast.outsider, used(running)), (cast.admin, free)):
        browser = member.browser()
        assert browser.get(reverse("instance", args=[instance.key])).status_code == 404
        assert browser.post(reverse("instance-work-set", args=[instance.key])).status_code == 404
    assert reverse("instance", args=[free.key]) not in cast.admin.browser().get(reverse("capacity")).content.decode()


def test_a_machine_that_is_not_there_is_not_found(cast: Cast, running: Running) -> None:
    assert cast.platform.browser().get(reverse("instance", args=[10**9])).status_code == 404
    assert (
        reverse("instance", args=[used(running).key])
        in cast.platform.browser().get(reverse("capacity")).content.decode()
    )
