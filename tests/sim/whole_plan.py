"""The whole planner, contention and placement included, for one deployment with room for all its replicas: the slow way to
what `deployments.sim.alone` asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deployments.core.autoscaler_state import AutoscalerState
from deployments.core.params import Params
from deployments.core.planner import plan
from deployments.core.snapshot import Deployments, Instances, Offerings, Replicas, Signals, Snapshot, history_s
from deployments.core.states import ReplicaState
from deployments.sim.fleet import PolicyStep, Signal


@dataclass(frozen=True, slots=True)
class Remembered:
    """The planner's state, and the samples that its windows reach back to."""

    state: AutoscalerState
    samples: tuple[Signal, ...] = ()


NOTHING = Remembered(AutoscalerState.empty())


def by_plan(deployment: Deployments, params: Params, epoch_s: float = 0.0) -> PolicyStep[Remembered]:
    """Ask the planner for the size of a deployment, a table of one row, `epoch_s` unix seconds being second 0 of the
    run. One machine has all the GPUs that `max` replicas need. Begins with `NOTHING`."""
    kept = int(np.ceil(history_s(deployment, params) / params.sample_s))
    gpus = int(deployment.max[0]) * int(deployment.gpu_count[0])
    machine = Instances.build(key=[1], offering=[0], gpus=[gpus])
    offering = Offerings(np.array([1]), ("HERE",), np.array([gpus], np.int32))

    def step(remembered: Remembered, signal: Signal, now: float) -> tuple[Remembered, int]:
        samples = (*remembered.samples, signal)[-kept:]
        measured = replace(deployment, service_s=np.array([service_s(samples)]))
        snapshot = Snapshot(
            measured, _signals(samples, epoch_s), _replicas(signal), machine, offering, remembered.state
        )
        made = plan(snapshot, params, epoch_s + now)
        return Remembered(made.state, samples), int(made.granted.value[0])

    return step


def service_s(samples: Sequence[Signal]) -> float:
    """The mean time that a request ran meanwhile; NaN where none ended."""
    first, last = samples[0].counters, samples[-1].counters
    ended = last.finished - first.finished
    return (last.service_seconds - first.service_seconds) / ended if ended else np.nan


def _signals(samples: Sequence[Signal], epoch_s: float) -> Signals:
    return Signals(
        np.array([epoch_s + one.at_s for one in samples]),
        np.array([[one.queued] for one in samples]),
        np.array([[one.active] for one in samples]),
    )


def _replicas(signal: Signal) -> Replicas:
    count = signal.ready + signal.starting
    state = [ReplicaState.READY] * signal.ready + [ReplicaState.STARTING] * signal.starting
    return Replicas.build(key=range(count), deployment=[0] * count, state=state)
