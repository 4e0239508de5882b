"""Replicas and the GPUs they hold, changed as plans say and shown as the planner's tables.

GPUs are taken by the plan that starts a replica and come back when it is gone; a pool instance that nothing runs on
any more serves nobody (R17). A plan that promises a GPU twice, or one that is not there, raises ValueError.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deployments.core.plan import Plan
from deployments.core.snapshot import Deployments, Instances, Parts, Replicas
from deployments.core.states import ReplicaState

NOBODY = 0
# The key of a replica: the row of its deployment times this, and its number in the order of starts.
KEYS_EACH = 1 << 32


@dataclass(slots=True, eq=False)
class Held:
    """A replica. Times are seconds of the run."""

    key: int
    deployment: int
    capacity_class: int
    parts: list[tuple[int, int]]  # instance, GPUs
    started_s: float
    ready_s: float
    replaces: "Held | None"
    leaving: bool = False


class Holdings:
    """`loads`: for each deployment the number of a replica -> seconds from its start until it is ready. `epoch_s`:
    unix time of second 0."""

    def __init__(
        self, deployments: Deployments, instances: Instances, loads: Sequence[Callable[[int], float]], epoch_s: float
    ) -> None:
        self._deployments = deployments
        self._orgs = deployments.org.tolist()
        self._loads = loads
        self._epoch_s = epoch_s
        self._made = [0] * len(loads)
        self._instances = instances
        self.held: list[Held] = []
        self._changed()

    def tables(self, now: float, active_on: Callable[[int, int], int]) -> tuple[Replicas, Instances, Parts]:
        """The planner's tables of what there is. `active_on`: deployment and key -> requests that a replica runs."""
        loaded = self._ready_s <= now
        alive = np.where(loaded, ReplicaState.READY, ReplicaState.STARTING)
        state = np.where(self._leaving, ReplicaState.DRAINING, alive).astype(np.int8)
        active = np.array([active_on(one.deployment, one.key) for one in self.held], np.int32)
        return replace(self._table, state=state, active=active), self._instances, self._parts

    def start(self, plan: Plan, now: float, *, loaded: bool = False) -> list[Held]:
        """Make the replicas that the plan starts; `loaded` ones are ready at once. Raises ValueError."""
        made: list[Held] = []
        starts = plan.starts
        columns = (
            starts.replica,
            starts.deployment,
            starts.capacity_class,
            starts.replaces,
            starts.instance,
            starts.gpus,
        )
        for number, deployment, class_, old, instance, gpus in zip(*(one.tolist() for one in columns), strict=True):
            if number == len(made):
                ready_s = now if loaded else now + self._loads[deployment](self._made[deployment])
                replaces = self.held[old] if old >= 0 else None
                made.append(Held(self._next_key(deployment), deployment, class_, [], now, ready_s, replaces))
            made[number].parts.append((instance, gpus))
        if made:
            self._take(made)
            self.held += made
            self._changed()
        return made

    def let_go(self, plan: Plan) -> list[Held]:
        """Those that the plan stops take nothing any more."""
        going = [self.held[row] for row in plan.stops.replica.tolist()]
        for one in going:
            one.leaving = True
        if going:
            self._changed()
        return going

    def release(self, active_on: Callable[[int, int], int]) -> None:
        """What was let go and runs nothing is gone."""
        gone = [one for one in self.held if one.leaving and not active_on(one.deployment, one.key)]
        if gone:
            self._give_back(gone)
            ended = {one.key for one in gone}
            self.held = [one for one in self.held if one.key not in ended]
            self._changed()

    def _next_key(self, deployment: int) -> int:
        self._made[deployment] += 1
        return deployment * KEYS_EACH + self._made[deployment] - 1

    def _take(self, made: Sequence[Held]) -> None:
        used, org = self._instances.gpus_used.copy(), self._instances.org.copy()
        for one in made:
            for instance, gpus in one.parts:
                if org[instance] not in (NOBODY, self._orgs[one.deployment]):
                    raise ValueError(f"instance {self._instances.key[instance]} serves another organization")
                used[instance] += gpus
                org[instance] = self._orgs[one.deployment]
        if np.any(used > self._instances.gpus):
            raise ValueError("a plan promises GPUs that are not there")
        self._instances = replace(self._instances, gpus_used=used, org=org)

    def _give_back(self, gone: Sequence[Held]) -> None:
        used, org = self._instances.gpus_used.copy(), self._instances.org.copy()
        for one in gone:
            for instance, gpus in one.parts:
                used[instance] -= gpus
        org[(used == 0) & (self._instances.claim == 0)] = NOBODY
        self._instances = replace(self._instances, gpus_used=used, org=org)

    def _changed(self) -> None:
        """Make the columns anew that do not change by themselves."""
        held = self.held
        alive = {one.key: row for row, one in enumerate(held) if not one.leaving}
        self._ready_s = np.array([one.ready_s for one in held])
        self._leaving = np.array([one.leaving for one in held], np.bool_)
        deployment = np.array([one.deployment for one in held], np.int32)
        self._table = Replicas.build(
            key=[one.key for one in held],
            deployment=deployment,
            state=np.zeros(len(held)),
            capacity_class=[one.capacity_class for one in held],
            instance=[one.parts[0][0] for one in held],
            gpus=[sum(gpus for _, gpus in one.parts) for one in held],
            started_at=[self._epoch_s + one.started_s for one in held],
            revision=self._deployments.revision[deployment],
            replaces=[alive.get(one.replaces.key, -1) if one.replaces and not one.leaving else -1 for one in held],
        )
        parts = [(row, *part) for row, one in enumerate(held) if len(one.parts) > 1 for part in one.parts]
        replica, instance, gpus = zip(*parts, strict=True) if parts else ((), (), ())
        self._parts = Parts.build(replica=replica, instance=instance, gpus=gpus)
