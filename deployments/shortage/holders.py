"""Who holds the GPUs that a deployment could use, and with what right."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from claims.models import CapacityClaim, ClaimKind
from claims.selectors import with_counting
from console.common.words import counted
from console.organizations.models import Organization
from deployments.core.placement import NOBODY
from deployments.core.snapshot import CapacityClass, Source
from deployments.core.states import HOLDING, ReplicaState
from deployments.selectors import read
from deployments.shortage.room import reachable, zones_of
from deployments.trial import Trial

ANOTHER = "another organization"
MOST_TOLD = 20  # of a kind; the rest is told together


@dataclass(frozen=True, slots=True)
class Holder:
    """One that holds GPUs. `id` is there where the reader may look at it; names of others are left out."""

    kind: str  # deployment, claim, organization
    name: str
    id: uuid.UUID | None
    gpus: int
    above_min: int  # GPUs of a deployment above its min
    priority: int | None
    right: str


@dataclass(frozen=True, slots=True)
class Names:
    """What keys of the shard are called; of other organizations only for the platform."""

    deployments: Mapping[int, tuple[uuid.UUID, str]]
    claims: Mapping[int, CapacityClaim]
    organizations: Mapping[int, str]

    @classmethod
    def read(cls, trial: Trial, organization: Organization, *, platform: bool) -> "Names":
        """Three queries, two without the platform's right."""
        keys = trial.snapshot.deployments.key[trial.snapshot.deployments.org == organization.key]
        rows = read("SELECT key, id, name FROM deployments_deployment WHERE key = ANY(%s)", [keys.tolist()])
        claims = with_counting(CapacityClaim.objects.filter(offering__in=trial.snapshot.offerings.key.tolist()))
        others = dict(Organization.objects.values_list("key", "name")) if platform else {}
        return cls({key: (id, name) for key, id, name in rows}, {one.key: one for one in claims}, others)

    def other(self, org: int) -> str:
        return self.organizations.get(org, ANOTHER)


def holders_of(trial: Trial, row: int, names: Names) -> list[Holder]:
    """The organization's deployments, what its claims keep idle, other organizations; most GPUs first, few told."""
    found = _deployments(trial, row, names)
    for kind in (_claims(trial, row, names), _others(trial, row, names)):
        found += _few(kind)
    return sorted(found, key=lambda one: (-one.gpus, one.kind, one.name))


def _few(holders: list[Holder]) -> list[Holder]:
    """Those that hold most, and one line for all others."""
    ordered = sorted(holders, key=lambda one: (-one.gpus, one.name))
    rest = ordered[MOST_TOLD:]
    if not rest:
        return ordered
    gpus, above = sum(one.gpus for one in rest), sum(one.above_min for one in rest)
    return [*ordered[:MOST_TOLD], _together(rest[0].kind, len(rest), gpus, above)]


@dataclass(frozen=True, slots=True)
class Held:
    """GPUs that one deployment holds; of these on claims, and of replicas that drain."""

    gpus: int
    reserved: int
    draining: int


def held_by_rows(trial: Trial, row: int) -> dict[int, Held]:
    """GPUs in reach of a deployment that each of its organization's deployments (rows) holds."""
    snapshot = trial.snapshot
    replicas, table = snapshot.replicas, snapshot.deployments
    placed = (replicas.instance >= 0) & np.isin(replicas.state, sorted(HOLDING))
    rows = np.flatnonzero(placed & (table.org[replicas.deployment] == table.org[row]))
    rows = rows[reachable(snapshot, row)[replicas.instance[rows]]]
    every = np.ones(len(rows), np.bool_)
    kinds = (
        every,
        snapshot.instances.claim[replicas.instance[rows]] != 0,
        replicas.state[rows] == ReplicaState.DRAINING,
    )
    gpus, reserved, draining = (
        np.bincount(replicas.deployment[rows[kind]], replicas.gpus[rows[kind]], minlength=len(table)).astype(int)
        for kind in kinds
    )
    return {int(one): Held(int(gpus[one]), int(reserved[one]), int(draining[one])) for one in np.flatnonzero(gpus)}


def _deployments(trial: Trial, row: int, names: Names) -> list[Holder]:
    """Those that hold most, and one line for all others."""
    table, held = trial.snapshot.deployments, held_by_rows(trial, row)
    rows = np.array([one for one in held if int(table.key[one]) in names.deployments], np.int64)
    gpus = np.array([held[one].gpus for one in rows.tolist()], np.int64)
    staying = gpus - np.array([held[one].draining for one in rows.tolist()], np.int64)
    surplus = np.maximum(0, trial.live_counts()[rows] - table.min[rows]) * table.gpu_count[rows]
    above = np.minimum(staying, surplus)
    called = [names.deployments[key] for key in table.key[rows].tolist()]
    order = sorted(range(len(rows)), key=lambda one: (-gpus[one], called[one][1]))
    found = []
    for one in order[:MOST_TOLD]:
        place, extra, (id, name) = int(rows[one]), int(above[one]), called[one]
        priority, right = int(table.priority[place]), _right(trial, place, held[place], extra)
        right += ", this one" if place == row else ""
        found.append(Holder("deployment", name, id, int(gpus[one]), extra, priority, right))
    rest = order[MOST_TOLD:]
    return (
        [*found, _together("deployment", len(rest), int(gpus[rest].sum()), int(above[rest].sum()))] if rest else found
    )


def _right(trial: Trial, row: int, held: Held, above: int) -> str:
    """With what right a deployment holds its GPUs: what is above its min, what leaves, and what is no part of the pool."""
    table = trial.snapshot.deployments
    least, priority = int(table.min[row]), int(table.priority[row])
    first = f"priority {priority}; {counted(above, 'GPU')} above its min of {least}" if above else f"its min of {least}"
    parts = [f"{held.draining} of replicas that drain"] if held.draining else []
    parts += [f"{held.reserved} on claims"] if held.reserved else []
    return "; ".join([first, *parts])


def _together(kind: str, count: int, gpus: int, above: int) -> Holder:
    text = f"together; {above} GPUs above their mins" if kind == "deployment" else "together"
    return Holder(kind, f"{count} more", None, gpus, above, None, text)


def _claims(trial: Trial, row: int, names: Names) -> list[Holder]:
    """GPUs of the organization's claims that nobody uses: what they hold by right alone."""
    snapshot = trial.snapshot
    machines = snapshot.instances
    mine = (machines.claim != 0) & (machines.org == snapshot.deployments.org[row])
    mine &= np.isin(machines.offering, zones_of(snapshot, row))
    found = []
    for key in np.unique(machines.claim[mine]).tolist():
        rows = np.flatnonzero(mine & (machines.claim == key))
        idle, claim = int((machines.gpus[rows] - machines.gpus_used[rows]).sum()), names.claims.get(key)
        if claim is not None and idle:
            kind = "serverless" if claim.kind == ClaimKind.SERVERLESS else "customer"
            right = f"{kind} claim of {counted(len(rows), 'instance')}, these GPUs idle"
            found.append(Holder("claim", claim.name, claim.id, idle, 0, None, right))
    return found


def _others(trial: Trial, row: int, names: Names) -> list[Holder]:
    """Other organizations on the pool of the allowed zones, where the pool is something it may use."""
    snapshot = trial.snapshot
    machines, mine = snapshot.instances, int(snapshot.deployments.org[row])
    there = (machines.source == Source.POOL) & np.isin(machines.offering, zones_of(snapshot, row))
    there &= ~np.isin(machines.org, (NOBODY, mine))
    if not may_use_pool(snapshot.deployments.class_order[row]):
        return []
    found = []
    for org in np.unique(machines.org[there]).tolist():
        for claimed, right in ((False, "on demand: no organization evicts another"), (True, "claimed")):
            rows = np.flatnonzero(there & (machines.org == org) & ((machines.claim != 0) == claimed))
            if len(rows):
                gpus = int(machines.gpus[rows].sum())
                text = f"{right}; {counted(len(rows), 'instance')}, {int(machines.gpus_used[rows].sum())} GPUs in use"
                found.append(Holder("organization", names.other(org), None, gpus, 0, None, text))
    return found


def may_use_pool(order: "np.ndarray") -> bool:
    return not order.any() or bool((order == CapacityClass.ON_DEMAND).any())
