"""The life of a replica, as one table.

A replica is asked for, loads its model, serves, is drained and ends::

    STARTING -> READY -> DRAINING -> STOPPED
        |         |          |
        |         +----------+-----> FAILED     (three crashes, or its instance was lost)
        +-> DRAINING                            (withdrawn before it served: its GPUs are held until it is gone)
        +-> FAILED                              (loading took too long, R8)

STARTING   the row exists and holds its GPUs; the runtime was, or is about to be, asked for it and loads the
model.
           It is capacity on the way (R6).
READY      it answers requests.
DRAINING   it takes no new request and finishes those it runs. It holds its GPUs, but counts for nothing else.
STOPPED    over as intended; its GPUs are released.
FAILED     over, and not as intended; its GPUs are released and a replacement is tried with back-off (R8).

A READY replica never goes back to STARTING: a restart that is meant is a new replica, a crash that recovers
by itself stays READY or becomes FAILED. Whether STOPPED and FAILED rows are kept is the caller's business;
the planner ignores them.
"""

from enum import IntEnum


class ReplicaState(IntEnum):
    """State of a replica; the numbers are stored and never change their meaning."""

    STARTING = 1
    READY = 2
    DRAINING = 3
    STOPPED = 4
    FAILED = 5


ALLOWED: dict[ReplicaState, frozenset[ReplicaState]] = {
    ReplicaState.STARTING: frozenset({ReplicaState.READY, ReplicaState.DRAINING, ReplicaState.FAILED}),
    ReplicaState.READY: frozenset({ReplicaState.DRAINING, ReplicaState.FAILED}),
    ReplicaState.DRAINING: frozenset({ReplicaState.STOPPED, ReplicaState.FAILED}),
    ReplicaState.STOPPED: frozenset(),
    ReplicaState.FAILED: frozenset(),
}

# Counts towards the size of a deployment.
LIVE = frozenset({ReplicaState.STARTING, ReplicaState.READY})
# Holds GPUs of an instance.
HOLDING = frozenset({ReplicaState.STARTING, ReplicaState.READY, ReplicaState.DRAINING})
FINAL = frozenset(state for state, following in ALLOWED.items() if not following)


class IllegalTransitionError(ValueError):
    """A replica was to take a step that the table does not have."""

    def __init__(self, old: ReplicaState, new: ReplicaState) -> None:
        super().__init__(f"a replica does not go from {old.name} to {new.name}")
        self.old = old
        self.new = new


def step(old: ReplicaState, new: ReplicaState) -> ReplicaState:
    """Return `new` when the table allows the step from `old`; raise IllegalTransitionError otherwise."""
    if new not in ALLOWED[old]:
        raise IllegalTransitionError(old, new)
    return new


def sources(new: ReplicaState) -> frozenset[ReplicaState]:
    """States from which `new` can be reached in one step: the condition of a conditional UPDATE."""
    return frozenset(old for old, following in ALLOWED.items() if new in following)
