"""Instances and the GPUs on them, as somebody may see them: names of the own organization, "another organization" for
everybody else's; the platform sees all names. The number of queries never depends on the number of rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.db.models import Count, Q, QuerySet, Sum
from django.urls import reverse

from claims.core.states import HELD_STATES, LIVE_STATES, InstanceState
from claims.core.waits import Expected
from claims.models import CapacityClaim, Instance, Source, Work
from console.organizations.actors import Actor
from console.organizations.models import Organization
from deployments.core.states import ReplicaState
from deployments.models import ReplicaPlacement

# As `claims.selectors.pools` counts them.
_POOL = Q(source=Source.POOL, state__in=HELD_STATES)
USES = {
    "free": _POOL & Q(claim__isnull=True, state=InstanceState.READY, work="", gpus_used=0),
    "claimed": _POOL & Q(claim__isnull=False),
    "demand": _POOL & Q(claim__isnull=True, gpus_used__gt=0),
}
OTHERS = "another organization"
STATES = ["READY", "JOINING", "REQUESTED", "DRAINING", "FAILED", "RELEASING", "LOST", "KEPT", *Work.values]


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks: a member sees what is of `organization`, the platform everything."""

    organization: Organization
    platform: bool

    @classmethod
    def of(cls, actor: Actor) -> "Viewer":
        return cls(actor.require_organization(), actor.is_platform)

    def owns(self, organization_key: int | None) -> bool:
        return organization_key == self.organization.key

    def knows(self, organization_key: int | None) -> bool:
        return self.platform or self.owns(organization_key)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the address asks for; empty is everything. `holder` is nobody, ours, others, or an organization's id; `use` is
    a word of USES, of the managed pool."""

    zone: str = ""
    type: str = ""
    state: str = ""
    holder: str = ""
    use: str = ""

    @classmethod
    def of(cls, asked: Mapping[str, str]) -> "Wanted":
        return cls(*(asked.get(name, "").strip() for name in ("zone", "type", "state", "holder", "use")))


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU: `kind` is ours, other, free, held (by somebody, nothing runs on it) or away (no place to be)."""

    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class User:
    """GPUs that one deployment uses on an instance; `url` only for the own organization's."""

    name: str
    gpus: int
    url: str | None = None


@dataclass(frozen=True, slots=True)
class ClaimUser:
    """A deployment on a claim's instances. `share` is of the claim's GPUs, in percent."""

    id: UUID
    name: str
    replicas: int
    gpus: int
    share: float


@dataclass(slots=True)
class Machine:
    """An instance as the page shows it."""

    instance: Instance
    holder: str
    claim: str
    claim_url: str | None
    known: bool  # whose it is may be told, and why something is done to it
    gpus: list[Gpu] = field(default_factory=list)
    users: list[User] = field(default_factory=list)
    expected: Expected | None = None  # of one that is on its way, where the page asks for it

    @property
    def state(self) -> str:
        return "LOST" if self.instance.lost_at else self.instance.state

    @property
    def short_name(self) -> str:
        """The name without zone and type, where it begins with them: the page says them once."""
        offering = self.instance.offering
        return self.instance.name.removeprefix(f"{offering.zone.name}-{offering.instance_type.name}-".lower())

    @property
    def free(self) -> int:
        return sum(one.kind == "free" for one in self.gpus)


def machines_visible(viewer: Viewer) -> QuerySet[Instance]:
    """Every machine of the managed pools, and the own ones; the platform sees those that others brought too."""
    live = Instance.objects.filter(state__in=LIVE_STATES).select_related(
        "offering__zone", "offering__instance_type", "organization", "claim"
    )
    if not viewer.platform:
        live = live.filter(Q(source=Source.POOL) | Q(organization=viewer.organization))
    return live.order_by("offering__zone__name", "offering__instance_type__name", "key")


def machines_wanted(viewer: Viewer, wanted: Wanted) -> QuerySet[Instance]:
    found = machines_visible(viewer)
    if wanted.zone:
        found = found.filter(offering__zone__name=wanted.zone)
    if wanted.type:
        found = found.filter(offering__instance_type__name=wanted.type)
    if wanted.state in STATES:
        found = found.filter(_in_state(wanted.state))
    if wanted.use in USES:
        found = found.filter(USES[wanted.use])
    return found.filter(_held_by(viewer, wanted.holder)) if wanted.holder else found


def _in_state(state: str) -> Q:
    if state == "KEPT":
        return Q(kept=True)
    if state == "LOST":
        return Q(lost_at__isnull=False)
    return Q(work=state) if state in Work.values else Q(state=state, lost_at__isnull=True)


def _held_by(viewer: Viewer, holder: str) -> Q:
    plain = {
        "nobody": Q(organization__isnull=True),
        "ours": Q(organization=viewer.organization),
        "others": Q(organization__isnull=False) & ~Q(organization=viewer.organization),
    }
    if holder in plain:
        return plain[holder]
    return Q(organization__id=holder) if viewer.platform else Q(pk__in=[])


def machines_of(viewer: Viewer, instances: Sequence[Instance]) -> list[Machine]:
    """These instances with what runs on them: one query."""
    placements = ReplicaPlacement.objects.filter(instance__in=instances)
    by_instance: dict[int, list[ReplicaPlacement]] = {}
    for one in placements.select_related("replica__deployment__organization").order_by("replica_id"):
        by_instance.setdefault(one.instance_id, []).append(one)
    return [machine(viewer, one, by_instance.get(one.key, [])) for one in instances]


def machine(viewer: Viewer, instance: Instance, placements: Sequence[ReplicaPlacement]) -> Machine:
    known = instance.organization_id is None or viewer.knows(instance.organization_id)
    claim, claim_url = _claim(viewer, instance, known)
    made = Machine(instance, _holder(instance, known), claim, claim_url, known)
    if known or instance.claim_id is None:
        made.users = list(_users(viewer, placements))
        made.gpus = [gpu for one in placements for gpu in _gpus(viewer, one)]
    made.gpus += [_rest(instance, known)] * (instance.gpus - len(made.gpus))
    return made


def _holder(instance: Instance, known: bool) -> str:
    if instance.organization is None:
        return ""
    return instance.organization.name if known else OTHERS


def _claim(viewer: Viewer, instance: Instance, known: bool) -> tuple[str, str | None]:
    if instance.claim is None:
        return "", None
    if not known:
        return "claimed", None
    own = viewer.owns(instance.claim.organization_id)
    return instance.claim.name, reverse("claim", args=[instance.claim.id]) if own else None


def _users(viewer: Viewer, placements: Iterable[ReplicaPlacement]) -> Iterable[User]:
    sums: dict[tuple[str, str | None], int] = {}
    for one in placements:
        who = _named(viewer, one)
        sums[who] = sums.get(who, 0) + one.gpus
    return (User(name, gpus, url) for (name, url), gpus in sums.items())


def _named(viewer: Viewer, placement: ReplicaPlacement) -> tuple[str, str | None]:
    deployment = placement.replica.deployment
    if viewer.owns(deployment.organization_id):
        return deployment.name, reverse("deployment", args=[deployment.id])
    if viewer.platform:
        return f"{deployment.organization.name}: {deployment.name}", None
    return OTHERS, None


def _gpus(viewer: Viewer, placement: ReplicaPlacement) -> list[Gpu]:
    replica = placement.replica
    kind = "ours" if viewer.owns(replica.deployment.organization_id) else "other"
    name = _named(viewer, placement)[0]
    if viewer.knows(replica.deployment.organization_id):
        name += f", replica {replica.key}, {ReplicaState(replica.state).name.lower()}"
    return [Gpu(kind, name)] * placement.gpus


def _rest(instance: Instance, known: bool) -> Gpu:
    """A GPU that nothing seen here runs on."""
    if not known:
        what = "in a claim of" if instance.claim_id else "held by"
        return Gpu("held", f"{what} {OTHERS}")
    if instance.state != InstanceState.READY or instance.lost_at:
        return Gpu("away", "takes nothing: the instance is not ready")
    if instance.kept or instance.work:
        return Gpu("away", "takes nothing: " + ("kept for a claim" if instance.kept else instance.work.lower()))
    return Gpu("free", "free")


def users_of(claim: CapacityClaim, gpus: int) -> list[ClaimUser]:
    """Who uses a claim of so many GPUs, most first: one query. A claim serves one organization only (R17)."""
    rows = (
        ReplicaPlacement.objects.filter(instance__claim=claim)
        .values("replica__deployment__id", "replica__deployment__name")
        .annotate(replicas=Count("replica", distinct=True), gpus=Sum("gpus"))
        .order_by("-gpus", "replica__deployment__name")
    )
    return [
        ClaimUser(row["replica__deployment__id"], row["replica__deployment__name"], row["replicas"], row["gpus"],
                  100 * row["gpus"] / gpus if gpus else 0.0)
        for row in rows
    ]  # fmt: skip
