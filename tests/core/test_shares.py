"""R11: equal priorities share growth by largest remainder, against fractions and a sort."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.fleet import decide, deployments, instances, running, shard, steady
from tests.search import examples


def largest_remainder(lacks: list[int], total: int) -> list[int]:
    exact = [Fraction(total * lack, sum(lacks)) for lack in lacks]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(lacks)), key=lambda i: (-(exact[i] - shares[i]), i))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def webster(lacks: list[int], total: int) -> list[int]:
    got = [0] * len(lacks)
    for _ in range(total):
        able = [i for i, lack in enumerate(lacks) if got[i] < lack]
        got[min(able, key=lambda i: (Fraction(2 * got[i] + 1, lacks[i]), i))] += 1
    return got


def shared(lacks: list[int], total: int, **more: int) -> list[int]:
    """What deployments that lack so many above their min of one get of so many GPUs."""
    fleet = deployments(*({"max": 1000, **more} for _ in lacks))
    loads = [8 * (lack + 1) for lack in lacks]
    gpus = total * more.get("gpu_count", 1)
    machines = instances(*({"gpus": more.get("gpu_count", 1), "org": 1} for _ in range(total)))
    assert gpus == machines.gpus.sum()
    answer = decide(shard(fleet, steady(loads), running(*[1] * len(lacks)), machines))
    return [int(value) - 1 for value in answer.granted.value]


@examples(50)
@given(st.integers(0, 2**32))
def test_r11_equal_priorities_share_by_largest_remainder(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lacks = rng.choice([1, 1, 2, 2, 3, int(rng.integers(1, 60))], int(rng.integers(2, 9))).tolist()
    total = int(rng.integers(0, sum(lacks) + 1))
    got = shared(lacks, total)
    assert got == largest_remainder(lacks, total)
    assert all(abs(have - Fraction(total * lack, sum(lacks))) < 1 for have, lack in zip(got, lacks, strict=True))


def test_r11_divisors_alone_would_be_more_than_a_replica_off() -> None:
    """Why the contest's own order (Webster's) is not enough: see docs/decisions."""
    lacks, total = [55, 1, 1, 3, 2, 3, 1, 1], 32
    assert webster(lacks, total) == [28, 1, 0, 1, 1, 1, 0, 0]
    assert shared(lacks, total) == largest_remainder(lacks, total) == [26, 1, 1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("more", [{"priority": 7}, {"gpu_count": 4}, {"zones": 1}])
def test_r11_whatever_they_have_in_common_they_share(more: dict[str, int]) -> None:
    assert shared([3, 1, 1, 1], 2, **more) == [1, 1, 0, 0]


def test_r11_who_lacks_its_min_has_no_share_of_growth() -> None:
    fleet = deployments({"max": 9}, {"max": 9}, {"gpu_count": 8, "max": 9})
    machines = instances({"org": 1, "gpus": 3})
    answer = decide(shard(fleet, steady([48, 24, 24]), running(1, 1, 0), machines))
    assert answer.granted.value.tolist() == [1, 1, 0]  # kept for the min of the third
