"""The planner run ahead: what becomes of the replicas on instances that are given up.

Pure, and the planner is the one that the loop runs. Time passes as it would: a pass every five seconds while something
changes, models load for as long as they lately did, what is let go is gone at the next pass. The load stays what it is.
So sizes shrink once their scale-down delay is over (R4), and what only a delay keeps is let go sooner where a higher
priority waits (R12), as is what runs above its min where one lacks its min (R13), whenever that comes about.
What would happen anyway is found by running the same shard without the change, and left out.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from deployments.core.params import Params
from deployments.core.snapshot import Snapshot
from deployments.impact.ahead import Ahead
from deployments.impact.change import Change, Forecast, Stop


def foresee(snapshot: Snapshot, params: Params, now: float, change: Change) -> Forecast:
    """What `change` does to the replicas of a shard."""
    after, before = Ahead(snapshot, now), Ahead(snapshot, now)
    after.begin(change)
    before.begin(change.unmade())
    after.run(params)
    before.run(params, until=after.now)
    return _compared(after, before)


def _compared(after: Ahead, before: Ahead) -> Forecast:
    fewer = before.size() - after.size()
    keys = after.deployments.key.tolist()
    short = {keys[row]: int(fewer[row]) for row in np.flatnonzero(fewer > 0).tolist()}
    instances = after.instance["key"].tolist()
    return Forecast(
        moves=sorted(
            (one for one in after.moves if one.replica not in before.gone), key=lambda one: (one.at, one.replica)
        ),
        stops=_stops(after, before, short),
        short=short,
        emptied={instances[row]: at for row, at in after.emptied.items()},
        complete=after.complete,
    )


def _stops(after: Ahead, before: Ahead, short: Mapping[int, int]) -> list[Stop]:
    """Who goes because of the change, and whether it starts anew: on what was started beyond what would be anyway."""
    anew = {key: places[len(before.started.get(key, [])) :] for key, places in after.started.items()}
    left, stops = dict(short), []
    for one in after.stops:
        if one.replica in before.gone:
            continue
        places = anew.get(one.deployment, [])
        to = one.to or (places.pop(0) if places else ())
        waits = not to and left.get(one.deployment, 0) > 0
        left[one.deployment] = left.get(one.deployment, 0) - waits
        stops.append(replace(one, to=to, waits=waits))
    return stops
