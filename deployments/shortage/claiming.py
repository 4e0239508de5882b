"""What a larger claim, or a new one, would give: tried on the machines that it would get, in the order in which it would
get them (C4): free ones of the pool, those where on-demand replicas of its organization run, then others that are not
there yet."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from claims.core import allocation
from claims.core.states import Status
from claims.models import CapacityClaim, ClaimKind, Offering
from claims.selectors import claim_effective
from deployments.core.placement import usable
from deployments.core.snapshot import CapacityClass, InstanceState, Source
from deployments.shortage.case import Case, Change, Size
from deployments.shortage.holders import Names
from deployments.shortage.room import classes_of, zones_of
from deployments.shortage.words import counted
from deployments.trial import Trial


@dataclass(frozen=True, slots=True)
class Asked:
    """A claim of one offering, as it would be asked for. `base` is the trial in which what its claim there still waits
    for has come; without a claim or a wait it is as things are."""

    case: Case
    offering: int  # row of the snapshot
    claim: CapacityClaim | None
    base: Trial
    free: "np.ndarray"  # rows of machines that it takes at once
    converted: "np.ndarray"  # rows that it takes over in place

    @classmethod
    def of(cls, case: Case, offering: int) -> "Asked":
        claim = _own_claim(case, offering)
        trial = _reserved_allowed(case)
        base = trial.with_machines(offering, case.column("org"), case.sizes[claim.key].coming if claim else 0)
        none = np.zeros(0, np.int64)
        if claim is None or claim.kind != ClaimKind.SERVERLESS:
            return cls(case, offering, claim, base, none, none)
        return cls(case, offering, claim, base, _free(case, offering), _converted(case, offering))

    @property
    def of_the_pool(self) -> bool:
        return self.claim is not None and self.claim.kind == ClaimKind.SERVERLESS

    @property
    def had(self) -> int:
        """Replicas more than now, with what is on its way already."""
        return self.case.gain(self.base)

    def gain(self, count: int, *, at_once: bool = False) -> int:
        """Replicas more than with what is on its way, from `count` more instances; `at_once`: those that are there."""
        there = np.concatenate([self.free, self.converted])[:count]
        trial = self.base.claimed(there.tolist(), self.case.column("org"))
        if not at_once:
            trial = trial.with_machines(self.offering, self.case.column("org"), count - len(there))
        return self.case.gain(trial) - self.had

    def smallest(self, most: int) -> int:
        """The fewest instances that give as many replicas as `most` would; more of them never give less."""
        top, low, high = self.gain(most), 1, most
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.gain(middle) >= top else (middle + 1, high)
        return low

    @property
    def row(self) -> Offering:
        return self.case.offerings[self.offering]

    @property
    def quota_free(self) -> int:
        found = self.case.quotas.get(self.row.key)
        return found.free if found else 0

    @property
    def needed(self) -> int:
        """Machines that hold what would still be missing; 0 where nothing would be, or a replica fits on none."""
        return self.machines(self.case.missing - self.had, self.case.column("gpu_count"))

    def machines(self, replicas: int, gpus: int) -> int:
        """How many hold so many replicas of so many GPUs."""
        size = int(self.case.trial.snapshot.offerings.gpus_per_instance[self.offering])
        if gpus <= size:
            return -(-replicas // (size // gpus))
        return replicas * (gpus // size) if gpus % size == 0 else 0


def sizes_now(trial: Trial, names: Names, org: int) -> dict[int, Size]:
    """What the organization's claims hold and wait for; while a reduction waits, what they hold (C8)."""
    mine = [one for one in names.claims.values() if one.organization_id == org and one.status != Status.DELETING]
    there = trial.snapshot.instances.claim
    return {one.key: Size(claim_effective(one), max(0, one.wanted - int(np.count_nonzero(there == one.key))))
            for one in mine}  # fmt: skip


def claim_changes(case: Case) -> Iterator[Change]:
    """A claim in the zone where the quota has room, if one has: no larger than what is missing needs, besides what is on
    its way. Of what quota keeps back only so many as it leaves, and that more quota is needed where these give nothing."""
    places = [one for one in zones_of(case.trial.snapshot, case.row) if case.offerings[one].claimable]
    if not places:
        return
    zone = case.trial.snapshot.offerings.zone
    asked = min((Asked.of(case, one) for one in places),
                key=lambda one: (-one.quota_free, not one.of_the_pool, zone[one.offering]))  # fmt: skip
    needed = asked.needed
    if needed <= 0:
        return
    needed += _before(asked)
    taken = len(asked.free) + len(asked.converted)
    most = taken + needed if asked.of_the_pool else min(needed, asked.quota_free)
    if most and asked.gain(most) > 0:
        yield _claim(asked, asked.smallest(most))
    elif not asked.of_the_pool and most < needed and asked.gain(needed) > 0:
        yield _quota(asked, asked.smallest(needed))


def _before(asked: Asked) -> int:
    """Machines that others of the organization would take first, at most: it gets only what they leave."""
    case, table = asked.case, asked.case.trial.snapshot.deployments
    short = case.made.wanted.value - case.made.granted.value
    others = (table.org == case.column("org")) & (short > 0) & ~table.shadow
    others[case.row] = False
    return sum(asked.machines(int(short[one]), int(table.gpu_count[one])) for one in np.flatnonzero(others).tolist())


def _claim(asked: Asked, count: int) -> Change:
    has = asked.case.sizes[asked.claim.key].count if asked.claim else 0
    if asked.claim is not None:
        text = f"claim {asked.claim.name}: {has + count} {_where(asked.row)} instead of {has}"
    else:
        text = f"a claim of {count} more {_where(asked.row)}"
    place = {"zone": asked.row.zone.name, "type": asked.row.instance_type.name, "count": str(count), "kind": "CUSTOMER"}
    values = {"count": str(has + count)} if asked.claim else place
    id = asked.claim.id if asked.claim else None
    gain = asked.gain(count)
    return Change(
        "claim", f"{_first(asked.case)}{text} ({_sources(asked, count)})", gain, id, values,
        later=gain - asked.gain(count, at_once=True), first=_opened(asked.case),
    )  # fmt: skip


def _sources(asked: Asked, count: int) -> str:
    """Where the instances come from."""
    if not asked.of_the_pool:
        return f"the quota leaves {asked.quota_free}"
    free = min(count, len(asked.free))
    over = min(count - free, len(asked.converted))
    later = count - free - over
    parts = [f"{free} free in the pool"] if free else []
    parts += [f"{over} where replicas of yours run on demand already"] if over else []
    parts += [f"{later} once the pool has {'it' if later == 1 else 'them'}"] if later else []
    return ", ".join(parts)


def _quota(asked: Asked, needed: int) -> Change:
    """That quota is what is missing, which gives nothing before somebody raises it and a claim is made."""
    found = asked.case.quotas.get(asked.row.key)
    limit, free = (found.limit, found.free) if found else (0, 0)
    text = (f"more quota for {_where(asked.row)}: a claim would need {counted(needed, 'instance')}, the "
            f"limit of {limit} leaves {free}")  # fmt: skip
    return Change("quota", _first(asked.case) + text, 0, first=_opened(asked.case))


def _allows_reserved(case: Case) -> bool:
    return CapacityClass.RESERVED in classes_of(case.trial.snapshot, case.row)


def _first(case: Case) -> str:
    """What has to be set before a claim is of use."""
    return "" if _allows_reserved(case) else "allow RESERVED, and "


def _opened(case: Case) -> dict[str, str]:
    return {} if _allows_reserved(case) else {"classes": "CAPACITY_CLASS_ON_DEMAND,CAPACITY_CLASS_RESERVED"}


def _reserved_allowed(case: Case) -> Trial:
    if _allows_reserved(case):
        return case.trial
    order = (*classes_of(case.trial.snapshot, case.row), CapacityClass.RESERVED)
    return case.trial.setting(case.row, class_order=order)


def _where(row: Offering) -> str:
    return f"{row.instance_type.name} in {row.zone.name}"


def _pool(case: Case, offering: int) -> "np.ndarray":
    machines = case.trial.snapshot.instances
    found: np.ndarray = (machines.claim == 0) & (machines.source == Source.POOL) & (machines.offering == offering)
    return found


def _free(case: Case, offering: int) -> "np.ndarray":
    """Machines of the pool that nobody uses and no claim waits for."""
    machines = case.trial.snapshot.instances
    return np.flatnonzero(_pool(case, offering) & usable(machines) & (machines.gpus_used == 0))


def _converted(case: Case, offering: int) -> "np.ndarray":
    """Machines with on-demand replicas of the organization, in the order in which its claim takes them over."""
    snapshot, org = case.trial.snapshot, case.column("org")
    machines, parts = snapshot.instances, snapshot.parts
    ready = machines.state == InstanceState.READY
    rows = np.flatnonzero(_pool(case, offering) & ready & (machines.org == org) & (machines.gpus_used > 0))
    used = [allocation.InUse(row, int(machines.gpus_used[row])) for row in rows.tolist()]
    spans = zip(parts.replica.tolist(), parts.instance.tolist(), strict=True)
    return np.array(allocation.to_convert(used, spans, len(used)), np.int64)


def _own_claim(case: Case, offering: int) -> CapacityClaim | None:
    key = case.offerings[offering].key
    mine = [one for one in case.names.claims.values()
            if one.key in case.sizes and one.offering_id == key]  # fmt: skip
    return min(mine, key=lambda one: (one.created_at, one.key), default=None)
