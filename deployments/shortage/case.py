"""A deployment that has less than it would have, and one change that would help it."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from claims.models import Offering
from claims.selectors import QuotaRow
from deployments.core.plan import Plan
from deployments.shortage.holders import Names
from deployments.shortage.limits import Limits
from deployments.trial import Trial

REPLACED = " (its replicas are replaced one by one then)"  # a change of classes rolls (R10)


@dataclass(frozen=True, slots=True)
class Change:
    """One change and how many replicas more it would give. `kind` and `id` say where it is made, `values` what is set
    there, by field."""

    kind: str  # max, hold, window, enable, classes, claim, quota, zones, other, priority, gpus
    text: str
    replicas: int
    id: uuid.UUID | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    later: int = 0  # of these only once instances have joined
    first: Mapping[str, str] = field(default_factory=dict)  # of the deployment itself, to be set before

    @property
    def now(self) -> int:
        return self.replicas - self.later


def fewest(most: int, gain: Callable[[int], int]) -> int:
    """The least that gives as many replicas as `most`, at least 1; more never gives less."""
    top, low, high = gain(most), 1, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if gain(middle) >= top else (middle + 1, high)
    return low


@dataclass(frozen=True, slots=True)
class Case:
    """A deployment that has less than it would have."""

    trial: Trial
    row: int
    made: Plan  # as things are
    wishes: int  # the size that load asks for, before holds and bounds
    names: Names
    limits: Limits
    offerings: dict[int, Offering]  # of the type, by row of the snapshot
    quotas: dict[int, QuotaRow]  # by key of the offering

    @property
    def granted(self) -> int:
        return int(self.made.granted.value[self.row])

    @property
    def missing(self) -> int:
        """Replicas that capacity keeps from it."""
        return int(self.made.wanted.value[self.row]) - self.granted

    @property
    def withheld(self) -> int:
        """Replicas that load asks for, and holds and max keep from it."""
        return max(0, self.wishes - int(self.made.wanted.value[self.row]))

    def column(self, name: str) -> int:
        return int(getattr(self.trial.snapshot.deployments, name)[self.row])

    def gain(self, trial: Trial) -> int:
        return int(trial.plan().granted.value[self.row]) - self.granted
