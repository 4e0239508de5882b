"""Small shards for tests, said in few words."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deployments.core.autoscaler_state import AutoscalerState
from deployments.core.params import Params
from deployments.core.plan import Plan
from deployments.core.planner import plan
from deployments.core.snapshot import Deployments, Instances, Offerings, Replicas, Signals, Snapshot
from deployments.core.states import ReplicaState

NOW = 1_700_000_000.0
READY = ReplicaState.READY
STARTING = ReplicaState.STARTING
DRAINING = ReplicaState.DRAINING


def deployments(*rows: Mapping[str, Any]) -> Deployments:
    """Deployments 1, 2, ... of organization 1, min 1 and max 100, not looking ahead, unless said otherwise."""
    filled = [{"key": n, "org": 1, "min": 1, "max": 100, "ahead": 0.0, **row} for n, row in enumerate(rows, 1)]
    names = {name for row in filled for name in row}
    blank = Deployments.build(key=[0], org=[0], min=[1], max=[1])
    return Deployments.build(**{name: [row.get(name, getattr(blank, name)[0]) for row in filled] for name in names})


def steady(active: Sequence[float], queued: Sequence[float] = (), passes: int = 14, now: float = NOW) -> Signals:
    """The same sample in every pass, every 5 s, the newest of now."""
    at = now - 5.0 * np.arange(passes, dtype=np.float64)[::-1]
    waiting = np.array(queued if len(queued) else np.zeros(len(active)))
    return Signals(at, np.tile(waiting, (passes, 1)), np.tile(np.array(active, float), (passes, 1)))


def series(samples: Sequence[float], queued: Sequence[float] = (), now: float = NOW) -> Signals:
    """One deployment, a sample every 5 s, the newest of now."""
    at = now - 5.0 * np.arange(len(samples), dtype=np.float64)[::-1]
    waiting = np.array(queued if len(queued) else np.zeros(len(samples)), float)
    return Signals(at, waiting[:, None], np.array(samples, float)[:, None])


def offerings(*gpus: int) -> Offerings:
    """Zones Z0, Z1, ... with instances of so many GPUs."""
    count = len(gpus)
    return Offerings(np.arange(1, count + 1), tuple(f"Z{n}" for n in range(count)), np.array(gpus, np.int32))


def instances(*rows: Mapping[str, Any]) -> Instances:
    """Instances 1, 2, ... of offering 0 with 8 GPUs, free unless said otherwise."""
    filled = [{"key": n, "offering": 0, "gpus": 8, **row} for n, row in enumerate(rows, 1)]
    names = {name for row in filled for name in row}
    blank = Instances.build(key=[0], offering=[0], gpus=[8])
    if not filled:
        return Instances.none()
    return Instances.build(**{name: [row.get(name, getattr(blank, name)[0]) for row in filled] for name in names})


def replicas(*rows: Mapping[str, Any]) -> Replicas:
    """Replicas 1, 2, ... of deployment 0, ready unless said otherwise."""
    if not rows:
        return Replicas.none()
    filled = [{"key": n, "deployment": 0, "state": READY, **row} for n, row in enumerate(rows, 1)]
    names = {name for row in filled for name in row}
    blank = Replicas.build(key=[0], deployment=[0], state=[READY])
    return Replicas.build(**{name: [row.get(name, getattr(blank, name)[0]) for row in filled] for name in names})


def running(*sizes: int) -> Replicas:
    """So many ready replicas of each deployment, on no instance of the shard."""
    return replicas(*({"deployment": d} for d, size in enumerate(sizes) for _ in range(size)))


def shard(
    fleet: Deployments,
    signals: Signals | None = None,
    have: Replicas | None = None,
    machines: Instances | None = None,
    zones: Offerings | None = None,
    state: AutoscalerState | None = None,
) -> Snapshot:
    """A snapshot; without machines there are 50 free instances of 8 GPUs."""
    if machines is None:
        machines = instances(*({} for _ in range(50)))
    return Snapshot(
        deployments=fleet,
        signals=signals if signals is not None else steady([0.0] * len(fleet)),
        replicas=have if have is not None else Replicas.none(),
        instances=machines,
        offerings=zones if zones is not None else offerings(8),
        state=state if state is not None else AutoscalerState.empty(),
    )


def decide(snapshot: Snapshot, now: float = NOW, params: Params | None = None) -> Plan:
    """Plan with the defaults."""
    return plan(snapshot, params or Params(), now)


def seen(snapshot: Snapshot, now: float = NOW) -> Snapshot:
    """The shard as if the loop had run with it for a whole scale-down window, recommending nothing."""
    state = AutoscalerState.empty().realign(snapshot.deployments.key)
    width = np.full(len(snapshot.deployments), 20_000, np.int32)
    at_ms = int(now * 1000) - 5000
    memory = replace(state.memory, width_ms=width, bucket=np.full(len(width), at_ms // 20_000))
    memory.highest[:, :] = 0
    return replace(snapshot, state=AutoscalerState(at_ms, memory))


def sizes(answer: Plan) -> tuple[list[int], list[int]]:
    """Sizes wanted and granted."""
    return answer.wanted.value.tolist(), answer.granted.value.tolist()
