"""How far a change has got: how many replicas carry the newest revision, and which take the place of which (R10)."""

from collections.abc import Sequence
from dataclasses import dataclass

from deployments.core.states import LIVE, ReplicaState
from deployments.models import Deployment, Replica


@dataclass(frozen=True, slots=True)
class Pair:
    """A replica and the one that takes its place."""

    old: Replica
    new: Replica


@dataclass(frozen=True, slots=True)
class Rollout:
    """`carrying` of `live` replicas have the newest revision; `restarts` are to be renewed by an operator's wish."""

    revision: int
    carrying: int
    live: int
    ready: int  # of those that carry it
    restarts: int
    pairs: Sequence[Pair]

    @property
    def outdated(self) -> int:
        return self.live - self.carrying

    @property
    def under_way(self) -> bool:
        return self.outdated > 0 or bool(self.pairs)


def rollout_of(deployment: Deployment, replicas: Sequence[Replica]) -> Rollout:
    """From the replicas that hold GPUs."""
    live = [one for one in replicas if one.state in LIVE]
    current = [one for one in live if one.revision >= deployment.revision]
    by_key = {one.key: one for one in replicas}
    return Rollout(
        revision=deployment.revision,
        carrying=len(current),
        live=len(live),
        ready=sum(one.state == ReplicaState.READY for one in current),
        restarts=sum(one.revision == 0 for one in live),
        pairs=[Pair(by_key[one.replaces_id], one) for one in live if one.replaces_id in by_key],
    )
