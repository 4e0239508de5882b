"""What a larger claim, or a new one, would give: tried on the machines that it would get. A SERVERLESS claim gets what the
pool has free, then machines where on-demand replicas of its organization run (C4); more than that the pool may never have. A
CUSTOMER claim gets machines of its own, as far as quota goes (C2)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from claims.core import allocation
from claims.core.states import Status
from claims.models import CapacityClaim, ClaimKind, Offering
from claims.selectors import claim_effective
from console.common.words import counted
from deployments.core.placement import usable
from deployments.core.snapshot import CapacityClass, InstanceState, Source
from deployments.shortage.case import REPLACED, Case, Change, fewest
from deployments.shortage.room import classes_of, zones_of
from deployments.trial import Trial

MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """A claim of one kind and offering, as it would be asked for. `base` is the trial in which it may use claims and what its
    organization's CUSTOMER claims still wait for has joined."""

    case: Case
    offering: int  # row of the snapshot
    kind: ClaimKind
    base: Trial
    had: int  # replicas more than now, in `base`
    free: Sequence[int]  # rows of machines of the pool that it takes at once
    over: Sequence[int]  # rows that it takes over in place
    gains: dict[int, int] = field(default_factory=dict)  # by count, as far as they were tried

    @property
    def there(self) -> list[int]:
        return [*self.free, *self.over]

    @property
    def claim(self) -> CapacityClaim | None:
        """The organization's oldest of the kind there, which would grow; else a new one is made."""
        mine = [one for one in own_claims(self.case) if one.offering_id == self.row.key and one.kind == self.kind]
        return min(mine, key=lambda one: (one.created_at, one.key), default=None)

    @property
    def row(self) -> Offering:
        return self.case.offerings[self.offering]

    @property
    def quota_free(self) -> int:
        found = self.case.quotas.get(self.row.key)
        return found.free if found else 0

    @property
    def missing(self) -> int:
        return self.case.missing - self.had

    def with_(self, count: int) -> Trial:
        """`base` with so many more instances."""
        org = self.case.column("org")
        if self.kind == ClaimKind.SERVERLESS:
            return self.base.claimed(self.there[:count], org)
        return self.base.with_machines(self.offering, org, count)

    def gain(self, count: int) -> int:
        """Replicas more than with what is on its way, from `count` more instances. Each count is planned once."""
        if count not in self.gains:
            self.gains[count] = self.case.gain(self.with_(count)) - self.had
        return self.gains[count]

    def others(self, count: int) -> list[str]:
        """What others of the organization would get of them."""
        table, names = self.case.trial.snapshot.deployments, self.case.names.deployments
        more = self.with_(count).plan().granted.value - self.base.plan().granted.value
        more[self.case.row] = 0
        rows = [one for one in np.flatnonzero(more > 0).tolist() if int(table.key[one]) in names]
        return [f"{names[int(table.key[one])][1]} gets {int(more[one])} more" for one in rows[:MOST_NAMED]]

    def machines(self, replicas: int, gpus: int) -> int:
        """How many hold so many replicas of so many GPUs; 0 where one fits on none."""
        size = int(self.case.trial.snapshot.offerings.gpus_per_instance[self.offering])
        if gpus <= size:
            return -(-replicas // (size // gpus))
        return replicas * (gpus // size) if gpus % size == 0 else 0


def own_claims(case: Case) -> list[CapacityClaim]:
    return [one for one in case.names.claims.values()
            if one.organization_id == case.column("org") and one.status != Status.DELETING]  # fmt: skip


def claim_changes(case: Case) -> Iterator[Change]:
    """No larger claims than what is missing needs, besides what joins already: of the pool where that gives any, and of
    machines of its own where the quota has most room."""
    places = [one for one in zones_of(case.trial.snapshot, case.row) if case.offerings[one].claimable]
    if not places:
        return
    base, zone = _base(case), case.trial.snapshot.offerings.zone
    had = case.gain(base)
    if had >= case.missing:
        return
    pool = [
        Asked(case, one, ClaimKind.SERVERLESS, base, had, _free(case, one), _converted(case, one)) for one in places
    ]
    found = list(_of_pool(min(pool, key=lambda one: (-len(one.free), -len(one.over), zone[one.offering]))))
    yield from found
    if any(one.replicas >= case.missing - had for one in found):
        return
    own = [Asked(case, one, ClaimKind.CUSTOMER, base, had, (), ()) for one in places]
    yield from _of_its_own(min(own, key=lambda one: (-one.quota_free, one.claim is None, zone[one.offering])))


def _base(case: Case) -> Trial:
    trial = _reserved_allowed(case)
    there, keys = trial.snapshot.instances.claim, trial.snapshot.offerings.key.tolist()
    for one in own_claims(case):
        joining = one.wanted - int(np.count_nonzero(there == one.key))
        if one.kind == ClaimKind.CUSTOMER and joining > 0:
            trial = trial.with_machines(keys.index(one.offering_id), case.column("org"), joining)
    return trial


def _of_pool(asked: Asked) -> Iterator[Change]:
    most = len(asked.there)
    if most and asked.gain(most) > 0:
        count = fewest(most, asked.gain)
        free = min(count, len(asked.free))
        parts = [f"{free} free in the pool"] if free else []
        parts += [f"{count - free} where replicas of yours run on demand already"] if count > free else []
        yield _claim(asked, count, ", ".join(parts))


def _of_its_own(asked: Asked) -> Iterator[Change]:
    """Of what quota keeps back only so many as it leaves; that more quota is needed where these give nothing."""
    needed = asked.machines(asked.missing, asked.case.column("gpu_count")) + _before(asked)
    most = min(needed, asked.quota_free)
    if most and asked.gain(most) > 0:
        yield _claim(asked, fewest(most, asked.gain), f"the quota leaves {asked.quota_free}")
    elif most < needed and asked.gain(needed) > 0:
        yield _quota(asked, fewest(needed, asked.gain))


def _before(asked: Asked) -> int:
    """Machines that others of the organization would take first, at most: it gets only what they leave."""
    case, table = asked.case, asked.case.trial.snapshot.deployments
    short = case.made.wanted.value - case.made.granted.value
    others = (table.org == case.column("org")) & (short > 0) & ~table.shadow
    others[case.row] = False
    return sum(asked.machines(int(short[one]), int(table.gpu_count[one])) for one in np.flatnonzero(others).tolist())


def _claim(asked: Asked, count: int, source: str) -> Change:
    claim, gain = asked.claim, asked.gain(count)
    has = claim_effective(claim) if claim else 0  # while a reduction waits, what it holds (C8)
    if claim is not None:
        text = f"claim {claim.name}: {has + count} {_where(asked.row)} instead of {has}"
    else:
        text = f"a {asked.kind} claim of {count} {_where(asked.row)}"
    place = {
        "zone": asked.row.zone.name,
        "type": asked.row.instance_type.name,
        "count": str(count),
        "kind": asked.kind.value,
    }
    return Change(
        "claim", f"{_first(asked.case)}{text} ({'; '.join([source, *asked.others(count)])})", gain, claim.id if claim else None,
        {"count": str(has + count)} if claim else place,
        later=0 if asked.kind == ClaimKind.SERVERLESS else gain, first=_opened(asked.case),
    )  # fmt: skip


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
    return "" if _allows_reserved(case) else f"allow RESERVED{REPLACED}, and "


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


def _free(case: Case, offering: int) -> list[int]:
    """Machines of the pool that nobody uses and no claim waits for."""
    machines = case.trial.snapshot.instances
    found: list[int] = np.flatnonzero(_pool(case, offering) & usable(machines) & (machines.gpus_used == 0)).tolist()
    return found


def _converted(case: Case, offering: int) -> list[int]:
    """Machines with on-demand replicas of the organization, in the order in which its claim takes them over."""
    snapshot, org = case.trial.snapshot, case.column("org")
    machines, parts = snapshot.instances, snapshot.parts
    ready = machines.state == InstanceState.READY
    rows = np.flatnonzero(_pool(case, offering) & ready & (machines.org == org) & (machines.gpus_used > 0))
    used = [allocation.InUse(row, int(machines.gpus_used[row])) for row in rows.tolist()]
    spans = zip(parts.replica.tolist(), parts.instance.tolist(), strict=True)
    return allocation.to_convert(used, spans, len(used))
