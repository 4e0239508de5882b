"""Tags and filters of the pages: icons, states as word, icon and colour, times relative and exact, money."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

from django import template
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

from claims.core.conditions import DEGRADED, FALSE, PROGRESSING, TRUE, UNDER_USED
from claims.core.states import InstanceState, Status
from claims.models import Instance
from console.common.money import to_cents
from console.dashboard.said import action_in_words
from deployments.core.reasons import Reason, sentence
from deployments.core.states import ReplicaState
from deployments.models import Deployment, Replica
from deployments.objective.words import percent as share_in_words
from deployments.shortage import Change

register = template.Library()

TROUBLES = (DEGRADED, UNDER_USED)
MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)? UTC")

# state -> (class, icon, word)
STATES = {
    Status.READY: ("ok", "circle-check", "Ready"),
    Status.CREATING: ("info", "circle-dashed", "Creating"),
    Status.UPDATING: ("info", "refresh", "Updating"),
    Status.DELETING: ("idle", "trash", "Deleting"),
    Status.ERROR: ("bad", "circle-x", "Error"),
    Status.FAILED: ("bad", "circle-x", "Failed"),
    InstanceState.REQUESTED: ("info", "clock", "Requested"),
    InstanceState.JOINING: ("info", "loader-2", "Joining"),
    InstanceState.READY: ("ok", "circle-check", "Ready"),
    InstanceState.DRAINING: ("warn", "arrow-down", "Draining"),
    InstanceState.FAILED: ("bad", "circle-x", "Failed"),
    InstanceState.RELEASING: ("idle", "arrow-down", "Releasing"),
    InstanceState.RELEASED: ("idle", "circle-x", "Released"),
    "LOST": ("bad", "circle-x", "Lost"),
    "KEPT": ("info", "clock", "Kept for a claim"),
    "CORDON": ("warn", "player-pause", "Cordoned"),
    "DRAIN": ("warn", "arrow-down", "Draining for work"),
    "BAD": ("bad", "alert-triangle", "Marked bad"),
    "STARTING": ("info", "loader-2", "Starting"),
    "SHORT": ("warn", "alert-triangle", "Short of capacity"),
    "DISABLED": ("idle", "player-pause", "Disabled"),
    "WAITING": ("info", "clock", "Waiting"),
    "SENDING": ("info", "loader-2", "Being sent"),
    "DELIVERED": ("ok", "circle-check", "Delivered"),
    "CANCELLED": ("idle", "circle-x", "Cancelled"),
    "QUEUED": ("info", "clock", "Queued"),
    "RUNNING": ("info", "loader-2", "Running"),
    "DONE": ("ok", "circle-check", "Done"),
    "PENDING": ("info", "clock", "Pending"),
    "APPROVED": ("ok", "circle-check", "Approved"),
    "PARTLY": ("ok", "circle-check", "Approved in part"),
    "REFUSED": ("bad", "circle-x", "Refused"),
    "WITHDRAWN": ("idle", "circle-x", "Withdrawn"),
    "GONE": ("idle", "circle-x", "Gone"),
}
BOUNDS = {
    "NONE": "demand", "MIN": "min", "MAX": "max", "HOLD": "hold", "SCHEDULE": "schedule", "CAPACITY": "capacity",
    "CLASS": "capacity class", "ZONE": "zone", "SIZE": "size", "PRIORITY": "priority", "BACKOFF": "back-off",
    "DISABLED": "disabled", "SHADOW": "shadow", "FLOOR": "objective", "PRICE": "price ceiling",
}  # fmt: skip

ENDINGS = {
    "OLD_REVISION": "Replaced by the newest revision.", "MOVED_TO_OTHER_TYPE": "Its deployment moved to another type.",
    "INSTANCE_LOST": "Its instance was lost.", "INSTANCE_DRAINING": "Its instance is being drained.",
    "LOADING_TOO_LONG": "It loaded for too long.", "CRASHED": "It crashed again and again.",
    "VANISHED": "The runtime no longer has it.", "FAILED": "It failed.",
}  # fmt: skip


@register.simple_tag
def change_address(change: Change, deployment: Deployment) -> str:
    """Where a change that would help is made, filled in; empty where there is no form for it."""
    page = reverse("deployment", args=[deployment.id])
    query = "?" + urlencode(change.values)
    if change.kind in ("max", "priority", "classes"):
        return f"{page}{query}#autoscaling"
    if change.kind == "claim":
        return (reverse("claim-resize", args=[change.id]) if change.id else reverse("claim-new")) + query
    if change.kind == "other" and change.id:
        return f"{reverse('deployment', args=[change.id])}{query}#autoscaling"
    if change.kind == "window":
        return reverse("schedule", args=[deployment.id, change.id]) + query if change.values else f"{page}#schedules"
    return {"hold": f"{page}#holds", "enable": page}.get(change.kind, "")


@register.simple_tag
def first_address(change: Change, deployment: Deployment) -> str:
    """Where the deployment is given what such a change needs before it helps, filled in."""
    return f"{reverse('deployment', args=[deployment.id])}?{urlencode(change.first)}#autoscaling"


@register.simple_tag
def scrolls(name: str) -> SafeString:
    """Attributes of what is wider than a narrow screen: the keyboard has to get to it to scroll, and it needs a name then."""
    return format_html('tabindex="0" role="region" aria-label="{}"', name)


@register.simple_tag(takes_context=True)
def live(context: Mapping[str, Any], topics: str, part: str, oob: str = "") -> SafeString:
    """Attributes of the element with the id `part`, which is taken anew from the page whenever something of the topics
    happens; so is what `oob` selects beside it."""
    beside = format_html(' hx-select-oob="{}"', oob) if oob else ""
    return format_html('data-live-topic="{}" hx-get="{}" hx-trigger="live" hx-select="#{}"{} hx-swap="outerHTML"',
                       topics, context["request"].get_full_path(), part, beside)  # fmt: skip


@register.simple_tag
@lru_cache(maxsize=200)
def icon(name: str) -> SafeString:
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}#{}"></use></svg>',
                       static("vendor/icons.svg"), name)  # fmt: skip


@register.simple_tag
@lru_cache(maxsize=200)
def state(name: str) -> SafeString:
    kind, symbol, word = STATES.get(name, ("idle", "info-circle", name.capitalize()))
    return format_html('<span class="st st-{}">{}{}</span>', kind, icon(symbol), word)


@register.simple_tag
def condition_state(condition: Mapping[str, str]) -> SafeString:
    """Whether it holds, coloured by whether that is good, bad or only news."""
    holds_, type_ = condition["status"] == TRUE, condition["type"]
    good = "info" if type_ == PROGRESSING else ("ok" if holds_ != (type_ in TROUBLES) else "warn")
    return format_html('<span class="st st-{}">{}{}</span>', good, icon("check" if holds_ else "x"),
                       holds(condition["status"]))  # fmt: skip


@register.filter
def condition(type_: str) -> str:
    """The type of a condition, as words: `ResourcesApplied` is resources applied."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type_).capitalize()


@register.filter
def holds(status: str) -> str:
    return {TRUE: "true", FALSE: "false"}.get(status, "unknown")


@register.filter
def bound(name: str) -> str:
    """What decided the size, as a word."""
    return BOUNDS.get(name, name.lower())


@register.filter
def ago(at: datetime | str | None) -> SafeString | str:
    """Relative, with the exact time in UTC beside it for who asks. Takes RFC 3339 too."""
    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    if at is None:
        return "never"
    seconds = (timezone.now() - at).total_seconds()
    text = f"{span(abs(seconds))} ago" if seconds >= 0 else f"in {span(-seconds)}"
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), utc(at), text)


@register.filter
def exact(at: datetime | str | None) -> SafeString | str:
    """The time itself, to the second: UTC, and where scripts run the viewer's zone (`times.js`). Takes RFC 3339 too."""
    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    return format_html('<time datetime="{}" data-exact>{}</time>', at.isoformat(), utc(at)) if at else "never"


@register.filter
def moment(at: datetime) -> str:
    """The time exactly, as an address has it."""
    return quote(at.astimezone(UTC).isoformat(timespec="microseconds"), safe=":")


@register.filter
def moments(text: str) -> SafeString:
    """A sentence whose times in UTC are read in the viewer's zone, as `exact` writes them."""
    return mark_safe(MOMENT.sub(_moment, conditional_escape(text)))  # noqa: S308 -- escaped before


def _moment(found: re.Match[str]) -> str:
    try:
        at = datetime.fromisoformat(found[0].removesuffix(" UTC")).replace(tzinfo=UTC)
    except ValueError:  # looks like a time and is none
        return found[0]
    to = "seconds" if found[1] else "minutes"
    return format_html('<time datetime="{}" data-exact="{}">{}</time>', at.isoformat(), to, found[0])


def utc(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@register.filter
def classes(names: list[str]) -> str:
    """Capacity classes of a deployment, in its order; unset means both."""
    words = {"CAPACITY_CLASS_RESERVED": "reserved", "CAPACITY_CLASS_ON_DEMAND": "on demand"}
    return ", ".join(words.get(name, name) for name in names or words)


@register.filter
def in_place(count: int) -> str:
    """What it means for a claim that so many of its instances are converted (C4); nothing for none."""
    if not count:
        return ""
    they = "it becomes" if count == 1 else "they become"
    return f" ({count} where your own on-demand replicas run: {they} part of the claim, and nothing moves)"


@register.filter
def without_zone(instance: Instance) -> str:
    """Its name, where the zone is said beside it."""
    return instance.name.removeprefix(f"{instance.offering.zone.name.lower()}-")


@register.filter
def state_since(replica: Replica) -> datetime:
    """When the replica came into the state it is in."""
    times = {ReplicaState.READY: replica.ready_at, ReplicaState.DRAINING: replica.draining_at,
             ReplicaState.STOPPED: replica.stopped_at, ReplicaState.FAILED: replica.stopped_at}  # fmt: skip
    return times.get(ReplicaState(replica.state)) or replica.created_at


@register.filter
def stop_reason(name: str) -> str:
    """Why a replica drains, stopped or failed, as a sentence."""
    if name in Reason.__members__:
        return sentence(Reason[name], {})
    return ENDINGS.get(name, name.replace("_", " ").capitalize() + ".")


@register.filter
def due(at: datetime) -> SafeString | str:
    """When something that is awaited is expected."""
    return format_html("{} {}", "expected" if at > timezone.now() else "due", ago(at))


@register.filter
def foreseen(at: datetime) -> SafeString | str:
    """When something would happen if one did it now."""
    return "at once" if at <= timezone.now() + timedelta(seconds=1) else ago(at)


@register.filter
def span(seconds: float) -> str:
    """A length of time in its two largest units."""
    seconds = round(seconds)
    for size, unit, next_size, next_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // next_size
            return f"{seconds // size} {unit}" + (f" {rest} {next_unit}" if rest else "")
    return f"{seconds} s"


@register.filter
def action(name: str) -> str:
    """`claim.create` of the audit trail, in words."""
    return action_in_words(name)


@register.filter
def usd(amount: Decimal | None) -> str:
    return "" if amount is None else f"${to_cents(amount):,}"


@register.filter
def hours(seconds: int) -> str:
    """Whole seconds of GPUs or instances, as hours."""
    return f"{Decimal(seconds) / 3600:,.1f}"


@register.filter
def served(of: float) -> str:
    """Of requests, so that what falls short never shows as reached."""
    return share_in_words(of)


@register.filter
def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


@register.filter
def share(value: float) -> str:
    """Of requests, to a hundredth of a percent."""
    return f"{100 * value:.2f} %"
