"""What will change about the room, and when; and who stands in line for it."""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from claims.core.states import PENDING_STATES, InstanceState, Status
from claims.joining import expected
from claims.models import CapacityClaim, ClaimKind, Instance
from claims.models import Source as InstanceSource
from claims.supply import window_end
from console.common.words import counted, listed
from deployments.core.placement import NOBODY
from deployments.core.plan import Plan
from deployments.core.snapshot import CapacityClass, Source
from deployments.core.states import ReplicaState
from deployments.shortage.holders import ANOTHER, MOST_TOLD, Names
from deployments.shortage.room import classes_of, reachable, zones_of
from deployments.trial import Trial


@dataclass(frozen=True, slots=True)
class Expected:
    """GPUs that are to come; `at` is None where nobody can tell."""

    gpus: int
    zone: str
    text: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Ahead:
    """One that gets room first, or shares in it."""

    kind: str  # claim, deployment, organization
    name: str
    id: uuid.UUID | None
    gpus: int
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """What both lists are made from."""

    trial: Trial
    row: int
    names: Names
    machines: list[Instance]  # joining and draining ones of the allowed zones
    joins: Mapping[int, datetime | None]  # when joining ones will be there, by key, as far as anybody knows

    @classmethod
    def read(cls, trial: Trial, row: int, names: Names, now: datetime) -> "Line":
        """Two queries."""
        keys = [int(trial.snapshot.offerings.key[one]) for one in zones_of(trial.snapshot, row)]
        states = [*PENDING_STATES, InstanceState.DRAINING]
        found = Instance.objects.filter(offering__in=keys, state__in=states, lost_at__isnull=True)
        machines = list(found.order_by("expected_at", "drain_until", "key"))
        return cls(trial, row, names, machines, {key: one.at for key, one in expected(machines, now).items()})

    @property
    def org(self) -> int:
        return int(self.trial.snapshot.deployments.org[self.row])

    @property
    def size(self) -> int:
        """GPUs of one instance."""
        return int(self.trial.snapshot.offerings.gpus_per_instance.max(initial=0))

    @property
    def on_demand(self) -> bool:
        return CapacityClass.ON_DEMAND in classes_of(self.trial.snapshot, self.row)

    @property
    def reserved(self) -> bool:
        return CapacityClass.RESERVED in classes_of(self.trial.snapshot, self.row)

    def zone_of(self, offering_key: int) -> str:
        offerings = self.trial.snapshot.offerings
        return str(offerings.zone[offerings.key.tolist().index(offering_key)])

    def claims(self) -> list[CapacityClaim]:
        """Of the allowed zones, in the order in which the pool serves them (C4)."""
        keys = {int(self.trial.snapshot.offerings.key[one]) for one in zones_of(self.trial.snapshot, self.row)}
        here = [one for one in self.names.claims.values() if one.offering_id in keys]
        return sorted(here, key=lambda one: (one.created_at, one.key))

    def owner(self, claim: CapacityClaim) -> tuple[str, uuid.UUID | None]:
        """What a claim is called here."""
        if claim.organization_id == self.org:
            return claim.name, claim.id
        other = self.names.organizations.get(claim.organization_id)
        return (f"{claim.name} of {other}" if other else f"a claim of {ANOTHER}"), None

    def may_use(self, claim: CapacityClaim) -> bool:
        return self.reserved and claim.organization_id == self.org

    def in_cluster(self, claim: CapacityClaim) -> int:
        return int((self.trial.snapshot.instances.claim == claim.key).sum())


def expected_in(line: Line) -> list[Expected]:
    return soonest([*_machines(line), *_own_claims(line), *_reductions(line), *_window_ends(line), *_replicas(line)])


def ahead_in(line: Line, made: Plan) -> list[Ahead]:
    """Waiting claims of the pool, then deployments of the organization, then other organizations."""
    return [*_waiting_claims(line), *_waiting_deployments(line, made), *_waiting_organizations(line, made)]


def _machines(line: Line) -> Iterator[Expected]:
    groups: dict[tuple[str, str, datetime | None], int] = {}
    for one in line.machines:
        text = _what_comes(line, one)
        if text:
            at = one.drain_until if one.state == InstanceState.DRAINING else one.expected_at or line.joins.get(one.key)
            key = (line.zone_of(one.offering_id), text, at)
            groups[key] = groups.get(key, 0) + one.gpus
    for (zone, text, at), gpus in groups.items():
        yield Expected(gpus, zone, text, at)


def _what_comes(line: Line, one: Instance) -> str:
    """In words, what a joining or draining instance means for the deployment; empty where nothing."""
    claim = line.names.claims.get(one.claim_id) if one.claim_id else None
    if one.state == InstanceState.DRAINING:
        if claim is None:
            return "a draining instance comes back, or is replaced" if line.on_demand and _pool(one) else ""
        leaves = line.on_demand and claim.kind == ClaimKind.SERVERLESS
        return f"given up by {line.owner(claim)[0]}, back in the pool once drained" if leaves else ""
    if claim is not None:
        return f"an instance of claim {claim.name} joins" if line.may_use(claim) else ""
    return "an instance of the pool joins" if line.on_demand and _pool(one) else ""


def _pool(one: Instance) -> bool:
    return one.source == InstanceSource.POOL


def _reductions(line: Line) -> Iterator[Expected]:
    """SERVERLESS claims that were lowered, and whose instances go back to the pool later (C7)."""
    for claim in line.claims() if line.on_demand else []:
        surplus = line.in_cluster(claim) - claim.wanted
        if claim.kind == ClaimKind.SERVERLESS and claim.reduction_at is not None and surplus > 0:
            zone = line.zone_of(claim.offering_id)
            text = f"{line.owner(claim)[0]} gives {counted(surplus, 'instance')} back to the pool"
            yield Expected(surplus * line.size, zone, text, claim.reduction_at)


def _window_ends(line: Line) -> Iterator[Expected]:
    """SERVERLESS claims whose window is open, and whose instances go back to the pool when it ends (C12)."""
    for claim in line.claims() if line.on_demand else []:
        ending = window_end(claim, line.in_cluster(claim)) if claim.status != Status.DELETING else None
        if ending is not None:
            at, count = ending
            text = f"a window of {line.owner(claim)[0]} ends and gives {counted(count, 'instance')} back to the pool"
            yield Expected(count * line.size, line.zone_of(claim.offering_id), text, at)


def draining_rows(line: Line) -> "np.ndarray":
    """Replicas of the organization that drain where the deployment could be."""
    snapshot = line.trial.snapshot
    replicas, reach = snapshot.replicas, reachable(snapshot, line.row)
    going = (replicas.state == ReplicaState.DRAINING) & (replicas.instance >= 0)
    rows = np.flatnonzero(going & (snapshot.deployments.org[replicas.deployment] == line.org))
    found: np.ndarray = rows[reach[replicas.instance[rows]]]
    return found


def letting_go(line: Line) -> str:
    """What the other deployments are called whose replicas drain there."""
    snapshot, rows = line.trial.snapshot, draining_rows(line)
    others = snapshot.replicas.deployment[rows]
    keys = snapshot.deployments.key[np.unique(others[others != line.row])].tolist()
    names = sorted(line.names.deployments[key][1] for key in keys if key in line.names.deployments)
    return listed(names) or "another deployment"


def soonest(found: Iterable[Expected]) -> list[Expected]:
    """Soonest first; what nobody can tell the time of comes last."""
    return sorted(found, key=lambda one: (one.at is None, one.at.timestamp() if one.at else 0.0, one.text))


def _replicas(line: Line) -> Iterator[Expected]:
    """Replicas of the organization that finish what they run."""
    snapshot, rows = line.trial.snapshot, draining_rows(line)
    replicas = snapshot.replicas
    places = snapshot.instances.offering[replicas.instance[rows]]
    for one, offering in sorted(set(zip(replicas.deployment[rows].tolist(), places.tolist(), strict=True))):
        mine = rows[(replicas.deployment[rows] == one) & (places == offering)]
        _, name = line.names.deployments.get(int(snapshot.deployments.key[one]), (None, "a deployment"))
        gpus = int(replicas.gpus[mine].sum())
        text = f"of {name}, {counted(len(mine), 'draining replica')} on the way out, once done with what runs"
        yield Expected(gpus, snapshot.offerings.zone[offering], text, None)


def _lacking(line: Line) -> Iterator[tuple[CapacityClaim, int, str]]:
    """Claims that wait for instances of the pool, with how many they lack and the zone."""
    for claim in line.claims():
        missing = claim.wanted - line.in_cluster(claim)
        if claim.kind == ClaimKind.SERVERLESS and claim.status != Status.DELETING and missing > 0:
            yield claim, missing, line.zone_of(claim.offering_id)


def _own_claims(line: Line) -> Iterator[Expected]:
    """What claims that the deployment may use still lack: it comes when the pool has it, and nobody can tell when."""
    for claim, missing, zone in _lacking(line):
        if line.may_use(claim):
            text = f"claim {claim.name} waits for {counted(missing, 'instance')} of the pool, ahead of on-demand growth"
            yield Expected(missing * line.size, zone, text, None)


def _waiting_claims(line: Line) -> Iterator[Ahead]:
    """They take what the pool gets before on-demand growth does (C4)."""
    for claim, missing, zone in _lacking(line) if line.on_demand else ():
        if not line.may_use(claim):
            name, id = line.owner(claim)
            text = f"waits for {counted(missing, 'instance')} in {zone}, ahead of on-demand growth"
            yield Ahead("claim", name, id, missing * line.size, text)


def _waiting_deployments(line: Line, made: Plan) -> Iterator[Ahead]:
    """Deployments of the organization that the order of R11 puts before this one, or beside it."""
    snapshot = line.trial.snapshot
    table = snapshot.deployments
    short = made.wanted.value - made.granted.value
    mine, first = int(table.priority[line.row]), int(table.min[line.row])
    to_min = bool(made.granted.value[line.row] < first)
    rows = np.flatnonzero((table.org == line.org) & (short > 0) & ~table.shadow & _meet(line))
    order = np.lexsort((table.key[rows], -table.priority[rows]))
    told = 0
    for one in rows[order].tolist():
        key, priority = int(table.key[one]), int(table.priority[one])
        below = int(table.min[one] - made.granted.value[one])
        before = priority > mine or (below > 0 and not to_min)
        if one == line.row or key not in line.names.deployments or not (before or priority == mine):
            continue
        told += 1
        if told <= MOST_TOLD:
            id, name = line.names.deployments[key]
            lacks = f"{counted(below, 'replica')} to its min" if below > 0 else counted(int(short[one]), "replica")
            place = "goes before" if before else "shares with this one"
            yield Ahead("deployment", name, id, int(short[one] * table.gpu_count[one]),
                        f"priority {priority}, lacks {lacks}: {place}")  # fmt: skip
    if told > MOST_TOLD:
        yield Ahead("deployment", f"{told - MOST_TOLD} more", None, 0, "deployments of the same or a higher priority")


def _meet(line: Line) -> "np.ndarray":
    """Deployments that may use the same zones and classes as this one (bool[D])."""
    table = line.trial.snapshot.deployments
    zones = (table.zones & table.zones[line.row]) != 0
    unset = ~table.class_order.any(axis=1)
    same = [(table.class_order == each).any(axis=1) | unset for each in classes_of(line.trial.snapshot, line.row)]
    both: np.ndarray = zones & np.logical_or.reduce(same)
    return both


def _waiting_organizations(line: Line, made: Plan) -> Iterator[Ahead]:
    """Other organizations that wait for the same pool; it goes to the one that holds fewest GPUs there (R14)."""
    if not line.on_demand:
        return
    table, machines = line.trial.snapshot.deployments, line.trial.snapshot.instances
    zones = zones_of(line.trial.snapshot, line.row)
    pool = (machines.claim == 0) & (machines.source == Source.POOL) & np.isin(machines.offering, zones)
    bits = sum(1 << one for one in zones)
    short = made.wanted.value - made.granted.value
    same = np.array([int(one) & bits != 0 for one in table.zones.tolist()], np.bool_)
    ours = int(machines.gpus_used[pool & (machines.org == line.org)].sum())
    for org in np.unique(table.org[(short > 0) & same & ~table.shadow]).tolist():
        if org in (NOBODY, line.org):
            continue
        theirs = int(machines.gpus_used[pool & (machines.org == org)].sum())
        gpus = int((short * table.gpu_count)[(table.org == org) & (short > 0) & same].sum())
        text = f"holds {theirs} GPUs of the pool there, this organization {ours}: the fewest goes first"
        yield Ahead("organization", line.names.other(org), None, gpus, text)
