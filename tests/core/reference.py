"""Stages 1 to 5 for one deployment, slow and obvious: fractions, lists and ifs, written from the rules.

Shares nothing with the planner but the names of reasons and limits.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, inf, isinf, isnan

from deployments.core.plan import Bound
from deployments.core.reasons import Reason


@dataclass
class Policy:
    min: int = 1
    max: int = 100
    scheduled: int = 0
    floor: int = 0
    ceiling: int = -1
    target: int = 8
    enabled: bool = True
    pin: int = -1
    freeze: bool = False
    stable_ms: int = 60_000
    burst_ms: int = 15_000
    factor: Fraction = Fraction(2)
    tolerance: Fraction = Fraction(1, 10)
    scale_down_ms: int = 300_000
    drain_ms: int = 10_000
    startup_ms: int = 0
    service_ms: int = 0


@dataclass
class Memory:
    """What is remembered of a deployment."""

    wanted: int | None = None
    burst_until_ms: int = 0
    # Recommendations by span of a fifteenth of the window.
    spans: dict[int, int] = field(default_factory=dict)
    last_tick_ms: int | None = None


@dataclass
class Answer:
    signal: Reason
    stable: Fraction
    burst: Fraction
    need_stable: int
    need_burst: int
    need_backlog: int
    base: int
    recommended: int
    damped: int
    damped_code: Reason
    wanted: int
    wanted_code: Reason
    bound: Bound


Sample = tuple[int, float, float]  # time in ms, queued, active


def decide(
    policy: Policy, samples: list[Sample], ready: int, starting: int, memory: Memory, now_ms: int
) -> tuple[Answer, Memory]:
    usable = [s for s in samples if _usable(s) and s[0] <= now_ms]
    end = usable[-1][0] if usable else 0
    stable, seen, _ = _window(usable, end, policy.stable_ms)
    burst, _, standing = _window(usable, end, policy.burst_ms)
    signal = _signal(policy, samples, seen, now_ms)
    valid = signal is Reason.SIGNAL_FRESH

    need_stable = ceil(stable / policy.target)
    need_burst = ceil(burst / policy.target)
    need_backlog = _backlog(policy, burst, standing, starting) if standing else 0

    base = memory.wanted if memory.wanted else ready + starting
    highest = _highest(policy, memory, base, now_ms)

    burst_need = need_backlog if standing else need_burst
    until = min(memory.burst_until_ms, now_ms + policy.stable_ms)
    if valid and need_burst > 0 and burst_need >= policy.factor * max(base, 1):
        until = now_ms + policy.stable_ms
    bursting = until > now_ms

    recommended = base
    kept = False
    if valid:
        asked = max(need_stable, burst_need) if bursting else need_stable
        if standing:
            asked = max(need_backlog, min(asked, base))
        kept = (
            not bursting
            and not standing
            and base > 0
            and abs(stable - base * policy.target) <= policy.tolerance * base * policy.target
        )
        recommended = base if kept else asked
    damped = _damp(base, recommended, highest, bursting)
    damped_code = _damped_code(valid, kept, base, recommended, damped, bursting, standing)
    wanted, wanted_code, bound = _bounds(policy, base, damped, valid)

    answer = Answer(
        signal, stable, burst, need_stable, need_burst, need_backlog, base, recommended, damped, damped_code,
        wanted, wanted_code, bound,
    )  # fmt: skip
    return answer, _remember(policy, memory, base, recommended, wanted, until if bursting else 0, now_ms)


def _usable(sample: Sample) -> bool:
    return all(not isnan(value) and not isinf(value) and value >= 0 for value in sample[1:])


def _missing(sample: Sample) -> bool:
    return _kind(sample) == "missing"


def _kind(sample: Sample) -> str:
    absent = [isnan(value) or value == -1 for value in sample[1:]]
    broken = [not isnan(value) and value != -1 and (value < 0 or value == inf) for value in sample[1:]]
    if any(broken):
        return "impossible"
    return "missing" if any(absent) else "usable"


def _signal(policy: Policy, samples: list[Sample], seen_ms: int, now_ms: int) -> Reason:
    there = [s for s in samples if not _missing(s)]
    if not there:
        return Reason.SIGNAL_MISSING
    newest = there[-1]
    if newest[0] > now_ms:
        return Reason.SIGNAL_FUTURE
    if _kind(newest) == "impossible":
        return Reason.SIGNAL_IMPOSSIBLE
    if now_ms - newest[0] > 30_000:
        return Reason.SIGNAL_STALE
    if seen_ms < Fraction(9, 10) * policy.stable_ms:
        return Reason.SIGNAL_WARMING
    return Reason.SIGNAL_FRESH


def _window(usable: list[Sample], end: int, length: int) -> tuple[Fraction, int, int]:
    """Time-weighted mean of in-flight, time seen, and the least that was queued."""
    start = end - length
    load = 0
    span = 0
    least = None
    before = None
    for at, queued, active in usable:
        stands = at - before if before is not None and at - before <= 30_000 else 5_000
        before = at
        if at <= start:
            continue
        weight = min(stands, at - start)
        load += weight * (round(queued) + round(active))
        span += weight
        least = round(queued) if least is None else min(least, round(queued))
    if span == 0:
        return Fraction(0), 0, 0
    return Fraction(load, span), span, least or 0


def _backlog(policy: Policy, burst: Fraction, standing: int, starting: int) -> int:
    taken_up = min(standing, starting * policy.target)
    remaining = standing - taken_up
    horizon = max(policy.drain_ms, policy.startup_ms, 1)
    service = min(policy.service_ms or policy.drain_ms or horizon, horizon)
    asked = taken_up + ceil(Fraction(remaining * service, horizon))
    return ceil((burst - standing + asked) / policy.target)


def _width(policy: Policy) -> int:
    return max(1, ceil(Fraction(policy.scale_down_ms, 15)))


def _restarted(memory: Memory, now_ms: int) -> bool:
    return memory.last_tick_ms is None or now_ms - memory.last_tick_ms > 30_000


def _highest(policy: Policy, memory: Memory, base: int, now_ms: int) -> int:
    newest = now_ms // _width(policy)
    inside = [value for span, value in memory.spans.items() if newest - span < 16]
    if _restarted(memory, now_ms):
        inside.append(base)
    return max(inside, default=-1)


def _damp(base: int, recommended: int, highest: int, bursting: bool) -> int:
    if recommended >= base:
        return recommended
    if bursting:
        return base
    return min(base, max(recommended, highest))


def _damped_code(
    valid: bool, kept: bool, base: int, recommended: int, damped: int, bursting: bool, standing: int
) -> Reason:
    if not valid:
        return Reason.HOLD_NO_SIGNAL
    if kept:
        return Reason.WITHIN_TOLERANCE
    if recommended > base:
        if bursting:
            return Reason.GROW_BURST
        return Reason.GROW_QUEUE if standing else Reason.GROW
    if recommended < base:
        if bursting:
            return Reason.BURST_KEEPS
        return Reason.SHRINK if damped == recommended else Reason.SHRINK_DELAYED
    return Reason.STEADY


def _bounds(policy: Policy, base: int, damped: int, valid: bool) -> tuple[int, Reason, Bound]:
    if not policy.enabled:
        return 0, Reason.DISABLED, Bound.DISABLED

    most = policy.max
    if policy.ceiling != -1:
        most = min(policy.max, max(policy.min, policy.ceiling))

    def clip(value: int) -> int:
        return min(max(value, policy.min), most)

    if policy.pin >= 0:
        return clip(policy.pin), Reason.PINNED, Bound.HOLD
    if policy.freeze:
        return clip(base), Reason.FROZEN, Bound.HOLD
    if policy.min == policy.max and not policy.scheduled & 4:
        if policy.scheduled:
            return policy.min, Reason.SCHEDULED_SIZE, Bound.SCHEDULE
        return policy.min, Reason.FIXED_SIZE, Bound.MAX
    if not valid:
        return clip(damped), Reason.HELD, Bound.HOLD
    if policy.floor > damped and clip(policy.floor) > max(damped, policy.min):
        return clip(policy.floor), Reason.OBJECTIVE_FLOOR, Bound.FLOOR
    if damped < policy.min:
        if policy.scheduled & 4:
            return policy.min, Reason.SCHEDULED_AHEAD, Bound.SCHEDULE
        if policy.scheduled & 1:
            return policy.min, Reason.SCHEDULED_MIN, Bound.SCHEDULE
        return policy.min, Reason.AT_MIN, Bound.MIN
    if damped > most and most < policy.max:
        return most, Reason.PRICE_CEILING, Bound.PRICE
    if damped > policy.max:
        if policy.scheduled & 2:
            return policy.max, Reason.SCHEDULED_MAX, Bound.SCHEDULE
        return policy.max, Reason.AT_MAX, Bound.MAX
    return damped, Reason.WITHIN_BOUNDS, Bound.NONE


def _remember(
    policy: Policy, memory: Memory, base: int, recommended: int, wanted: int, until: int, now_ms: int
) -> Memory:
    newest = now_ms // _width(policy)
    spans = {span: value for span, value in memory.spans.items() if newest - span < 16}
    noted = max(base, recommended) if _restarted(memory, now_ms) else recommended
    spans[newest] = max(spans.get(newest, -1), noted)
    return Memory(wanted, until, spans, now_ms)
