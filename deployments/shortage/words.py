"""Why a deployment has no more replicas, as one paragraph with the numbers of this moment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from console.common.words import counted, listed
from deployments.core.reasons import Reason
from deployments.core.snapshot import CapacityClass
from deployments.models import Replica
from deployments.shortage.limits import Limits, said_of_holds, said_of_max
from deployments.shortage.room import Room


@dataclass(frozen=True, slots=True)
class Facts:
    """What the sentences are made of. Sizes are replicas."""

    type_name: str
    size: int  # GPUs of one instance
    gpu_count: int  # of one replica
    wanted: int
    granted: int
    min: int
    max: int
    wishes: int  # before holds and bounds
    asks: int | None  # what load asks for by itself, before damping too; None without a signal
    tolerance: float  # percent
    rooms: Sequence[Room]  # of allowed zones
    gateway_zones: Sequence[str]
    waiting: Sequence[str]  # deployments whose min goes first
    limits: Limits
    failed: Sequence[Replica]  # whose place waits before it is tried again
    signal: str  # the sentence on the signal
    other: str = "another deployment"  # that is served first, or that gives way
    coming: int = 0  # replicas whose GPUs are being let go
    elsewhere: int = 0  # replicas that run on demand, where that is not allowed any more
    moves: int = 0  # replicas being replaced
    moves_short: int = 0  # replicas to be replaced, for which there is no room

    @property
    def missing(self) -> int:
        return self.wanted - self.granted

    def of(self, *classes: CapacityClass) -> list[Room]:
        return [one for one in self.rooms if one.allowed and one.capacity_class in classes]

    @property
    def zones(self) -> str:
        """Where there is something of an allowed class; all allowed zones where there is nothing anywhere."""
        there = {one.zone for one in self.rooms if one.allowed and one.gpus} or {one.zone for one in self.rooms}
        return listed(sorted(there)) or "its zones"


def paragraph(code: Reason, facts: Facts, besides: Reason | None = None) -> str:
    """The answer to a reason of bounds or contention. Every reason has one; `BY_REASON` is the table. `besides` is what
    keeps it from the size that the first allows."""
    text = BY_REASON.get(code, _enough)(facts)
    if besides is None or besides == code:
        return text
    return f"{text} {facts.granted} of {facts.wanted} are there: {BY_REASON.get(besides, _enough)(facts)}"


def _load(facts: Facts) -> str:
    if facts.asks is not None and facts.asks < facts.wishes:
        return f"Load asks for {counted(facts.asks, 'replica')} now, and asked for {facts.wishes} shortly before"
    return f"Load asks for {counted(facts.wishes, 'replica')}"


def _needs(facts: Facts) -> str:
    gpus = counted(facts.missing * facts.gpu_count, "GPU")
    if facts.missing == 1:
        return f"1 more replica needs {gpus}."
    return f"{facts.missing} more replicas need {gpus}, {facts.gpu_count} each."


def _pool(facts: Facts) -> str:
    there = facts.of(CapacityClass.ON_DEMAND)
    if not there:
        return ""
    gpus, free = sum(one.gpus for one in there), sum(one.free for one in there)
    if not gpus:
        return f" There is no on-demand pool of {facts.type_name} in {facts.zones}."
    most = max(one.largest for one in there)
    parts = [f"{free} free for it" + (f", at most {most} on one instance" if free else "")]
    if promised := sum(one.promised for one in there):
        parts.append(f"{promised} of these go to others that come first, in the same pass")
    if kept := sum(one.kept for one in there):
        parts.append(f"{kept} free but kept for a waiting claim, cordoned or draining")
    if blocked := sum(one.blocked for one in there):
        parts.append(f"{blocked} free on instances that serve another organization")
    return f" The on-demand pool of {facts.type_name} in {facts.zones} has {gpus} GPUs: {'; '.join(parts)}."


def _claims(facts: Facts) -> str:
    there = facts.of(CapacityClass.RESERVED)
    gpus, free = sum(one.gpus for one in there), sum(one.free for one in there)
    if not there:
        return " Reserved capacity is not allowed for it."
    if not gpus:
        return f" The organization has no claim of {facts.type_name} there."
    elsewhere = ""
    if facts.elsewhere:
        elsewhere = f" {facts.elsewhere} of its replicas still run on demand, and are replaced once claims have room."
    return f" The organization's claims there hold {counted(gpus, 'GPU')}, {free} of them free.{elsewhere}"


def _pool_exhausted(facts: Facts) -> str:
    return _needs(facts) + _pool(facts) + _claims(facts)


def _claim_exhausted(facts: Facts) -> str:
    return f"{_needs(facts)} Only reserved capacity is allowed.{_claims(facts)}"


def _fragmented(facts: Facts) -> str:
    there = facts.of(CapacityClass.RESERVED, CapacityClass.ON_DEMAND)
    free, most = sum(one.free for one in there), max((one.largest for one in there), default=0)
    return (f"{_needs(facts)} {free} GPUs are free in {facts.zones}, but at most {most} together on one instance; "
            f"a replica needs {facts.gpu_count} on one.")  # fmt: skip


def _no_whole(facts: Facts) -> str:
    there = facts.of(CapacityClass.RESERVED, CapacityClass.ON_DEMAND)
    machines, most = facts.gpu_count // facts.size, max((one.whole for one in there), default=0)
    return (f"{_needs(facts)} A replica takes {machines} whole instances of {facts.size} GPUs in one zone and class; "
            f"at most {most} are empty together.")  # fmt: skip


def _no_claim(facts: Facts) -> str:
    return (f"{_needs(facts)} Only reserved capacity is allowed, and the organization has no claim of "
            f"{facts.type_name} in {facts.zones}.")  # fmt: skip


def _no_zone(facts: Facts) -> str:
    zones = listed(facts.gateway_zones) or "no zone at all"
    return f"{_needs(facts)} {facts.type_name} is not offered where its gateways serve ({zones})."


def _no_size(facts: Facts) -> str:
    return (f"{_needs(facts)} {facts.gpu_count} GPUs fit neither on one {facts.type_name} ({facts.size} GPUs) nor on "
            "several whole ones.")  # fmt: skip


def _kept(facts: Facts) -> str:
    free = sum(one.free for one in facts.of(CapacityClass.RESERVED, CapacityClass.ON_DEMAND))
    first = listed(facts.waiting) or "deployments of the same or a higher priority"
    return f"{_needs(facts)} {free} GPUs are free in {facts.zones}; they are kept until {first} reach their min."


def _backing_off(facts: Facts) -> str:
    times = [one.retry_at for one in facts.failed if one.retry_at is not None]
    text = f"{counted(len(facts.failed), 'replica')} failed; the next try waits for its time."
    if times:
        text += f" Next try: {min(times):%Y-%m-%d %H:%M:%S} UTC."
    errors = [one.last_error for one in facts.failed if one.last_error]
    return f"{text} Last error: {errors[-1][:200]}" if errors else text


def _at_max(facts: Facts) -> str:
    return f"{_load(facts)}; its max is {facts.max}."


def _at_ceiling(facts: Facts) -> str:
    return f"{_load(facts)}; the price ceiling of its objective pays for {facts.wanted}."


def _fixed(facts: Facts) -> str:
    more = f" {_load(facts)}." if facts.wishes != facts.max else ""
    return f"Min and max are both {facts.max}: the size is fixed.{more}"


def _scheduled(facts: Facts) -> str:
    return f"{_load(facts)}; {said_of_max(facts.limits, facts.wanted)}."


def _fixed_by_window(facts: Facts) -> str:
    more = f" {_load(facts)}." if facts.wishes != facts.max else ""
    if facts.limits.top:
        return f"A schedule window sets the size: {said_of_max(facts.limits, facts.max)}.{more}"
    return f"The schedule window that is open sets the size to {facts.max}.{more}"


def _held(facts: Facts) -> str:
    if not facts.limits.holds:
        return f"Scaling is held at {counted(facts.wanted, 'replica')}."
    asks = facts.wishes if facts.asks is None else facts.asks
    asked = f" Load asks for {asks} now." if asks != facts.wanted else ""
    return said_of_holds(facts.limits.holds, facts.wanted) + asked


def _no_signal(facts: Facts) -> str:
    return f"Without a signal to go by the size stays at {facts.wanted}. {facts.signal}"


def _disabled(facts: Facts) -> str:
    return "The deployment is disabled: no replicas."


def _shadow(facts: Facts) -> str:
    return f"It runs in shadow: {facts.wanted} replicas is what would be done; nothing is acted on."


def _stale(facts: Facts) -> str:
    return f"{_needs(facts)} What was planned no longer held when it was to be done; the next pass plans again."


def _moving(facts: Facts) -> str:
    text = f"The size stays at {facts.granted}: {counted(facts.moves, 'replica')} are being replaced."
    if not facts.moves_short:
        return text
    return f"{text} {facts.moves_short} more have to be and find no room.{_pool(facts)}{_claims(facts)}"


def _gave_way(facts: Facts) -> str:
    return (f"It lets replicas go for {facts.other}, which has a higher priority and waits for their GPUs: "
            f"{facts.granted} of {facts.wishes} that load asks for stay, its min of {facts.min} in any case.")  # fmt: skip


def _waits_for_release(facts: Facts) -> str:
    return (f"{_needs(facts)} For {counted(facts.coming, 'replica')} they come free once {facts.other} has let its "
            f"replicas go.{_pool(facts)}")  # fmt: skip


def _in_place(facts: Facts) -> str:
    return (f"A replica of an older revision goes first, for beside it nothing is free for one of the newest: "
            f"{facts.granted} of {facts.wanted} until then.{_pool(facts)}{_claims(facts)}")  # fmt: skip


def _enough(facts: Facts) -> str:
    if facts.missing > 0:
        return f"{_needs(facts)}{_pool(facts)}{_claims(facts)}"
    asks = facts.wishes if facts.asks is None else facts.asks
    if asks > facts.granted:
        return (f"Load asks for {counted(asks, 'replica')}: that is within {facts.tolerance:g} % of the {facts.granted} there "
                "are, which is too little to start one.")  # fmt: skip
    has = "them" if asks == facts.granted else str(facts.granted)
    return f"Nothing holds it back: load asks for {counted(asks, 'replica')} now, and it has {has}."


BY_REASON: Mapping[Reason, Callable[[Facts], str]] = {
    Reason.WITHIN_BOUNDS: _enough,
    Reason.AT_MIN: _enough,
    Reason.SCHEDULED_MIN: _enough,
    Reason.SCHEDULED_AHEAD: _enough,
    Reason.OBJECTIVE_FLOOR: _enough,
    Reason.PRICE_CEILING: _at_ceiling,
    Reason.AT_MAX: _at_max,
    Reason.SCHEDULED_MAX: _scheduled,
    Reason.FIXED_SIZE: _fixed,
    Reason.SCHEDULED_SIZE: _fixed_by_window,
    Reason.FROZEN: _held,
    Reason.PINNED: _held,
    Reason.HELD: _no_signal,
    Reason.DISABLED: _disabled,
    Reason.NOTHING_ASKED: _enough,
    Reason.GRANTED: _enough,
    Reason.RELEASED: _enough,
    Reason.POOL_EXHAUSTED: _pool_exhausted,
    Reason.CLAIM_EXHAUSTED: _claim_exhausted,
    Reason.FRAGMENTED: _fragmented,
    Reason.NO_CLAIM: _no_claim,
    Reason.NO_ZONE: _no_zone,
    Reason.NOT_ON_ONE_INSTANCE: _no_size,
    Reason.NO_WHOLE_INSTANCES: _no_whole,
    Reason.KEPT_FOR_PRIORITY: _kept,
    Reason.BACKING_OFF: _backing_off,
    Reason.SHADOW: _shadow,
    Reason.STALE: _stale,
    Reason.MOVING: _moving,
    Reason.YIELDED: _gave_way,
    Reason.RECLAIMED: _gave_way,
    Reason.WAITS_FOR_RELEASE: _waits_for_release,
    Reason.ROLLING_IN_PLACE: _in_place,
}
