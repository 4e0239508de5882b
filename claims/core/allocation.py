"""Which instances a claim takes and which it gives up. Every order is total; its last key is the instance's."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from claims.core.states import PENDING_STATES, InstanceState, Status

NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Held:
    """An instance of a claim, as far as the choice goes. `claimed_at` is unix seconds."""

    key: int
    state: InstanceState
    gpus_used: int
    claimed_at: float


def to_give_up(held: Iterable[Held], count: int) -> list[Held]:
    """The `count` instances to give up: those still joining, then empty ones, then fewest GPUs in use, then newest,
    then highest key (C9). GPUs in use stand for the replicas that would have to move."""

    def order(one: Held) -> tuple[bool, bool, int, float, int]:
        joining = one.state in PENDING_STATES
        return (not joining, one.gpus_used > 0, one.gpus_used, -one.claimed_at, -one.key)

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


def effective_count(*, target: int, held: int, reduction_waits: bool) -> int:
    """What a claim is to have now (C8): its target, or what it holds while a reduction waits for its time (C7)."""
    return max(target, held) if reduction_waits else target


def next_status(status: Status, *, allocated: int, effective: int) -> Status:
    """The status of a claim that is not being deleted. A creation never passes through UPDATING."""
    if allocated == effective:
        return Status.READY
    return Status.UPDATING if status == Status.READY else status
