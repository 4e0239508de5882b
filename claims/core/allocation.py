"""Which instances a claim takes and which it gives up. Every order is total; its last key is the instance's."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from claims.core.states import CLAIM_TRANSITIONS, PENDING_STATES, InstanceState, Status


@dataclass(frozen=True, slots=True)
class Held:
    """An instance of a claim, as far as the choice goes. `claimed_at` is unix seconds; `idle`: the platform drains it,
    so that it serves nobody."""

    key: int
    state: InstanceState
    replicas: int
    claimed_at: float
    idle: bool = False


@dataclass(frozen=True, slots=True)
class InUse:
    """A pool instance that some organization's replicas are on."""

    key: int
    gpus_used: int
    kept: bool = False


def to_give_up(held: Iterable[Held], count: int) -> list[Held]:
    """The `count` instances to give up: those still joining and those that serve nobody, then empty ones, then those
    with the fewest replicas to move, then newest, then highest key (C9)."""

    def order(one: Held) -> tuple[bool, bool, int, float, int]:
        return (one.state not in PENDING_STATES, not one.idle, one.replicas, -one.claimed_at, -one.key)

    return sorted(held, key=order)[: max(0, count)]


def share_out(free: Sequence[int], missing: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Free instances (keys, in the order to take them) for claims (key, missing) in their order of creation (C4).

    Returns (instance, claim) pairs; a claim that cannot be filled keeps what it gets.
    """
    pairs: list[tuple[int, int]] = []
    supply = iter(free)
    for claim, count in missing:
        for _ in range(count):
            instance = next(supply, None)
            if instance is None:
                return pairs
            pairs.append((instance, claim))
    return pairs


def to_convert(own: Iterable[InUse], spans: Iterable[tuple[int, int]], count: int) -> list[int]:
    """Up to `count` of the claimant's own instances to convert in place, those first that it uses most (C4): what it
    pays for twice is least then, and what it would have to move is nothing.

    `spans` are (replica, instance) pairs. Instances that share a replica are converted together or not at all.
    """
    use = {one.key: one.gpus_used for one in own}
    chosen: list[int] = []
    units = [unit for unit in _units(use, spans) if unit <= use.keys()]
    for unit in sorted(units, key=lambda unit: (-sum(use[key] for key in unit) / len(unit), len(unit), min(unit))):
        if len(chosen) + len(unit) <= count:
            chosen += sorted(unit)
    return chosen


def _units(keys: Iterable[int], spans: Iterable[tuple[int, int]]) -> list[set[int]]:
    """Instances that hang together by a replica, as sets; one that shares none is a set of its own."""
    unit_of = {key: {key} for key in keys}
    first: dict[int, int] = {}
    for replica, instance in spans:
        mine = unit_of.setdefault(instance, {instance})
        other = unit_of[first.setdefault(replica, instance)]
        if other is not mine:
            mine |= other
            unit_of.update(dict.fromkeys(other, mine))
    return list({id(unit): unit for unit in unit_of.values()}.values())


def to_keep(in_use: Iterable[InUse]) -> int | None:
    """The pool instance that takes no new replica while a claim waits: the one that is kept already, else the one with
    the fewest GPUs in use, then the lowest key (C4). It does not hop to another that empties meanwhile: an empty one
    goes to the claim anyway."""

    def order(one: InUse) -> tuple[bool, int, int]:
        return (not one.kept, one.gpus_used, one.key)

    best = min(in_use, key=order, default=None)
    return best.key if best else None


def effective_count(*, target: int, held: int, reduction_waits: bool) -> int:
    """What a claim is to have now (C8): its target, or what it holds while a reduction waits for its time (C7)."""
    return max(target, held) if reduction_waits else target


def next_status(status: Status, *, allocated: int, effective: int) -> Status:
    """The status of a claim, by what it has. A creation never passes through UPDATING, and nothing that the table of
    steps ends at goes on."""
    wanted = Status.READY if allocated == effective else Status.UPDATING
    return wanted if wanted in CLAIM_TRANSITIONS[status] else status
