"""What the planner would do: a shard as it is now, perhaps with one thing changed, planned by the planner itself.

Nothing is stored. Sizes follow the load, as in the next pass, or stay at what was last wanted: without signals every
size holds (R5), and what comes out then differs only by capacity and by what was changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

import numpy as np

from claims.models import InstanceType
from deployments.core.plan import Plan
from deployments.core.planner import plan
from deployments.core.snapshot import Deployments, Instances, Replicas, Signals, Snapshot, Source
from deployments.core.states import LIVE, ReplicaState
from deployments.loop.snapshot import read_shard
from deployments.loop.tick import PARAMS

UNNAMED_CLAIM = 2**40  # of a machine that is only thought of; no row has this key


@dataclass(frozen=True, slots=True)
class Trial:
    """One shard as it is."""

    snapshot: Snapshot
    at: float  # unix seconds

    @classmethod
    def read(cls, instance_type: InstanceType, now: datetime) -> Self:
        """The shard in the database."""
        return cls(read_shard(instance_type, PARAMS, now).snapshot, now.timestamp())

    def holding(self) -> Self:
        """With sizes that stay as they were last wanted."""
        return self.with_(signals=Signals.none(len(self.snapshot.deployments)))

    def with_(self, **tables: Any) -> Self:
        return replace(self, snapshot=replace(self.snapshot, **tables))

    def plan(self) -> Plan:
        return plan(self.snapshot, PARAMS, self.at)

    def row_of(self, deployment_key: int) -> int | None:
        """Row of a deployment; None where this is not its shard."""
        found = np.flatnonzero(self.snapshot.deployments.key == deployment_key)
        return int(found[0]) if len(found) else None

    def setting(self, row: int, **values: Any) -> Self:
        """With other settings of the deployment in this row; names are columns of the snapshot."""
        columns = {name: values_.copy() for name, values_ in self.snapshot.deployments.items()}
        for name, value in values.items():
            columns[name][row] = value
        return self.with_(deployments=Deployments(**columns))

    def with_machines(self, offering: int, organization: int, count: int) -> Self:
        """With `count` more empty machines of the offering in this row, claimed by the organization."""
        machines, size = self.snapshot.instances, int(self.snapshot.offerings.gpus_per_instance[offering])
        first = int(machines.key.max(initial=0)) + 1
        more = Instances.build(
            key=range(first, first + count), offering=[offering] * count, org=[organization] * count,
            claim=[UNNAMED_CLAIM] * count, gpus=[size] * count, source=[Source.CUSTOMER] * count,
        )  # fmt: skip
        return self.with_(
            instances=Instances(
                **{name: np.concatenate([values, getattr(more, name)]) for name, values in machines.items()}
            )
        )

    def claimed(self, rows: Sequence[int], organization: int) -> Self:
        """With these machines (rows) claimed by the organization, and all that runs on them left there."""
        machines = self.snapshot.instances
        org, claim = machines.org.copy(), machines.claim.copy()
        org[list(rows)], claim[list(rows)] = organization, UNNAMED_CLAIM
        return self.with_(instances=Instances(**{**dict(machines.items()), "org": org, "claim": claim}))

    def without_replicas(self, rows: Sequence[int]) -> Self:
        """As if these replicas (rows) were gone and had let their GPUs go."""
        replicas, machines, parts = self.snapshot.replicas, self.snapshot.instances, self.snapshot.parts
        used, org = machines.gpus_used.copy(), machines.org.copy()
        spread = np.isin(parts.replica, rows)
        whole = np.array([row for row in rows if replicas.instance[row] >= 0 and row not in parts.replica[spread]], int)
        np.subtract.at(used, parts.instance[spread], parts.gpus[spread])
        np.subtract.at(used, replicas.instance[whole], replicas.gpus[whole])
        used = np.maximum(used, 0).astype(np.int32)
        org[(used == 0) & (machines.claim == 0)] = 0
        state = replicas.state.copy()
        state[rows] = ReplicaState.STOPPED
        return self.with_(
            instances=Instances(**{**dict(machines.items()), "gpus_used": used, "org": org}),
            replicas=Replicas(**{**dict(replicas.items()), "state": state}),
        )

    def live_of(self, row: int) -> "np.ndarray":
        """Rows of the deployment's replicas that count, by key."""
        replicas = self.snapshot.replicas
        return np.flatnonzero((replicas.deployment == row) & np.isin(replicas.state, sorted(LIVE)))

    def live_counts(self) -> "np.ndarray":
        """Replicas that count, of every deployment ([D])."""
        replicas = self.snapshot.replicas
        live = replicas.deployment[np.isin(replicas.state, sorted(LIVE))]
        return np.bincount(live, minlength=len(self.snapshot.deployments))
