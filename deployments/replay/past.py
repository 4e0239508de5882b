"""Why a deployment had the size it had at a time of the past, and no more."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from deployments.core import explain
from deployments.core.reasons import Reason
from deployments.models import Decision, Deployment, TickRecord
from deployments.replay.again import Replay, decision_replay
from deployments.replay.packing import UnreadableError
from deployments.replay.recorded import from_bytes
from deployments.selectors import names_of
from deployments.shortage import Explanation, explanation_then
from deployments.trial import Trial

NEXT = 5
LOWERED = (Reason.AT_MAX, Reason.SCHEDULED_MAX)


@dataclass(frozen=True, slots=True)
class Then:
    """`decision` was the newest at the time. `why` comes from the newest recorded pass that is not older than it
    (`planned_at`); None where none is recorded. `after` are the decisions that followed, the first first."""

    at: datetime
    decision: Decision
    text: str
    steps: Sequence[explain.Step]
    replay: Replay
    planned_at: datetime | None
    why: Explanation | None
    after: Sequence[Decision]

    @property
    def wishes(self) -> int:
        """Replicas that load asked for, before holds and bounds."""
        return _number(self.decision, "damped_value")

    @property
    def missing_gpus(self) -> int:
        return (self.decision.wanted - self.decision.granted) * _number(self.decision, "gpu_count")

    @property
    def reason(self) -> Reason:
        """What decided: capacity where it had a say, else what bound the size."""
        return Reason(_number(self.decision, _deciding(self.decision)))

    @property
    def max_that_helps(self) -> int | None:
        """Where max alone stood in the way: what it would have had to be."""
        lowered = Reason(_number(self.decision, "wanted_code")) in LOWERED
        return self.wishes if lowered and self.wishes > self.decision.wanted else None

    @property
    def grew(self) -> Decision | None:
        """The first of the decisions that followed which gave more."""
        return next((one for one in self.after if one.granted > self.decision.granted), None)


def explanation_at(deployment: Deployment, at: datetime, *, platform: bool = False) -> Then | None:
    """None before the first decision. `deployment` is one of `deployments.selectors.deployment_get`."""
    mine = Decision.objects.filter(deployment=deployment).select_related("deployment")
    decision = mine.filter(at__lte=at).order_by("-at", "-id").first()
    if decision is None:
        return None
    names = names_of(deployment.organization, {int(str(decision.record.get("granted_other", -1)))})
    found = _pass(deployment, decision, at)
    planned_at, trial = found or (None, None)
    return Then(
        at=at, decision=decision, text=explain.line(decision.record, names), steps=explain.steps(decision.record, names),
        replay=decision_replay(decision), planned_at=planned_at,
        why=explanation_then(deployment, decision, trial, at, platform=platform) if trial else None,
        after=list(mine.filter(at__gt=at).order_by("at", "id")[:NEXT]),
    )  # fmt: skip


def _pass(deployment: Deployment, decision: Decision, at: datetime) -> tuple[datetime, Trial] | None:
    """The newest recorded pass by then that still has the decision in it."""
    ticks = TickRecord.objects.filter(instance_type=deployment.instance_type, at__gte=decision.at, at__lte=at)
    tick = ticks.order_by("-at", "-id").first()
    if tick is None:
        return None
    try:
        recorded = from_bytes(bytes(tick.payload))
    except UnreadableError:
        return None
    return tick.at, Trial(recorded.snapshot, recorded.now)


def _number(decision: Decision, name: str) -> int:
    return int(str(decision.record[name]))


def _deciding(decision: Decision) -> str:
    quiet = (Reason.NOTHING_ASKED, Reason.GRANTED, Reason.RELEASED)
    return "wanted_code" if Reason(_number(decision, "granted_code")) in quiet else "granted_code"
