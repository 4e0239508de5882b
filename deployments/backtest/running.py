"""A backtest of one deployment that always finds room: the live planner over the traffic, measured."""

from collections.abc import Mapping
from dataclasses import dataclass

from deployments.backtest.traces import Traffic
from deployments.core.params import Params
from deployments.core.policy import concurrency_of
from deployments.core.snapshot import Deployments
from deployments.sim import alone, fleet

PARAMS = Params()


@dataclass(frozen=True, slots=True)
class Machine:
    """What a replica is.

    slots: requests it runs at once; more wait
    cold_start_s: from start command to ready, always so long
    gpus: GPUs it holds meanwhile
    """

    slots: int
    cold_start_s: float
    gpus: int = 1


def deployment_of(settings: Mapping[str, float], traffic: Traffic, machine: Machine) -> Deployments:
    """The planner's table of one row. `max` is twice what the busiest minute needs, where none is set, and the
    concurrency what leaves `slots` (R2)."""
    lowest = int(settings.get("min", 1))
    most = max(lowest, -(-2 * int(traffic.at_most + 1) // machine.slots))
    columns = {"min": lowest, "max": most, "concurrency": concurrency_of(machine.slots), **settings}
    return Deployments.build(
        key=[1], org=[1], gpu_count=[machine.gpus], startup_s=[machine.cold_start_s],
        **{name: [value] for name, value in columns.items()},
    )  # fmt: skip


def backtest(settings: Mapping[str, float], traffic: Traffic, machine: Machine) -> fleet.Run[alone.Remembered]:
    """Run it over all of the traffic. It begins with the replicas that the first minute needs, as if it had run before."""
    deployment = deployment_of(settings, traffic, machine)
    low, high, target = (int(getattr(deployment, name)[0]) for name in ("min", "max", "concurrency"))
    begun = min(high, max(low, -(-int(traffic.at_first + 1) // target)))
    setup = fleet.Setup(machine.slots, lambda key: machine.cold_start_s, begun, PARAMS.sample_s)
    step = alone.by_plan(deployment, PARAMS)
    return fleet.run(traffic.demand, step, alone.NOTHING, setup, 0.0, traffic.span_s)
