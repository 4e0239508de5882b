"""Life cycles of an instance and of a claim, each as one table of allowed transitions.

Instance. A pool instance is requested when the pool grows, a customer instance when a claim needs it:

    REQUESTED  a row says that we want it; the node backend may or may not have heard of it yet
    JOINING    the backend has accepted; the machine boots and joins the cluster
    READY      in the cluster; holds replicas; a claim that holds it is billed
    DRAINING   in the cluster, takes no new replica; left when `gpus_used` is 0 or at the deadline
    FAILED     did not join, or vanished: not billed, not usable; released next
    RELEASING  the backend is being asked to take it away; no longer billed
    RELEASED   the backend has confirmed; the row stays as history and holds nothing

A pool instance that leaves a claim goes back to READY without a holder; a customer instance is released.
"""

from enum import StrEnum


class InstanceState(StrEnum):
    REQUESTED = "REQUESTED"
    JOINING = "JOINING"
    READY = "READY"
    DRAINING = "DRAINING"
    FAILED = "FAILED"
    RELEASING = "RELEASING"
    RELEASED = "RELEASED"


INSTANCE_TRANSITIONS: dict[InstanceState, frozenset[InstanceState]] = {
    InstanceState.REQUESTED: frozenset({InstanceState.JOINING, InstanceState.READY, InstanceState.RELEASING,
                                        InstanceState.FAILED}),
    InstanceState.JOINING: frozenset({InstanceState.READY, InstanceState.FAILED, InstanceState.RELEASING}),
    InstanceState.READY: frozenset({InstanceState.DRAINING, InstanceState.FAILED, InstanceState.RELEASING}),
    InstanceState.DRAINING: frozenset({InstanceState.READY, InstanceState.FAILED, InstanceState.RELEASING}),
    InstanceState.FAILED: frozenset({InstanceState.RELEASING}),
    InstanceState.RELEASING: frozenset({InstanceState.RELEASED}),
    InstanceState.RELEASED: frozenset(),
}  # fmt: skip

# Machines that still exist somewhere or may come to: until RELEASED, quota stays committed to them (C3, C11).
LIVE_STATES = frozenset(InstanceState) - {InstanceState.RELEASED}
PENDING_STATES = frozenset({InstanceState.REQUESTED, InstanceState.JOINING})
WANTED_STATES = PENDING_STATES | {InstanceState.READY}
HELD_STATES = frozenset({InstanceState.READY, InstanceState.DRAINING})


class Status(StrEnum):
    """The API's names (API.md "Status and conditions")."""

    CREATING = "STATUS_CREATING"
    UPDATING = "STATUS_UPDATING"
    DELETING = "STATUS_DELETING"
    ERROR = "STATUS_ERROR"
    FAILED = "STATUS_FAILED"
    READY = "STATUS_READY"


# The whole life of a claim. It begins as CREATING and its row goes only from DELETING; the database refuses every other
# step. CREATING never passes through UPDATING: polling clients treat that as a foreign change during a creation.
CLAIM_TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.CREATING: frozenset({Status.READY, Status.DELETING}),
    Status.READY: frozenset({Status.UPDATING, Status.DELETING}),
    Status.UPDATING: frozenset({Status.READY, Status.DELETING}),
    Status.DELETING: frozenset(),
    Status.ERROR: frozenset({Status.UPDATING, Status.READY, Status.DELETING}),
    Status.FAILED: frozenset({Status.DELETING}),
}


class ImpossibleStep(Exception):
    """A life cycle was about to take a step that its table does not have."""


def stepped(old: Status, new: Status) -> Status:
    """`new`, where a claim may go there from `old`, or is there already; ImpossibleStep otherwise."""
    if new != old and new not in CLAIM_TRANSITIONS[old]:
        raise ImpossibleStep(f"a claim does not go from {old} to {new}")
    return new
