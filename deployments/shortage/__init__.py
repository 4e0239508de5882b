"""Why a deployment has no more replicas, and what would change it (R19).

The shard is read as it is now and planned again by the planner itself, so that the answer is what the next pass would
do: a decision is written only when it changes, and load and capacity go on. The changes it names are tried the same way.
The number of queries depends on nothing. A pass of the past that is recorded is explained by the same code (`explanation_then`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from claims.models import Offering
from claims.selectors import quotas_of
from deployments.core import explain, history
from deployments.core.bounds import BY_OPERATOR
from deployments.core.plan import Bound, Plan
from deployments.core.reasons import Reason
from deployments.core.record import Row, decision_record, number
from deployments.core.states import ReplicaState
from deployments.models import Decision, Deployment, Replica
from deployments.selectors import decisions_of
from deployments.shortage.case import Case, Change
from deployments.shortage.changes import changes_for
from deployments.shortage.expected import Ahead, Expected, Line, ahead_in, expected_in, letting_go
from deployments.shortage.holders import Holder, Names, holders_of
from deployments.shortage.limits import Limits, limits_at
from deployments.shortage.load import asked_for, why_not_fewer
from deployments.shortage.past import came_in, names_then
from deployments.shortage.room import Room, elsewhere_of, rooms_of
from deployments.shortage.words import Facts, paragraph
from deployments.trial import Trial

QUIET = frozenset({Reason.NOTHING_ASKED, Reason.GRANTED, Reason.RELEASED})  # capacity had no say
# What somebody set, which is named first even where capacity keeps it from that size too.
SET_FIRST = frozenset({*BY_OPERATOR, Reason.SCHEDULED_MAX, Reason.SCHEDULED_SIZE})
__all__ = ["Ahead", "Change", "Expected", "Explanation", "Holder", "Room", "explanation_of", "explanation_then"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole answer, as of `at`. `code` is the reason that decides now, `decided` the one of the last decision."""

    at: datetime
    decision: Decision | None
    code: Reason
    decided: Reason | None
    bound: Bound  # the limit that goes with `code`
    text: str
    fewer: str  # why it has more than load asks for; empty where it has not
    wanted: int
    granted: int
    asks: int | None  # what load asks for by itself; None without a signal
    wishes: int  # the size after damping, before holds and bounds
    in_flight: int | None  # requests at the newest sample, and of these how many wait
    queued: int | None
    sampled: datetime | None
    limits: Limits
    gpu_count: int
    rooms: Sequence[Room]
    holders: Sequence[Holder]
    ahead: Sequence[Ahead]
    expected: Sequence[Expected]
    changes: Sequence[Change]
    steps: Sequence[explain.Step]  # every stage, with the numbers of `at`

    @property
    def look_ahead(self) -> explain.Step | None:
        """What is expected, and what it is made from; None where it does not look ahead."""
        return next((step for step in self.steps if step["stage"] == "look-ahead"), None)

    @property
    def running(self) -> int | None:
        return None if self.in_flight is None or self.queued is None else self.in_flight - self.queued

    @property
    def missing(self) -> int:
        """Replicas that are wanted and that capacity keeps from it."""
        return self.wanted - self.granted

    @property
    def missing_gpus(self) -> int:
        return self.missing * self.gpu_count

    @property
    def asked(self) -> int:
        """What it would have if nothing stood in the way."""
        return max(self.wanted, self.wishes)

    @property
    def told(self) -> int:
        """What `granted` is measured by: the size wanted where capacity is short, else what load asks for."""
        return self.wanted if self.about_capacity else self.asked

    @property
    def rooms_told(self) -> list[Room]:
        """Where there is something; every allowed one where there is nothing at all."""
        return [one for one in self.rooms if one.gpus] or [one for one in self.rooms if one.allowed]

    @property
    def about_capacity(self) -> bool:
        return self.granted < self.wanted

    @property
    def load_has_enough(self) -> bool:
        """Whether what load asks for by itself is there, though more is wanted."""
        return self.about_capacity and self.asks is not None and self.asks <= self.granted

    @property
    def queue_unserved(self) -> bool:
        """Requests wait, and it is not to run."""
        return self.bound == Bound.DISABLED and bool(self.queued)

    @property
    def held_back(self) -> bool:
        """Whether load asks for more than it has."""
        return self.granted < self.asked


def explanation_of(deployment: Deployment, now: datetime, *, platform: bool = False) -> Explanation | None:
    """None until the loop has decided for the first time. `platform` names other organizations.

    `deployment` is one of `deployments.selectors.deployment_get`.
    """
    decision = next(iter(decisions_of(deployment, 1)), None)
    trial = Trial.read(deployment.instance_type, now)
    row = trial.row_of(deployment.key)
    if decision is None or row is None:
        return None
    made, names = trial.plan(), Names.read(trial, deployment.organization, platform=platform)
    case = _case(trial, row, made, names, deployment, now)
    line = Line.read(trial, row, names, now)
    found = _explained(case, deployment, decision, line, now)
    if case.missing:
        return replace(found, expected=expected_in(line))
    return replace(found, text=_comes_free(decision)) if decision.granted < decision.wanted else found


def explanation_then(
    deployment: Deployment, decision: Decision, trial: Trial, at: datetime, *, platform: bool = False
) -> Explanation | None:
    """The same of a pass of the past (`trial`) that is not older than the decision; None where the deployment was not in
    it. Who held what is as it was then, the sizes of claims too; names and quota are those of today. `expected` says what was
    on its way, with the time at which it came."""
    row = trial.row_of(deployment.key)
    if row is None:
        return None
    made, names = trial.plan(), Names.read(trial, deployment.organization, platform=platform)
    names = names_then(names, deployment.organization, at)
    case = _case(trial, row, made, names, deployment, at)
    line = Line(trial, row, names, [], {})
    found = _explained(case, deployment, decision, line, at)
    return replace(found, expected=came_in(line, at) if case.missing else [])


def _explained(case: Case, deployment: Deployment, decision: Decision, line: Line, now: datetime) -> Explanation:
    made, row, short = case.made, case.row, case.missing > 0
    waiting, code = ahead_in(line, made), _deciding(made, row)
    first = Reason(int(made.wanted.code[row]))
    first = first if first in SET_FIRST else code
    record = decision_record(made, case.trial.snapshot, row)
    steps = explain.steps(record, {key: name for key, (_, name) in case.names.deployments.items()})
    facts = _facts(case, deployment, waiting, record, steps[0]["text"], letting_go(line), now)
    forgotten = int(history.forgotten_at_ms(made.state.memory)[row]) / 1000
    return Explanation(
        at=now, decision=decision, code=first, decided=_decided(decision),
        bound=Bound(int((made.wanted if first in SET_FIRST else made.granted).bound[row])),
        text=paragraph(first, facts, code if short else None),
        fewer=why_not_fewer(record, datetime.fromtimestamp(forgotten, UTC)), wanted=facts.wanted, granted=case.granted,
        asks=facts.asks, wishes=case.wishes, **_sample(record), limits=case.limits, gpu_count=facts.gpu_count,
        rooms=facts.rooms, holders=holders_of(case.trial, row, case.names) if short else [],
        ahead=waiting if short else [], expected=[], changes=changes_for(case), steps=steps,
    )  # fmt: skip


def _sample(record: Row) -> dict[str, Any]:
    """What was in flight at the newest sample."""
    flight, queued = number(record, "signal_in_flight"), number(record, "signal_queued")
    at = (number(record, "now_ms") - number(record, "signal_age_ms")) / 1000
    return {
        "in_flight": flight if flight >= 0 else None,
        "queued": queued if queued >= 0 else None,
        "sampled": datetime.fromtimestamp(at, UTC) if flight >= 0 else None,
    }


def _case(trial: Trial, row: int, made: Plan, names: Names, deployment: Deployment, now: datetime) -> Case:
    rows = Offering.objects.filter(instance_type=deployment.instance_type).select_related("zone", "instance_type")
    by_key = {one.key: one for one in rows}
    offerings = {place: by_key[key] for place, key in enumerate(trial.snapshot.offerings.key.tolist())}
    quotas = {one.offering.key: one for one in quotas_of(deployment.organization)}
    table = trial.snapshot.deployments
    wishes = max(int(made.damped.value[row]), int(table.min[row])) if table.enabled[row] else 0
    return Case(trial, row, made, wishes, names, limits_at(deployment, now), offerings, quotas)


def _facts(
    case: Case, deployment: Deployment, waiting: Sequence[Ahead], record: Row, signal: str, leaving: str, now: datetime
) -> Facts:
    failed = Replica.objects.filter(deployment=deployment, state=ReplicaState.FAILED, stopped_at__lte=now,
                                    retry_at__gt=now)  # fmt: skip
    granted = case.made.granted
    zones = {zone.upper() for one in deployment.gateways.all() for zone in one.sent_zones}
    return Facts(
        type_name=deployment.instance_type.name, size=deployment.instance_type.gpus, gpu_count=case.column("gpu_count"),
        wanted=int(case.made.wanted.value[case.row]), granted=case.granted, min=case.column("min"),
        max=case.column("max"), wishes=case.wishes, rooms=rooms_of(case.trial, case.row, case.made), asks=asked_for(record),
        tolerance=number(record, "tolerance_milli") / 10,
        gateway_zones=sorted(zones), waiting=[one.name for one in waiting if one.kind == "deployment"],
        limits=case.limits, failed=list(failed.order_by("retry_at")), signal=signal,
        other=_other(case, leaving),
        coming=int(granted.coming[case.row]), moves=int(granted.moves[case.row]),
        moves_short=int(granted.moves_short[case.row]), elsewhere=elsewhere_of(case.trial, case.row),
    )  # fmt: skip


def _other(case: Case, leaving: str) -> str:
    """What the deployment is called that is served first or gives way; `leaving`: those that let go already."""
    key = int(case.made.granted.other[case.row])
    own = key == case.column("key")
    return "it" if own else case.names.deployments.get(key, (None, leaving))[1]


def _comes_free(decision: Decision) -> str:
    """What was short when it was decided, and is not any more."""
    last = explain.steps(decision.record)[-1]["text"]
    return f"{last} That was then: planned again now it gets all {decision.wanted}; the next pass starts them."


def _deciding(made: Plan, row: int) -> Reason:
    """What stands in the way: capacity where it is short, else what bound the size."""
    code = Reason(int(made.granted.code[row]))
    if made.granted.value[row] < made.wanted.value[row] or code not in QUIET:
        return code
    return Reason(int(made.wanted.code[row]))


def _decided(decision: Decision) -> Reason:
    code = Reason(int(decision.record["granted_code"]))
    return Reason(int(decision.record["wanted_code"])) if code in QUIET else code
