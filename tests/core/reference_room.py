"""Where a replica fits and who could make room for one, slow and obvious: every instance, every set of replicas."""

from itertools import combinations

from deployments.core.plan import Plan
from deployments.core.snapshot import InstanceState, Snapshot, Source
from tests.core.fleet import NOW
from tests.core.reference_units import Unit, instances_of, units_of


def classes_of(shard: Snapshot, d: int) -> set[int]:
    return {int(each) for each in shard.deployments.class_order[d] if each} or {1, 2}


def suits(shard: Snapshot, d: int, i: int) -> bool:
    """Whether a replica of a deployment may run on an instance, room or not."""
    fleet, machines = shard.deployments, shard.instances
    claimed = bool(machines.claim[i])
    holder = int(machines.org[i])
    return (
        machines.state[i] == InstanceState.READY
        and not machines.held[i]
        and (claimed or machines.source[i] == Source.POOL)
        and (1 if claimed else 2) in classes_of(shard, d)
        and (holder == fleet.org[d] or (holder == 0 and not claimed and machines.gpus_used[i] == 0))
        and bool(int(fleet.zones[d]) >> int(machines.offering[i]) & 1)
        and i != fleet.avoid[d]
    )


def could_place(shard: Snapshot, d: int) -> bool:
    """Whether one more replica of a deployment fits on one instance as things are (one on several: not told)."""
    machines = shard.instances
    gpus = int(shard.deployments.gpu_count[d])
    return any(suits(shard, d, i) and machines.gpus[i] - machines.gpus_used[i] >= gpus for i in range(len(machines)))


def reclaimable(shard: Snapshot, answer: Plan, d: int) -> dict[int, list[Unit]]:
    """Units of lower priorities of the organization that run above their min, by deployment, as R13 allows."""
    fleet = shard.deployments
    found = {}
    for other, units in units_of(shard, NOW).of.items():
        above = int(answer.granted.value[other]) - min(int(fleet.min[other]), int(answer.wanted.value[other]))
        held = fleet.freeze[other] or fleet.pin[other] >= 0 or fleet.shadow[other] or not fleet.enabled[other]
        lower = fleet.org[other] == fleet.org[d] and fleet.priority[other] < fleet.priority[d]
        if lower and not held and above > 0:
            found[other] = units[:]
    return found


def helpful_sets(shard: Snapshot, answer: Plan, d: int) -> list[tuple[int, tuple[int, ...]]]:
    """Instances, and rows of replicas on them that R13 lets go, that would make room for one more of a deployment."""
    fleet, machines = shard.deployments, shard.instances
    gpus = int(fleet.gpu_count[d])
    found = []
    candidates = [(other, unit.row) for other, units in reclaimable(shard, answer, d).items() for unit in units]
    for i in range(len(machines)):
        if not suits(shard, d, i) or machines.gpus[i] < gpus:
            continue
        here = [(other, row, instances_of(shard, row)[i]) for other, row in candidates if i in instances_of(shard, row)]
        for size in range(1, len(here) + 1):
            for chosen in combinations(here, size):
                within = all(
                    sum(other == each for other, _, _ in chosen) <= _above(shard, answer, each)
                    for each in {other for other, _, _ in chosen}
                )
                free = int(machines.gpus[i] - machines.gpus_used[i]) + sum(held for _, _, held in chosen)
                if within and free >= gpus:
                    found.append((i, tuple(row for _, row, _ in chosen)))
    return found


def _above(shard: Snapshot, answer: Plan, d: int) -> int:
    return int(answer.granted.value[d]) - min(int(shard.deployments.min[d]), int(answer.wanted.value[d]))
