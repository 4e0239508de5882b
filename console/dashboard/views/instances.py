"""The page of a machine, and the platform's work on it: first who is affected, then, confirmed, the work; and its end."""

from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from claims import services
from claims.models import Instance, Work
from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from console.dashboard.access import actor_in, member_page, told
from console.dashboard.machines import Viewer, machines_of, machines_visible
from console.organizations.actors import Actor
from console.organizations.models import AuditEvent
from deployments.impact.instances import work_preview

MOST_EVENTS = 10
MEANS = {
    Work.CORDON: "It takes neither a new replica nor a claim; what runs there goes on.",
    Work.DRAIN: "What runs there moves away; then it stays in the cluster, cordoned.",
    Work.BAD: "It is drained, given back and replaced by a fresh machine. There is no way back.",
}


@require_safe
@member_page
def instance_page(request: HttpRequest, key: int) -> HttpResponse:
    """A machine: for the platform, and for whoever holds it. What work would do is for the platform to see."""
    actor = actor_in(request)
    viewer, instance = Viewer.of(actor), instance_get(actor, key)
    (machine,) = machines_of(viewer, [instance])
    context: dict[str, Any] = {
        "machine": machine, "one": instance, "kinds": [(work, MEANS[work]) for work in Work], "viewer": viewer,
        "events": events_of(viewer, instance),
    }  # fmt: skip
    if viewer.platform and request.GET.get("work") in Work.values:
        preview = work_preview(instance, Work(request.GET["work"]), clock.now())
        context |= {"preview": preview, "impact": preview.impact, "means": MEANS[preview.work]}
    return render(request, "capacity/instance.html", context)


def events_of(viewer: Viewer, instance: Instance) -> QuerySet[AuditEvent]:
    """What was done to it, newest first; a member sees what was done while the organization held it."""
    found = AuditEvent.objects.filter(object_type="Instance", object_id=str(instance.key)).order_by("-id")
    return (found if viewer.platform else found.filter(organization=viewer.organization))[:MOST_EVENTS]


@require_POST
@member_page
def instance_work_set(request: HttpRequest, key: int) -> HttpResponse:
    work = request.POST.get("work", "")
    actor = platform_at(request, key)
    try:
        done = services.instance_work_set(
            actor=actor, instance_key=key, work=Work(work) if work in Work.values else work,  # type: ignore[arg-type]
            reason=request.POST.get("reason", ""),
        )  # fmt: skip
    except (InvalidArgument, FailedPrecondition) as refusal:
        told(request, refusal)
    else:
        messages.success(request, f"{done.name}: {Work(done.work).label.lower()}, {done.work_reason}.")
    return redirect("instance", key)


@require_POST
@member_page
def instance_work_clear(request: HttpRequest, key: int) -> HttpResponse:
    actor = platform_at(request, key)
    try:
        done = services.instance_work_clear(actor=actor, instance_key=key)
    except FailedPrecondition as refusal:
        told(request, refusal)
    else:
        messages.success(request, f"{done.name} is used again.")
    return redirect("instance", key)


def platform_at(request: HttpRequest, key: int) -> Actor:
    """The platform's staff, and nobody else, at a machine that they may see."""
    actor = actor_in(request)
    instance_get(actor, key)
    if not actor.is_platform:
        raise PermissionDenied("Only the platform's staff may work on machines.")
    return actor


def instance_get(actor: Actor, key: int) -> Instance:
    """NotFound also for a machine that another organization, or nobody, holds; the platform sees all."""
    found = machines_visible(Viewer.of(actor)).filter(key=key)
    if not actor.is_platform:
        found = found.filter(organization=actor.require_organization())
    instance = found.first()
    if instance is None:
        raise NotFound("Instance", key)
    return instance
