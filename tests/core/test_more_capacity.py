"""R11: more capacity never gives a higher priority less.

Told of one organization (R14 shares between several, so that one more instance may go to another). Replicas of
different sizes do not pack evenly, so that one more large replica of a higher priority may cost lower ones some of
theirs; those of one size do, and then nobody has less.
"""

from dataclasses import replace

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from deployments.core.autoscaler_state import Kept
from deployments.core.reasons import Reason
from deployments.core.snapshot import Instances, InstanceState, Snapshot, Source
from tests.core.fleet import decide
from tests.core.random_shards import OPEN, SCARCE, Odds, random_shard
from tests.search import examples

LET_GO = (Reason.STOP_MAKES_ROOM, Reason.STOP_YIELDED, Reason.STOP_RECLAIMED)
ONE_ORG = [replace(odds, most_orgs=1, any_class=1.0) for odds in (SCARCE, OPEN)]
ONE_SIZE = [replace(odds, sizes=(size,)) for odds in ONE_ORG for size in (1, 2)]


def shard_of(seed: int, odds: Odds) -> Snapshot:
    """A random shard for whose deployments nothing is kept."""
    shard = random_shard(seed, odds)
    return replace(shard, state=replace(shard.state, kept=Kept.none()))


def with_one_more(shard: Snapshot, seed: int) -> Snapshot:
    """The same shard with one more instance that is free: of the pool, or of a claim of the organization."""
    rng, old = np.random.default_rng(seed), shard.instances
    claimed = bool(rng.random() < 0.3)
    new = Instances.build(
        key=[int(old.key.max()) + 1],
        offering=[int(rng.integers(len(shard.offerings)))],
        org=[1 if claimed else 0],
        claim=[9 if claimed else 0],
        gpus=[int(old.gpus[0])],
        source=[Source.POOL],
        state=[InstanceState.READY],
    )
    both = Instances(**{name: np.concatenate([values, getattr(new, name)]) for name, values in old.items()})
    return replace(shard, instances=both)


def served(shard: Snapshot) -> list[int]:
    """GPUs that each deployment has and gets, in the order in which R11 serves: mins, then growth by priority.

    Equal priorities share growth, so theirs is one number. What is let go for others (R10, R12, R13) is counted in:
    it goes in later passes as well, and whom it helps is not there yet.
    """
    answer, fleet = decide(shard), shard.deployments
    got = answer.granted.value.copy()
    let_go = np.isin(answer.stops.code, LET_GO)
    np.add.at(got, shard.replicas.deployment[answer.stops.replica[let_go]], 1)
    order = np.lexsort((fleet.key, fleet.created_at, -fleet.priority))
    low = np.minimum(got, np.minimum(fleet.min, answer.wanted.value))
    above = (got - low) * fleet.gpu_count
    growth = [int(above[fleet.priority == each].sum()) for each in sorted({*fleet.priority.tolist()}, reverse=True)]
    return [*(low * fleet.gpu_count)[order].tolist(), *growth]


@examples(40)
@given(st.integers(0, 2**32), st.sampled_from(ONE_ORG))
@example(75, ONE_ORG[1])
def test_r11_of_more_capacity_the_first_that_it_makes_a_difference_to_has_more(seed: int, odds: Odds) -> None:
    shard = shard_of(seed, odds)
    assert served(with_one_more(shard, seed)) >= served(shard)


@examples(40)
@given(st.integers(0, 2**32), st.sampled_from(ONE_SIZE))
def test_r11_with_more_capacity_nobody_has_less_where_all_are_of_one_size(seed: int, odds: Odds) -> None:
    shard = shard_of(seed, odds)
    more, less = served(with_one_more(shard, seed)), served(shard)
    assert all(b >= a for a, b in zip(less, more, strict=True))
