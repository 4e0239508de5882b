"""The smallest changes that would help: each is tried, by planning the shard again with it."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from claims.core.states import Status
from claims.models import CapacityClaim, ClaimKind, Offering
from claims.selectors import QuotaRow, claim_effective
from deployments.core.plan import Bound, Plan
from deployments.core.snapshot import CapacityClass, InstanceState, Scheduled, Source
from deployments.shortage.holders import Names, held_by_rows
from deployments.shortage.limits import Limits, Open
from deployments.shortage.room import BOTH, classes_of, zones_of
from deployments.shortage.words import counted
from deployments.trial import Trial

MOST_PRIORITY, NOT_PINNED = 1000, -1
MOST_OTHERS = 3  # other deployments whose GPUs are tried
WORDS = {CapacityClass.RESERVED: "RESERVED", CapacityClass.ON_DEMAND: "ON_DEMAND"}


@dataclass(frozen=True, slots=True)
class Change:
    """One change and how many replicas more it would give at once. `kind` and `id` say where it is made, `values` what
    is set there, by field."""

    kind: str  # max, hold, window, enable, classes, claim, quota, zones, other, priority, gpus
    text: str
    replicas: int
    id: uuid.UUID | None = None
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """A deployment that has less than it would have."""

    trial: Trial
    row: int
    made: Plan  # as things are
    wishes: int  # the size that load asks for, before holds and bounds
    names: Names
    limits: Limits
    offerings: dict[int, Offering]  # of the type, by row of the snapshot
    quotas: dict[int, QuotaRow]  # by key of the offering

    @property
    def granted(self) -> int:
        return int(self.made.granted.value[self.row])

    @property
    def missing(self) -> int:
        """Replicas that capacity keeps from it."""
        return int(self.made.wanted.value[self.row]) - self.granted

    @property
    def withheld(self) -> int:
        """Replicas that load asks for, and holds and max keep from it."""
        return max(0, self.wishes - int(self.made.wanted.value[self.row]))

    def column(self, name: str) -> int:
        return int(getattr(self.trial.snapshot.deployments, name)[self.row])

    def gain(self, trial: Trial) -> int:
        return int(trial.plan().granted.value[self.row]) - self.granted


def changes_for(case: Case) -> list[Change]:
    """What would give most first; of equals, what is told first costs least."""
    bound = Bound(int(case.made.wanted.bound[case.row]))
    if bound == Bound.DISABLED:
        return [Change("enable", "enable it", case.gain(case.trial.setting(case.row, enabled=True)))]
    short = [one for one in _capacity(case) if one.replicas > 0 or one.kind == "quota"] if case.missing else []
    limits = list(_limits(case)) if case.withheld else []
    return [*_holds(case), *sorted(short, key=lambda one: -one.replicas), *limits]


def _holds(case: Case) -> Iterator[Change]:
    """What holds the size comes first, whatever else stands in the way: without it the size follows load again."""
    if not case.limits.holds:
        return
    freed = case.trial.setting(case.row, freeze=False, pin=NOT_PINNED)
    gain = max(0, case.gain(freed))
    for hold in case.limits.holds:
        what = "pin" if hold.size is not None else "freeze"
        yield Change("hold", f"end the {what} by {hold.created_by} ({hold.reason})", gain, hold.id)


def _limits(case: Case) -> Iterator[Change]:
    """Schedule windows, max and price: told even where no GPUs are free for what they would allow."""
    most, paid = case.column("max"), case.column("ceiling")
    if 0 <= paid < min(most, case.wishes):
        raised = case.trial.setting(case.row, ceiling=min(most, case.wishes))
        text = f"a price ceiling that pays for {min(most, case.wishes)} replicas instead of {paid}"
        yield Change("price-ceiling", text, max(0, case.gain(raised)))
    if case.wishes > most:
        raised = case.trial.setting(case.row, max=case.wishes, ceiling=-1)
        gain, values = max(0, case.gain(raised)), {"max": str(case.wishes)}
        top = case.limits.top if case.column("scheduled") & Scheduled.MAX else None
        yield from (
            _window(case, top, values, gain)
            if top
            else [Change("max", f"max {case.wishes} instead of {most}", gain, values=values)]
        )


def _window(case: Case, top: Open, values: Mapping[str, str], gain: int) -> Iterator[Change]:
    """The max of the window that is open; or no window, where the deployment's own max is more."""
    most, own = case.column("max"), case.limits.own_max
    yield Change("window", f"max {case.wishes} instead of {most} in the window {top.words}", gain, top.row.id, values)
    if own > most:
        alone = case.trial.setting(case.row, max=min(own, case.wishes), ceiling=-1)
        text = f"delete that window: its own max of {own} holds then"
        yield Change("window", text, max(0, case.gain(alone)), top.row.id)


def _capacity(case: Case) -> Iterator[Change]:
    yield from _classes(case)
    yield from _priority(case)
    yield from _claim(case)
    yield from _others(case)
    yield from _zones(case)
    yield from _gpus(case)


def _classes(case: Case) -> Iterator[Change]:
    allowed = classes_of(case.trial.snapshot, case.row)
    for each in BOTH:
        if each not in allowed:
            opened = case.trial.setting(case.row, class_order=(*allowed, each))
            values = {"classes": ",".join(f"CAPACITY_CLASS_{WORDS[one]}" for one in (*allowed, each))}
            yield Change("classes", f"allow {WORDS[each]}", case.gain(opened), values=values)


def _priority(case: Case) -> Iterator[Change]:
    """One above those whose min the free GPUs are kept for."""
    table = case.trial.snapshot.deployments
    waits = (table.org == table.org[case.row]) & (case.made.granted.value < table.min) & ~table.shadow
    waits[case.row] = False
    rows = np.flatnonzero(waits & (table.priority >= table.priority[case.row]))
    if not len(rows):
        return
    above = int(table.priority[rows].max()) + 1
    if above <= MOST_PRIORITY:
        text = f"priority {above} instead of {case.column('priority')}"
        gain = case.gain(case.trial.setting(case.row, priority=above))
        yield Change("priority", text, gain, values={"priority": str(above)})


def _claim(case: Case) -> Iterator[Change]:
    """As many more instances as all missing replicas need, in the zone where the quota has room, if one has. Of what
    quota keeps back only so many as it leaves, and that more quota is needed where these give nothing."""
    places = [one for one in zones_of(case.trial.snapshot, case.row) if case.offerings[one].claimable]
    if not places:
        return
    offering = min(places, key=lambda one: (-_quota_free(case, one), not _of_the_pool(case, one),
                                            case.trial.snapshot.offerings.zone[one]))  # fmt: skip
    needed = _instances(case, offering)
    count = needed if _of_the_pool(case, offering) else min(needed, _quota_free(case, offering))
    gain = _claimed(case, offering, count)
    if gain > 0:
        yield _claim_of(case, offering, count + _taken_over(case, offering), gain)
    elif count < needed and _claimed(case, offering, needed) > 0:
        yield _quota(case, offering, needed)


def _claimed(case: Case, offering: int, count: int) -> int:
    """How many replicas more `count` claimed instances would give."""
    if not count:
        return 0
    allowed, trial = classes_of(case.trial.snapshot, case.row), case.trial
    if CapacityClass.RESERVED not in allowed:
        trial = trial.setting(case.row, class_order=(*allowed, CapacityClass.RESERVED))
    return case.gain(trial.with_machines(offering, case.column("org"), count))


def _claim_of(case: Case, offering: int, count: int, gain: int) -> Change:
    row = case.offerings[offering]
    claim = _own_claim(case, row)
    has = claim_effective(claim) if claim else 0  # while a reduction waits, what it holds (C8)
    if claim is not None:
        text = f"claim {claim.name}: {has + count} {_where(row)} instead of {has}"
    else:
        text = f"a claim of {count} more {_where(row)}"
    pool = _of_the_pool(case, offering)
    limit = " (once the pool has them)" if pool else f" (the quota leaves {_quota_free(case, offering)})"
    place = {"zone": row.zone.name, "type": row.instance_type.name, "count": str(count)}
    values = {"count": str(has + count)} if claim else place
    return Change("claim", _first(case) + text + limit, gain, claim.id if claim else None, values)


def _quota(case: Case, offering: int, needed: int) -> Change:
    """That quota is what is missing, which gives nothing before somebody raises it and a claim is made."""
    found = case.quotas.get(case.offerings[offering].key)
    limit, free = (found.limit, found.free) if found else (0, 0)
    text = (f"more quota for {_where(case.offerings[offering])}: a claim would need {counted(needed, 'instance')}, the "
            f"limit of {limit} leaves {free}")  # fmt: skip
    return Change("quota", _first(case) + text, 0)


def _first(case: Case) -> str:
    """What has to be set before a claim is of use."""
    return "" if CapacityClass.RESERVED in classes_of(case.trial.snapshot, case.row) else "allow RESERVED, and "


def _where(row: Offering) -> str:
    return f"{row.instance_type.name} in {row.zone.name}"


def _of_the_pool(case: Case, offering: int) -> bool:
    """Whether its claim there takes from the pool, for which no quota is needed."""
    claim = _own_claim(case, case.offerings[offering])
    return claim is not None and claim.kind == ClaimKind.SERVERLESS


def _taken_over(case: Case, offering: int) -> int:
    """Machines of the pool that its claim there would take over first, where replicas of its organization run on demand
    (C4): with those it has no more room than now."""
    if not _of_the_pool(case, offering):
        return 0
    machines = case.trial.snapshot.instances
    own = (machines.org == case.column("org")) & (machines.claim == 0) & (machines.source == Source.POOL)
    return int(np.count_nonzero(own & (machines.offering == offering) & (machines.state == InstanceState.READY)))


def _own_claim(case: Case, offering: Offering) -> CapacityClaim | None:
    mine = [one for one in case.names.claims.values()
            if one.organization_id == case.column("org") and one.offering_id == offering.key
            and one.status != Status.DELETING]  # fmt: skip
    return min(mine, key=lambda one: (one.created_at, one.key), default=None)


def _quota_free(case: Case, offering: int) -> int:
    found = case.quotas.get(case.offerings[offering].key)
    return found.free if found else 0


def _instances(case: Case, offering: int) -> int:
    """How many machines hold what is missing; 0 where a replica fits on none."""
    size, gpus = int(case.trial.snapshot.offerings.gpus_per_instance[offering]), case.column("gpu_count")
    if gpus <= size:
        return -(-case.missing // (size // gpus))
    return case.missing * (gpus // size) if gpus % size == 0 else 0


def _others(case: Case) -> Iterator[Change]:
    """GPUs above the min of other deployments of the organization, lower priorities first; never of a higher one."""
    snapshot = case.trial.snapshot
    table, size = snapshot.deployments, int(snapshot.offerings.gpus_per_instance.max(initial=0))
    held = held_by_rows(case.trial, case.row)
    above = case.trial.live_counts() - table.min
    may = (table.gpu_count <= size) & (table.priority <= case.column("priority")) & (above > 0)
    may[case.row] = False
    rows = [one for one in held if may[one]]
    rows.sort(key=lambda one: (int(table.priority[one]), -held[one], int(table.key[one])))
    for one in rows[:MOST_OTHERS]:
        yield from _from_other(case, one)


def _from_other(case: Case, other: int) -> Iterator[Change]:
    table = case.trial.snapshot.deployments
    live, least, key = case.trial.live_of(other), int(table.min[other]), int(table.key[other])
    gpus = int(table.gpu_count[other])
    spare = min(len(live) - least, -(-case.missing * case.column("gpu_count") // gpus))
    if spare <= 0 or key not in case.names.deployments:
        return
    without = case.trial.setting(other, max=len(live) - spare).without_replicas(live[-spare:].tolist())
    id, name = case.names.deployments[key]
    above, priority = (len(live) - least) * gpus, int(table.priority[other])
    text = (f"max {len(live) - spare} for {name} (priority {priority}), which holds {above} GPUs above its min "
            f"of {least}")  # fmt: skip
    yield Change("other", text, case.gain(without), id, {"max": str(len(live) - spare)})


def _zones(case: Case) -> Iterator[Change]:
    """Zones that its gateways leave out."""
    bits = case.column("zones")
    names = case.trial.snapshot.offerings.zone
    tried = []
    for one in sorted(range(len(names)), key=lambda one: names[one]):
        if not bits >> one & 1:
            opened = case.trial.setting(case.row, zones=np.uint64(bits | 1 << one))
            tried.append(Change("zones", f"let its gateways serve {names[one]}", case.gain(opened)))
    yield from sorted(tried, key=lambda one: -one.replicas)[:1]


def _gpus(case: Case) -> Iterator[Change]:
    """GPUs a replica that an instance can hold, where the present number fits nowhere."""
    size, gpus = int(case.trial.snapshot.offerings.gpus_per_instance.max(initial=0)), case.column("gpu_count")
    if size and gpus > size and gpus % size:
        text = f"{size} GPUs a replica instead of {gpus}, or an instance type with {gpus} GPUs"
        yield Change("gpus", text, case.gain(case.trial.setting(case.row, gpu_count=size)))
