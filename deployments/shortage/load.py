"""What load asks for, and why there are not fewer replicas than that: from the row of a decision (`core.record`)."""

from datetime import UTC, datetime

from deployments.core.reasons import Reason
from deployments.core.record import Row, number

SET = frozenset({Reason.HELD, Reason.FROZEN, Reason.PINNED, Reason.DISABLED})  # load has no say
NEAR = frozenset({Reason.WITHIN_TOLERANCE, Reason.SMALL_CHANGE})


def asked_for(row: Row) -> int | None:
    """Replicas that load asks for by itself, before damping and bounds; None without a signal to go by."""
    code = number(row, "damped_code")
    if code == Reason.HOLD_NO_SIGNAL:
        return None
    plain = number(row, "need_stable" if code == Reason.WITHIN_TOLERANCE else "damped_recommended")
    return max(plain, number(row, "ahead_need_ahead") if "ahead_need_ahead" in row else 0)


def why_not_fewer(row: Row, until: datetime | None = None) -> str:
    """What keeps more than load asks for; empty where nothing does. `until`: when what was recommended before will be
    forgotten, where that is known."""
    asks, wanted, damped = asked_for(row), number(row, "wanted_value"), number(row, "damped_value")
    if asks is None or asks >= wanted or number(row, "wanted_code") in SET:
        return ""
    parts = [_damped(row, damped, until)] if damped > asks else []
    parts += [_raised(row, wanted)] if wanted > damped else []
    return f"Load asks for {asks} now; {'; '.join(part for part in parts if part)}." if any(parts) else ""


def _damped(row: Row, value: int, until: datetime | None) -> str:
    code = number(row, "damped_code")
    if code == Reason.SHRINK_DELAYED:
        seconds, highest = number(row, "scale_down_ms") / 1000, number(row, "damped_window_highest")
        end = f" until {exactly(until)}" if until else ""
        return f"{value} stay{end}, since {highest} were asked for within the last {seconds:g} s"
    if code == Reason.BURST_KEEPS:
        end = f" until {exactly(datetime.fromtimestamp(number(row, 'damped_burst_until_ms') / 1000, UTC))}"
        return f"{value} stay while burst mode lasts,{end} at least"
    if code in NEAR:
        highest, percent = number(row, "damped_window_highest"), number(row, "tolerance_milli") / 10
        if code == Reason.SMALL_CHANGE and highest > number(row, "damped_recommended"):
            seconds = number(row, "scale_down_ms") / 1000
            return f"{value} stay, since {highest}, asked for within the last {seconds:g} s, is within {percent:g} % of them"
        return f"{value} stay, since that is within {percent:g} % of them"
    return ""


def _raised(row: Row, wanted: int) -> str:
    least = number(row, "min")
    return {
        Reason.AT_MIN: f"its min keeps {wanted}",
        Reason.SCHEDULED_MIN: f"the schedule window that is open keeps at least {least}",
        Reason.SCHEDULED_AHEAD: f"a schedule window with a min of {least} begins soon, and replicas start ahead of it",
        Reason.OBJECTIVE_FLOOR: f"objective mode keeps at least {wanted}",
    }.get(Reason(number(row, "wanted_code")), "")


def exactly(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
