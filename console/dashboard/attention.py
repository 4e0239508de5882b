"""What needs somebody's attention first, worst first.

A notice is about something (`subject`), has an `occurrence` that is another one when it happens anew, and a level. An
acknowledgement names all three, so that what happens again, or gets worse, shows again; a snooze names subject and
level alone, so that it is quiet until its time whatever happens, unless it gets worse.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Max
from django.urls import reverse

from claims.budgets import BudgetState
from claims.core.conditions import DEGRADED, TRUE
from claims.core.quota import Level, level
from claims.core.states import Status
from claims.models import CapacityClaim, ClaimKind, QuotaChange, UsageInterval, UsageKind
from claims.selectors import QuotaRow, claim_numbers
from claims.use import UNDER_USED, Use, last_good_days, use_of_day
from console.common.money import to_cents
from console.common.words import counted
from console.dashboard.lateness import SCALE, Late
from console.dashboard.models import Attention
from console.dashboard.signals import signals_lost
from console.dashboard.windows import windows_lacking
from console.organizations.models import AuditEvent, Organization
from deployments.core.plan import SHORT
from deployments.models import Hold, HoldKind
from deployments.selectors import Brief, last_ready, shortages_of

LEVELS = ("info", "warn", "bad")
NEVER = "never"
QUOTA_LEVELS = {Level.OVER: "bad", Level.FULL: "bad", Level.ALARM: "bad", Level.NOTICE: "warn"}

BUDGET_LEVELS = {50: "info", 80: "warn", 100: "bad"}


@dataclass(frozen=True, slots=True)
class Notice:
    """`level` is a state class: info, warn or bad. `page`: the name of the one where it is seen, and what that takes;
    `part` is where on it. `since`: when it began, where that is known."""

    level: str
    subject: str
    occurrence: str
    title: str
    text: str
    page: tuple[Any, ...]
    since: datetime | None = None
    until: datetime | None = None
    about: str = ""  # what it is about, by name
    part: str = ""

    @property
    def url(self) -> str:
        """Made where it is shown: of a thousand notices, few are."""
        name, *arguments = self.page
        return reverse(name, args=arguments) + self.part

    @property
    def kind(self) -> str:
        return self.subject.partition(":")[0]

    @property
    def key(self) -> str:
        """What an acknowledgement of it is called."""
        return f"seen {self.subject} {self.occurrence} {self.level}"

    @property
    def snooze_key(self) -> str:
        return f"later {self.subject} {self.level}"

    def hiding_keys(self) -> list[str]:
        """What would hide it: an acknowledgement of this occurrence or a snooze, at its level or a worse one."""
        worse = LEVELS[LEVELS.index(self.level) :]
        return [key for one in worse for key in (f"seen {self.subject} {self.occurrence} {one}", f"later {self.subject} {one}")]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hidden:
    notice: Notice
    by: Attention


@dataclass(slots=True)
class Board:
    """Notices to show, and those that somebody has dealt with."""

    shown: list[Notice] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Facts:
    """What notices are made of, as the overview has read it."""

    organization: Organization
    now: datetime
    late: Sequence[Late]
    deployments: Sequence[Brief]
    claims: Sequence[CapacityClaim]
    quotas: Sequence[QuotaRow]
    holds: Sequence[Hold]
    missing_price: str = ""
    budget: BudgetState | None = None


def notices(facts: Facts) -> list[Notice]:
    """Worst first, then what began first. The number of queries does not depend on how much there is."""
    touched = last_changes(facts)
    found = [*_late(facts), *_unpriced(facts), *_short(facts), *_lost_signals(facts), *_failing(facts),
             *_degraded(facts), *_under_used(facts, touched), *_quota(facts, touched), *_windows(facts), *_holds(facts), *_waiting(facts, touched), *_budget(facts)]  # fmt: skip
    return sorted(found, key=lambda one: (-LEVELS.index(one.level), one.since or facts.now, one.subject))


def board(organization: Organization, found: Iterable[Notice], now: datetime) -> Board:
    """Notices parted into those to show and those that are hidden: one query."""
    rows = {row.key: row for row in Attention.objects.filter(organization=organization).select_related("user")}
    made = Board()
    for notice in found:
        by = next((rows[key] for key in notice.hiding_keys() if key in rows and holds(rows[key], now)), None)
        if by is None:
            made.shown.append(notice)
        else:
            made.hidden.append(Hidden(notice, by))
    return made


def holds(row: Attention, now: datetime) -> bool:
    return row.snoozed_until is None or row.snoozed_until > now


def _late(facts: Facts) -> list[Notice]:
    return [
        Notice("bad", f"loop:{one.kind}", f"{one.since.isoformat()}+{len(one.parts)}", f"The loop {one.name} is late",
               f"{one.meaning}; what you see may be old", ("overview",), one.since, about=one.name)
        for one in facts.late
    ]  # fmt: skip


def _unpriced(facts: Facts) -> list[Notice]:
    if not facts.missing_price:
        return []
    return [Notice("bad", "price", facts.missing_price[:80], "Amounts are not known", facts.missing_price,
                   ("billing",))]  # fmt: skip


def is_short(one: Brief) -> bool:
    wanted, granted = one.last_wanted or 0, one.last_granted or 0
    return one.last_bound in SHORT and granted < wanted and not one.disabled


def _short(facts: Facts) -> list[Notice]:
    """An occurrence lasts from one decision that gave everything to the next."""
    short = {one.key: one for one in facts.deployments if is_short(one)}
    found = []
    for key, last_enough, since in shortages_of(list(short)):
        one = short[key]
        below = one.ready < one.min
        text = f"{one.last_granted} of {one.last_wanted} wanted replicas have GPUs"
        text += "; fewer than its min run" if below else ""
        found.append(Notice("bad" if below else "warn", f"short:{one.id}", str(last_enough),
                            f"{one.name} is short of capacity", text, ("deployment", one.id), since, about=one.name))  # fmt: skip
    return found


def _lost_signals(facts: Facts) -> list[Notice]:
    """Not where the loop itself is late: then nothing is sampled, and the loop is the notice."""
    late = {part for one in facts.late if one.kind == SCALE for part in one.parts}
    sampled = [one for one in facts.deployments if one.type not in late]
    lost = signals_lost(sampled, facts.now)
    return [
        Notice("bad", f"signals:{one.id}", lost[one.key].isoformat() if lost[one.key] else NEVER,  # type: ignore[union-attr]
               f"Signals of {one.name} are lost", "no usable sample has come; its size is held as it is",
               ("deployment", one.id), lost[one.key], about=one.name)
        for one in sampled
        if one.key in lost
    ]  # fmt: skip


def _failing(facts: Facts) -> list[Notice]:
    """An occurrence lasts from one replica that became ready to the next."""
    failing = [one for one in facts.deployments if one.failing]
    last = last_ready([one.key for one in failing])
    return [
        Notice("bad", f"failing:{one.id}", str(last.get(one.key, NEVER)), f"Replicas of {one.name} fail", one.failing,
               ("deployment", one.id), about=one.name)
        for one in failing
    ]  # fmt: skip


def condition(claim: CapacityClaim, type_: str, reason: str) -> str:
    """The message of a condition that is there for this reason; empty otherwise."""
    for row in claim.conditions:
        if row["type"] == type_ and row["reason"] == reason:
            return str(row["message"])
    return ""


def degradation(claim: CapacityClaim) -> dict[str, str]:
    """The condition that it is degraded; empty where it is not."""
    return next((one for one in claim.conditions if one["type"] == DEGRADED and one["status"] == TRUE), {})


def _degraded(facts: Facts) -> list[Notice]:
    """Each further loss is an occurrence of its own."""
    degraded = {one.key: said["message"] for one in facts.claims if (said := degradation(one))}
    ids = [one.id for one in facts.claims if one.key in degraded]
    held = UsageInterval.objects.filter(kind=UsageKind.CLAIM, holder_id__in=ids, instance__lost_at__isnull=False)
    lost: dict[UUID, datetime] = dict(held.values_list("holder_id").annotate(at=Max("instance__lost_at")).order_by())
    return [
        Notice("warn", f"degraded:{one.id}", str(lost.get(one.id, NEVER)), f"{one.name} is degraded",
               degraded[one.key], ("claim", one.id), lost.get(one.id),
               about=one.name, part="#conditions")
        for one in facts.claims
        if one.key in degraded
    ]  # fmt: skip


def _under_used(facts: Facts, touched: dict[str, int]) -> list[Notice]:
    """An occurrence lasts until the claim is changed, or was used well for a whole day."""
    use = {key: one for key, one in use_of_day(facts.claims, facts.now).items() if one.under}
    good = last_good_days(use, facts.now) if use else {}
    return [
        Notice("info", f"unused:{claim.id}", f"{touched.get(str(claim.id), 0)}-{good[claim.key].date() if claim.key in good else NEVER}",
               f"{claim.name} is under-used", use_text(use[claim.key]), ("claim", claim.id),
               about=claim.name, part="#use-card")
        for claim in facts.claims
        if claim.key in use and claim.status != Status.DELETING
    ]  # fmt: skip


def use_text(use: Use) -> str:
    return (f"replicas held {use.share:.0%} of its {use.gpus:.0f} GPUs over the last 24 hours, less than {UNDER_USED:.0%}; "
            "a smaller claim, or deployments that may use it, would pay for less that stays empty")  # fmt: skip


def _waiting(facts: Facts, touched: dict[str, int]) -> list[Notice]:
    found = []
    for claim in facts.claims:
        allocated, pending = claim_numbers(claim)
        if pending and claim.status != Status.DELETING and not degradation(claim):
            level_ = "warn" if condition(claim, "Ready", "WaitingForPool") else "info"
            found.append(Notice(level_, f"waiting:{claim.id}", str(touched.get(str(claim.id), 0)),
                                f"{claim.name} waits for instances", f"{allocated} allocated, {pending} pending",
                                ("claim", claim.id), about=claim.name))  # fmt: skip
    return found


def _quota(facts: Facts, touched: dict[str, int]) -> list[Notice]:
    """An occurrence lasts until the quota is changed or a claim of it is made or changed: use only grows by these."""
    rows = {row.offering.key: row for row in facts.quotas if level_of(row) in QUOTA_LEVELS}
    changes = QuotaChange.objects.filter(organization=facts.organization, offering__in=rows).order_by()
    changed: dict[int, int] = dict(changes.values_list("offering").annotate(n=Max("id")))
    claimed: dict[int, int] = {}
    for claim in facts.claims:
        if claim.kind == ClaimKind.CUSTOMER:
            seen = claimed.get(claim.offering_id, 0)
            claimed[claim.offering_id] = max(seen, touched.get(str(claim.id), 0))
    return [
        Notice(QUOTA_LEVELS[level_of(row)], f"quota:{key}", f"{changed.get(key, 0)}-{claimed.get(key, 0)}",
               f"Quota of {row.instance_type} in {row.zone}", quota_text(row),
               ("quota-of", row.zone, row.instance_type), about=f"{row.instance_type} in {row.zone}")
        for key, row in rows.items()
    ]  # fmt: skip


def _windows(facts: Facts) -> list[Notice]:
    """Windows that today's pool or quota cannot give whole in two weeks (C12); the same shortfall is one occurrence."""
    found = []
    for claim, spans in windows_lacking(facts.claims, facts.quotas, facts.now):
        first, most = spans[0], max(one.lacking for one in spans)
        more = f", and {len(spans) - 1} times more in two weeks" if spans[1:] else ""
        text = (f"{first.lacking} of {counted(first.count, 'instance')} cannot be had from {first.start:%Y-%m-%d %H:%M:%S} UTC "
                f"to {first.end:%Y-%m-%d %H:%M:%S} UTC{more}")  # fmt: skip
        found.append(Notice("warn", f"window:{claim.id}", str(most), f"{claim.name}: a window cannot be had whole", text,
                            ("claim", claim.id), part="#windows"))  # fmt: skip
    return found


def level_of(row: QuotaRow) -> Level:
    return level(limit=row.limit, used=row.used)


def quota_text(row: QuotaRow) -> str:
    if row.used > row.limit:
        return f"{counted(row.used, 'instance')} used, the limit is {row.limit}: new customer claims are refused"
    return f"{row.used} of {counted(row.limit, 'instance')} used ({row.used_share:.0%})"


def _holds(facts: Facts) -> list[Notice]:
    """Worse where nothing ends it."""
    return [
        Notice("info" if hold.expires_at else "warn", f"hold:{hold.id}", "", hold_title(hold),
               f"{hold.reason}, by {hold.created_by}" + ("" if hold.expires_at else ", until somebody ends it"),
               ("deployment", hold.deployment.id) if hold.deployment else ("deployments",),
               hold.created_at, hold.expires_at, about=hold.deployment.name if hold.deployment else "all of them")
        for hold in facts.holds
    ]  # fmt: skip


def hold_title(hold: Hold) -> str:
    what = hold.deployment.name if hold.deployment else "every deployment" if hold.organization else "the whole fleet"
    return f"{what} is pinned to {hold.size}" if hold.kind == HoldKind.PIN else f"Scaling of {what} is frozen"


def last_changes(facts: Facts) -> dict[str, int]:
    """By claim id the number of the newest event of the audit trail about it: one query."""
    ids = [str(one.id) for one in facts.claims]
    events = AuditEvent.objects.filter(object_type="CapacityClaim", object_id__in=ids)
    return dict(events.values_list("object_id").annotate(n=Max("id")).order_by())


def _budget(facts: Facts) -> list[Notice]:
    """The highest threshold that was crossed, and the forecast; each once a month, and anew with another amount. Only
    for who may see money: for others `facts` has none."""
    state = facts.budget
    if state is None:
        return []
    occurrence, page, found = f"{state.month}-{state.amount}", ("budget",), list[Notice]()
    if state.crossed and state.spent is not None:
        percent = state.crossed[-1]
        found.append(Notice(BUDGET_LEVELS[percent], "budget", f"{occurrence}-{percent}", f"{percent} % of the budget is spent",
                            f"${to_cents(state.spent):,} of ${state.amount:,} in {state.month}", page))  # fmt: skip
    if state.forecast_exceeds and state.foreseen is not None and 100 not in state.crossed:
        found.append(Notice("warn", "budget-forecast", occurrence, "The month is going to exceed its budget",
                            f"${to_cents(state.foreseen):,} is the forecast, ${state.amount:,} the budget of {state.month}",
                            page))  # fmt: skip
    return found
