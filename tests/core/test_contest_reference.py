"""The contest gives what the slow reference gives, replica for replica and place for place."""

from collections import Counter
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deployments.core.autoscaler_state import Kept
from deployments.core.snapshot import Snapshot
from tests.core.fleet import decide
from tests.core.random_shards import ALL, OPEN, SCARCE, shards
from tests.core.reference_contest import Contest
from tests.search import examples


@examples(50)
@given(st.sampled_from([ALL, SCARCE, OPEN]).flatmap(shards))
def test_r11_r14_r15_r16_the_contest_agrees_with_the_reference(shard: Snapshot) -> None:
    shard = replace(shard, state=replace(shard.state, kept=Kept.none()))
    answer = decide(shard)
    slow = Contest(shard, answer)
    slow.run()
    first = np.diff(answer.starts.replica, prepend=-1) > 0
    got = Counter(answer.starts.deployment[first].tolist())
    assert got == Counter({d: sum(ask.got.values()) for d, ask in slow.asks.items() if sum(ask.got.values())})
    columns = (answer.starts.instance, answer.starts.gpus, answer.starts.capacity_class)
    assert Counter(zip(*(column.tolist() for column in columns), strict=True)) == Counter(slow.taken)
