"""The planner run ahead: what becomes of the replicas on instances that are given up.

Pure, and the planner is the one that the loop runs. Time passes as it would: a pass every five seconds while something
changes, models load for as long as they lately did, what is let go is gone at the next pass. Sizes stay what the first
pass wants, so the load is today's. What would happen anyway is found by running the same shard without the change, and
left out.
"""

from dataclasses import replace

import numpy as np

from deployments.core.params import Params
from deployments.core.snapshot import Snapshot
from deployments.impact.ahead import Ahead
from deployments.impact.change import Change, Forecast


def foresee(snapshot: Snapshot, params: Params, now: float, change: Change) -> Forecast:
    """What `change` does to the replicas of a shard."""
    after, before = Ahead(snapshot, now), Ahead(snapshot, now)
    after.begin(change)
    after.run(params)
    before.run(params, until=after.now)
    return _compared(after, before)


def _compared(after: Ahead, before: Ahead) -> Forecast:
    fewer = before.size() - after.size()
    keys = after.deployments.key.tolist()
    short = {keys[row]: int(fewer[row]) for row in np.flatnonzero(fewer > 0).tolist()}
    left, stops = dict(short), []
    for one in after.stops:
        if one.replica not in before.gone:
            waits = left.get(one.deployment, 0) > 0
            left[one.deployment] = left.get(one.deployment, 0) - 1
            stops.append(replace(one, waits=waits))
    moves = [one for one in after.moves if one.replica not in before.gone]
    instances = after.instance["key"].tolist()
    emptied = {instances[row]: at for row, at in after.emptied.items()}
    return Forecast(moves, stops, short, emptied, after.complete)
