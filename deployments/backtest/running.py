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


def bounds(settings: Mapping[str, float], traffic: Traffic, machine: Machine) -> tuple[int, int]:
    """min and max; where none is set, 1 and twice what the busiest minute needs."""
    low = int(settings.get("min", 1))
    return low, int(settings.get("max", max(low, -(-2 * int(traffic.at_most + 1) // machine.slots))))


def begun(traffic: Traffic, low: int, high: int, target: int) -> int:
    """Replicas that the first minute needs, which are there when a run begins, as if it had run before."""
    return min(high, max(low, -(-int(traffic.at_first + 1) // target)))


def deployment_of(settings: Mapping[str, float], traffic: Traffic, machine: Machine) -> Deployments:
    """The planner's table of one row. The concurrency is what leaves `slots`, where none is set (R2)."""
    low, high = bounds(settings, traffic, machine)
    columns = {
        "concurrency": concurrency_of(machine.slots),
        **settings,
        "min": low,
        "max": high,
        "slots": machine.slots,
    }
    return Deployments.build(
        key=[1], org=[1], gpu_count=[machine.gpus], startup_s=[machine.cold_start_s],
        **{name: [value] for name, value in columns.items()},
    )  # fmt: skip


def backtest(settings: Mapping[str, float], traffic: Traffic, machine: Machine) -> fleet.Run[alone.Remembered]:
    """Run it over all of the traffic."""
    deployment = deployment_of(settings, traffic, machine)
    low, high, target = (int(getattr(deployment, name)[0]) for name in ("min", "max", "concurrency"))
    setup = fleet.Setup(
        machine.slots, lambda key: machine.cold_start_s, begun(traffic, low, high, target), PARAMS.sample_s
    )
    return fleet.run(
        traffic.demand, alone.by_stages(deployment, PARAMS), alone.nothing(deployment), setup, 0.0, traffic.span_s
    )
