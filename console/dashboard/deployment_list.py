"""What the list of deployments shows: filters, order and page live in the address."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.db.models import BooleanField, F, Q, QuerySet
from django.forms import Form
from django.http import HttpRequest

from claims.core.states import Status
from claims.labels import labelled, labels_of
from claims.models import UsageKind
from console.common import clock
from console.common.words import counted
from console.dashboard.access import actor_in, organization_in
from console.dashboard.deployment_page import is_short
from console.dashboard.forms import BulkForm, FreezeForm
from console.dashboard.labels import MOST_TEXT, Few, asked_labels, few
from console.dashboard.live import Now, Trend, last_sample, trends
from console.dashboard.signals import signals_lost
from console.organizations.models import Organization
from deployments.core import explain
from deployments.models import Decision, Deployment, Hold
from deployments.selectors import concerning, deployments_of, holds_in_force, last_decided, last_decisions, names_in

PAGE_SIZE = 25
LONGEST = 120  # characters of a reason
RESERVED, ON_DEMAND = "CAPACITY_CLASS_RESERVED", "CAPACITY_CLASS_ON_DEMAND"
Found = QuerySet[Deployment]

# Heads of the table: name in the address, title, column.
HEADS = [
    ("name", "Name", "name"), ("status", "Status", "status"), ("type", "Type", "instance_type__name"),
    ("ready", "Replicas", "ready"), ("wanted", "Wanted", "last_wanted"), ("priority", "Priority", "priority_or_0"),
    ("decided", "Last decision", "last_decided_at"),
]  # fmt: skip
SORTS = {name: column for name, _, column in HEADS}
FAILING = [{"type": "ReplicasFailing"}]


def with_lost_signals(found: Found) -> Found:
    return found.filter(key__in=signals_lost(found, clock.now()))  # type: ignore[arg-type]


STATES: dict[str, tuple[str, Callable[[Found], Found]]] = {
    "short": (
        "short of capacity",
        lambda found: found.alias(short=last_decided("granted < wanted", BooleanField())).filter(
            short=True, disabled=False
        ),
    ),
    "starting": ("with replicas starting", lambda found: found.filter(Q(starting__gt=0))),
    "ready": ("ready", lambda found: found.filter(status=Status.READY, disabled=False)),
    "changing": ("creating or updating", lambda found: found.filter(status__in=[Status.CREATING, Status.UPDATING])),
    "failing": (
        "with replicas that fail",
        lambda found: found.filter(conditions__contains=FAILING).exclude(
            conditions__contains=[{**FAILING[0], "status": "STATUS_FALSE"}]
        ),
    ),
    "lost": ("whose signals are lost", with_lost_signals),
    "error": ("in error", lambda found: found.filter(status__in=[Status.ERROR, Status.FAILED])),
    "deleting": ("being deleted", lambda found: found.filter(status=Status.DELETING)),
    "disabled": ("disabled", lambda found: found.filter(disabled=True)),
}
CLASSES: dict[str, tuple[str, Callable[[Found], Found]]] = {
    "reserved": ("reserved only", lambda found: found.filter(autoscaling__capacity_classes=[RESERVED])),
    "on-demand": ("on demand only", lambda found: found.filter(autoscaling__capacity_classes=[ON_DEMAND])),
    "both": ("both", lambda found: found.exclude(autoscaling__capacity_classes__in=[[RESERVED], [ON_DEMAND]])),
}


@dataclass(frozen=True, slots=True)
class Row:
    deployment: Deployment
    now: Now | None
    trend: Trend | None
    decision: Decision | None
    text: str  # why, in one sentence
    holds: Sequence[Hold]
    labels: Few

    @property
    def short(self) -> bool:
        return is_short(self.deployment)

    @property
    def state(self) -> str:
        one = self.deployment
        return "DISABLED" if one.disabled else "SHORT" if self.short else one.status

    @property
    def held(self) -> str:
        if not self.holds:
            return ""
        pin = next((one.size for one in self.holds if one.size is not None), None)
        return "frozen" if pin is None else f"pinned to {pin}"

    @property
    def needs(self) -> str:
        count = self.deployment.gpu_count
        return f"{counted(count, 'GPU')} a replica"

    @property
    def others(self) -> str:
        """Replicas that are not ready, in words."""
        one = self.deployment
        counts = ((one.starting, "starting"), (one.draining, "draining"))  # type: ignore[attr-defined]
        return "".join(f", {count} {word}" for count, word in counts if count)

    @property
    def range(self) -> str:
        policy = self.deployment.autoscaling
        return f"{policy.min} to {policy.max}"


@dataclass(frozen=True, slots=True)
class Asked:
    """The address, read; what it does not know is left out."""

    text: str
    state: str
    type: str
    classes: str
    held: bool
    label: str
    sort: str

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Asked":
        sort, state, classes = query.get("sort", ""), query.get("state", ""), query.get("class", "")
        return cls(
            text=query.get("q", "").strip()[:100],
            state=state if state in STATES else "",
            type=query.get("type", "").strip()[:60],
            classes=classes if classes in CLASSES else "",
            held=query.get("held") == "1",
            label=query.get("label", "").strip()[:MOST_TEXT],
            sort=sort if sort.removeprefix("-") in SORTS else "name",
        )

    def address(self, **changes: str) -> str:
        """The query of the address with other values; empty ones are left out."""
        values = {"q": self.text, "state": self.state, "type": self.type, "class": self.classes,
                  "held": "1" if self.held else "", "label": self.label, "sort": self.sort if self.sort != "name" else "", **changes}  # fmt: skip
        return "?" + urlencode({name: value for name, value in values.items() if value})

    @property
    def filtered(self) -> bool:
        return bool(self.text or self.state or self.type or self.classes or self.held or self.label)


def list_context(request: HttpRequest, forms: Mapping[str, Form] | None = None) -> dict[str, Any]:
    """`forms` are those that were sent and are wrong."""
    organization, asked, now = organization_in(request), Asked.of(request.GET), clock.now()
    holds = holds_in_force(organization, now)
    # Keys first: what only the shown ones need is not made for all.
    found = list(chosen(organization, asked, holds).values_list("key", flat=True))
    page = Paginator(found, PAGE_SIZE).get_page(request.GET.get("page"))
    types = Deployment.objects.filter(organization=organization).order_by("instance_type__name")
    return {
        "rows": rows_of(request, page, holds),
        "page": page,
        "asked": asked,
        "heads": heads(asked),
        "states": [(name, words) for name, (words, _) in STATES.items()],
        "classes": [(name, words) for name, (words, _) in CLASSES.items()],
        "types": list(types.values_list("instance_type__name", flat=True).distinct()),
        "holds": [one for one in holds if one.deployment_id is None],
        "before": asked.address(page=str(page.number - 1)) if page.has_previous() else "",
        "after": asked.address(page=str(page.number + 1)) if page.has_next() else "",
        "freeze_form": FreezeForm(),
        "bulk_form": BulkForm(auto_id="bulk_%s"),
        "may_freeze_fleet": actor_in(request).is_platform,
        **(forms or {}),
    }


def chosen(organization: Organization, asked: Asked, holds: Sequence[Hold]) -> Found:
    found = labelled(deployments_of(organization), organization, UsageKind.REPLICA, asked_labels(asked.label))
    found = found.annotate(priority_or_0=F("autoscaling__priority"))
    if asked.text:
        found = found.filter(Q(name__icontains=asked.text) | Q(model_name__icontains=asked.text))
    if asked.type:
        found = found.filter(instance_type__name=asked.type)
    if asked.state:
        found = STATES[asked.state][1](found)
    if asked.classes:
        found = CLASSES[asked.classes][1](found)
    if asked.held and all(one.deployment_id for one in holds):
        found = found.filter(key__in=[one.deployment_id for one in holds])
    column = F(SORTS[asked.sort.removeprefix("-")])
    down = asked.sort.startswith("-")
    return found.order_by(column.desc(nulls_last=True) if down else column.asc(nulls_first=True), "key")


def heads(asked: Asked) -> list[dict[str, Any]]:
    """Each head leads to the list in its order, the present one to the other way round."""
    found = []
    for name, title, _ in HEADS:
        up, down = asked.sort == name, asked.sort == "-" + name
        found.append({"title": title, "address": asked.address(sort="-" + name if up else name),
                      "order": "ascending" if up else "descending" if down else "",
                      "number": name in ("wanted", "priority")})  # fmt: skip
    return found


def rows_of(request: HttpRequest, page: Page[int], holds: Sequence[Hold]) -> list[Row]:
    organization = organization_in(request)
    by_key = {one.key: one for one in deployments_of(organization).filter(key__in=page.object_list).order_by()}
    shown = [by_key[key] for key in page.object_list if key in by_key]  # but for what was deleted in between
    sample, course, decisions = last_sample(shown), trends(shown, clock.now()), last_decisions(shown)
    names = names_in(decisions.values(), organization)
    labels = labels_of(organization, UsageKind.REPLICA, [one.id for one in shown])
    return [
        Row(one, sample.get(one.key), course.get(one.key), decisions.get(one.key),
            in_a_sentence(decisions.get(one.key), names), concerning(holds, one), few(labels.get(one.id, {})))
        for one in shown
    ]  # fmt: skip


def in_a_sentence(decision: Decision | None, names: Mapping[int, str]) -> str:
    """What decided: the last sentence of the decision's line."""
    line = explain.line(decision.record, names) if decision else ""
    last = line.rpartition(". ")[2] if ". " in line else ""
    return last if len(last) <= LONGEST else last[: LONGEST - 1] + "…"
