"""Why a deployment had the size it had at a time of the past, and no more."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deployments.core import explain
from deployments.core.bounds import BY_OPERATOR
from deployments.core.plan import Bound
from deployments.core.reasons import Reason
from deployments.loop import history
from deployments.models import Decision, Deployment, TickRecord
from deployments.replay.again import Replay, decision_replay
from deployments.replay.packing import UnreadableError
from deployments.replay.recorded import from_bytes
from deployments.selectors import names_in
from deployments.shortage import SET_FIRST, Explanation, explanation_then
from deployments.shortage.limits import Limits, limits_at, said_of_holds, said_of_max
from deployments.shortage.load import asked_for, why_not_fewer
from deployments.trial import Trial

NEXT = 5
STEPS = (5, 60)  # seconds of a point of history, the finest first


@dataclass(frozen=True, slots=True)
class Load:
    """Requests, as the mean of the `seconds` from `at` on."""

    at: datetime
    seconds: int
    queued: float
    running: float


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
    limits: Limits  # of that time
    load: Load | None

    @property
    def wishes(self) -> int:
        """The size after damping, before holds and bounds."""
        return _number(self.decision, "damped_value")

    @property
    def asks(self) -> int | None:
        """Replicas that load asked for by itself; None without a signal."""
        return asked_for(self.decision.record)

    @property
    def fewer(self) -> str:
        return self.why.fewer if self.why else why_not_fewer(self.decision.record)

    @property
    def numbers_at(self) -> datetime:
        """Of when the numbers of the answer are."""
        return self.planned_at or self.decision.at

    @property
    def held_back(self) -> bool:
        """Whether it got less than it would have, had nothing stood in the way."""
        return self.decision.granted < max(self.decision.wanted, self.wishes)

    @property
    def missing_gpus(self) -> int:
        return (self.decision.wanted - self.decision.granted) * _number(self.decision, "gpu_count")

    @property
    def reason(self) -> Reason:
        """What decided: what somebody set, else capacity where it had a say, else what bound the size."""
        wanted = Reason(_number(self.decision, "wanted_code"))
        if self.limits.holds and wanted not in BY_OPERATOR:
            return Reason.FROZEN if self.limits.holds[0].size is None else Reason.PINNED
        return wanted if wanted in SET_FIRST else Reason(_number(self.decision, _deciding(self.decision)))

    @property
    def bound(self) -> Bound:
        if self.reason in BY_OPERATOR:
            return Bound.HOLD
        return Bound(_number(self.decision, "wanted_bound" if self.reason in SET_FIRST else "granted_bound"))

    @property
    def told(self) -> str:
        """What stood in the way, as far as the decision and what people had set tell it."""
        if self.limits.holds:
            return f"{said_of_holds(self.limits.holds, self.decision.wanted)} {self.text}"
        if self.reason in (Reason.SCHEDULED_MAX, Reason.SCHEDULED_SIZE):
            most = said_of_max(self.limits, self.decision.wanted)
            return f"{most[0].upper()}{most[1:]}. {self.text}"
        return self.text

    @property
    def held(self) -> str:
        """What held the size by then, where the numbers of the answer are from before it was held."""
        if self.why is None or self.why.code in BY_OPERATOR or not self.limits.holds:
            return ""
        return said_of_holds(self.limits.holds, self.decision.wanted)

    @property
    def helped(self) -> tuple[str, str] | None:
        """Kind and text of the change that would have helped, where the decision alone tells one: none where GPUs were short
        as well, since nobody knows who held them."""
        if self.limits.holds:
            one = self.limits.holds[0]
            what = "freeze" if one.size is None else "pin"
            return "hold", f"end the {what} by {one.created_by} ({one.reason})"
        if self.wishes <= self.decision.wanted or self.decision.granted < self.decision.wanted:
            return None
        where = {Reason.AT_MAX: ("max", ""), Reason.SCHEDULED_MAX: ("window", " in that schedule window")}
        kind, place = where.get(self.reason, ("", ""))
        return (kind, f"max {self.wishes}{place}") if kind else None

    @property
    def grew(self) -> Decision | None:
        """The first of the decisions that followed which gave more."""
        return next((one for one in self.after if one.granted > self.decision.granted), None)


def explanation_at(deployment: Deployment, at: datetime, *, platform: bool = False) -> Then | None:
    """None before the first decision. `deployment` is one of `deployments.selectors.deployment_get`."""
    at = at.astimezone(UTC)
    mine = Decision.objects.filter(deployment=deployment).select_related("deployment")
    decision = mine.filter(at__lte=at).order_by("-at", "-id").first()
    if decision is None:
        return None
    names = names_in([decision], deployment.organization)
    found = _pass(deployment, decision, at)
    planned_at, trial = found or (None, None)
    return Then(
        at=at, decision=decision, text=explain.verdict(decision.record, names), steps=explain.steps(decision.record, names),
        replay=decision_replay(decision), planned_at=planned_at,
        why=explanation_then(deployment, decision, trial, at, platform=platform) if trial else None,
        after=list(mine.filter(at__gt=at).order_by("at", "id")[:NEXT]), limits=limits_at(deployment, at),
        load=_load(deployment, at),
    )  # fmt: skip


def to_its_end(at: datetime, text: str) -> datetime:
    """A time that was given in whole seconds means that second to its end: what is listed under it belongs to it."""
    return at if "." in text else at.replace(microsecond=999_999)


def _load(deployment: Deployment, at: datetime) -> Load | None:
    """What was in flight, by the finest history that is kept."""
    for step in STEPS:
        points = history.series(deployment, at - timedelta(seconds=2 * step), at, step)
        if len(points):
            queued, running = points.gauges[-1, :2, 1].tolist()
            begins = datetime.fromtimestamp(int(points.at[-1]), UTC)
            return None if math.isnan(queued + running) else Load(begins, step, round(queued, 1), round(running, 1))
    return None


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
