"""What platform work on machines, or the withdrawal of an offering, would do: said before it is done."""

from collections.abc import Sequence
from dataclasses import dataclass

from claims.models import ClaimKind, Instance, Offering, Work
from claims.selectors import PoolRow, pools
from console.common.words import counted


@dataclass(frozen=True, slots=True)
class WorkEffect:
    """Work on one machine: who is affected, and how. `replicas` move or stop."""

    instance: Instance
    replicas: int
    text: str


def work_effects(instances: Sequence[Instance], work: str) -> list[WorkEffect]:
    """For each machine, read with its claim and organization, what the work would do; "" ends it. Three queries."""
    rows = {row.offering.key: row for row in pools()}
    free = {key: row.free for key, row in rows.items()}
    found = []
    for one in instances:
        moved = one.replicas if work in (Work.DRAIN, Work.BAD) else 0
        found.append(WorkEffect(one, moved, "; ".join(_sentences(one, work, free))))
    return found


def _sentences(one: Instance, work: str, free: dict[int, int]) -> list[str]:
    if not work:
        return ["used again" if one.work else "nothing: there is no work on it"]
    if work == Work.CORDON:
        stays = f"{counted(one.replicas, 'replica')} stay{'s' if one.replicas == 1 else ''}"
        return [stays, "takes neither a new replica nor a claim"]
    moves = "moves" if one.replicas == 1 else "move"
    said = [f"{counted(one.replicas, 'replica')} of {one.organization} {moves} away" if one.replicas else "empty"]
    if one.claim is not None:
        said.append(_of_claim(one, work, free))
    said.append("given back, a fresh machine comes" if work == Work.BAD else "stays, cordoned")
    return said


def _of_claim(one: Instance, work: str, free: dict[int, int]) -> str:
    assert one.claim is not None
    if one.claim.kind == ClaimKind.CUSTOMER:
        until = "until its replacement has joined" if work == Work.BAD else "and pays for it until the work ends"
        return f"claim {one.claim.name} is short of it {until}"
    if free.get(one.offering_id, 0) > 0:
        free[one.offering_id] -= 1
        return f"claim {one.claim.name} gets a free one of the pool at once"
    return f"claim {one.claim.name} waits for a free one of the pool"


def withdrawal_effects(offerings: Sequence[Offering]) -> list[tuple[Offering, str]]:
    """What their withdrawal would do. Two queries."""
    rows = {row.offering.key: row for row in pools()}
    return [(one, _withdrawal(rows[one.key])) for one in offerings]


def _withdrawal(row: PoolRow) -> str:
    text = f"{row.free} free instances go now, {row.on_demand} in use and {row.claimed} claimed as they free up"
    return text + (f"; {row.pending_claims} that claims wait for come first" if row.pending_claims else "")
