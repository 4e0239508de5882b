"""What is said of a decision can be worked out by hand: the numbers in a sentence give its result."""

import re
from fractions import Fraction
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from deployments.core.explain import Step, steps
from deployments.core.reasons import Reason
from deployments.core.record import decision_record
from tests.core.fleet import STARTING, decide, deployments, replicas, series, shard

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")
SETTINGS = {
    "startup_s": st.sampled_from([2.0, 60.0, 180.0]),
    "service_s": st.sampled_from([0.5, 4.0, 30.0]),
    "concurrency": st.integers(1, 9),
    "ahead": st.sampled_from([0.0, 0.99]),
    "burst_factor": st.sampled_from([1.5, 1000.0]),
}


def numbers(text: str) -> list[Fraction]:
    return [Fraction(found) for found in NUMBER.findall(text)]


@given(
    st.fixed_dictionaries(SETTINGS),
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 60)), min_size=14, max_size=14),
    st.integers(0, 40),
    st.tuples(st.integers(0, 12), st.integers(0, 6)),
)
def test_the_numbers_of_a_sentence_give_its_result(
    settings: dict[str, float], samples: list[tuple[int, int]], always: int, have: tuple[int, int]
) -> None:
    active, queued = [one for one, _ in samples], [always + more * (always == 0) for _, more in samples]
    there = replicas(*[{}] * have[0], *[{"state": STARTING}] * have[1])
    snapshot = shard(deployments(settings), series(active, queued), there)
    said = {step["stage"]: step for step in steps(decision_record(decide(snapshot), snapshot, 0))}
    sizes = _need(said["need"]) | _ahead(said.get("look-ahead"))
    _asked(said["damping"], sizes)


def _need(step: Step) -> set[int]:
    found = numbers(step["text"])
    if step["code"] == Reason.NEED_MEAN.name:
        stable, _, burst, _, target, by_stable, by_burst = found
        assert by_stable == ceil(stable / target)
        assert by_burst == ceil(burst / target)
        return {int(by_stable), int(by_burst)}
    (stable, _, burst, _, standing, _, taken, rest, work, span, spread,
     *sum_, counted, target, result) = found  # fmt: skip
    assert standing == taken + rest
    assert spread == ceil(rest * work / span)
    assert sum_ == [taken, spread, standing, burst, standing, taken, spread]
    assert counted == burst - standing + taken + spread
    assert result == ceil(counted / target)
    return {int(result), ceil(stable / target), ceil(burst / target)}


def _ahead(step: Step | None) -> set[int]:
    if step is None:
        return set()
    _, expected, level, _, margin, _, slots, result = numbers(step["text"])
    assert expected == level + margin
    assert result == ceil(expected / slots)
    return {int(result)}


def _asked(step: Step, sizes: set[int]) -> None:
    """What load asks for in the sentence is one of the sizes that were told before, or what there is."""
    recommended, base = step["numbers"]["recommended"], step["numbers"]["base"]
    assert recommended in sizes | {base}
    if step["code"] in ("GROW", "GROW_BURST", "GROW_QUEUE", "GROW_AHEAD"):
        assert recommended in sizes
        assert str(recommended) in step["text"]
