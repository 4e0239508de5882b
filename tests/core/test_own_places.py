"""R10 and R11: what a rollout let go of is its own place, which is neither shared nor kept for others."""

from dataclasses import replace

import pytest

from deployments.core.autoscaler_state import Kept
from deployments.core.plan import Plan
from deployments.core.reasons import Reason
from deployments.core.snapshot import Deployments, Instances, Replicas
from tests.core.fleet import NOW, decide, deployments, instances, offerings, replicas, seen, shard, steady

NEW = {"revision": 2, "max": 9}
FULL = {"org": 1, "gpus": 2, "gpus_used": 2}


def with_own_place(fleet: Deployments, active: list[float], have: Replicas, machines: Instances, of: int) -> Plan:
    """The plan where the last instance is kept for deployment `of` alone, which let one go there five seconds ago."""
    before = seen(shard(fleet, steady(active), have, machines, offerings(1)))
    since = int(NOW * 1000) - 5000
    kept = Kept.build(instance=[len(machines)], deployment=[of + 1], since_ms=[since], exclusive=[1])
    return decide(replace(before, state=replace(before.state, kept=kept)))


@pytest.mark.parametrize("priority", [0, 1])
def test_r10_r11_its_own_place_is_not_shared_with_those_of_its_priority(priority: int) -> None:
    """By largest remainder the other one, which lacks ten times as much, would start there and one more would go."""
    fleet = deployments({**NEW, "priority": priority}, {})
    machines = instances(FULL, {"org": 1, "gpus": 1, "gpus_used": 1}, {"gpus": 1})
    have = replicas({"instance": 0}, {"instance": 0}, {"instance": 1, "deployment": 1})
    answer = with_own_place(fleet, [24, 88], have, machines, of=0)
    assert answer.wanted.value.tolist() == [3, 11]
    assert answer.granted.value.tolist() == [3, 1]
    assert answer.starts.instance.tolist() == [2]
    assert len(answer.stops) == 0


def test_r10_r11_its_own_place_comes_before_what_it_has_to_share() -> None:
    """Of 31 shared GPUs the divisors give the sixth of ten small ones one, and the largest remainder takes it back."""
    lacks = [1] * 10 + [50]
    machines = instances({"gpus": 11, "gpus_used": 11, "org": 1}, *({"gpus": 1, "org": 1} for _ in range(32)))
    have = replicas(*({"instance": 0, "deployment": d} for d in range(11)))
    fleet = deployments(*({"max": 1000} for _ in lacks))
    answer = with_own_place(fleet, [8 * (lack + 1) for lack in lacks], have, machines, of=5)
    assert answer.granted.value.tolist() == [2] * 6 + [1] * 4 + [27]
    assert answer.starts.deployment[answer.starts.instance == 32].tolist() == [5]


@pytest.mark.parametrize("priority", [0, 9])
def test_r10_its_own_place_is_not_kept_for_a_min_that_cannot_use_it(priority: int) -> None:
    """Else it stays empty. A higher priority may have one of another place, which R13 lets go."""
    fleet = deployments(NEW, {"priority": priority})
    machines = instances(FULL, {"gpus": 1})
    answer = with_own_place(fleet, [24, 8], replicas({"instance": 0}, {"instance": 0}), machines, of=0)
    assert answer.starts.deployment.tolist() == [0]
    assert answer.granted.value.tolist() == [2 if priority else 3, 0]
    assert answer.stops.code.tolist() == ([Reason.STOP_RECLAIMED] if priority else [])
