"""What windows of min and max make of a deployment at a time, daylight saving included."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from claims.core.recurrence import parsed
from claims.core.windows import Window
from deployments.core.snapshot import Scheduled
from deployments.schedules.bounds import MARGIN, Bounds, Scheduling, bounds_at

BERLIN = ZoneInfo("Europe/Berlin")
STARTUP = timedelta(minutes=5)


def window(at: str = "08:00", hours: float = 10, key: int = 1, zone: ZoneInfo = BERLIN, **bounds: Any) -> Scheduling:
    first, rule = date(2026, 3, 2), bounds.pop("rule", "FREQ=DAILY")
    meant = Window(first, time.fromisoformat(at), timedelta(hours=hours), parsed(rule), zone, 0)
    return Scheduling(key, meant, bounds.get("min"), bounds.get("max"), bounds.get("opened_for"))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def found(windows: list[Scheduling], text: str, low: int = 2, high: int = 6) -> tuple[int, int, int]:
    made = bounds_at(windows, low, high, at(text), STARTUP)
    return made.min, made.max, made.scheduled


def test_r3_a_window_sets_what_it_names_while_it_is_open() -> None:
    day = [window(min=4, max=9)]
    assert found(day, "2026-03-10T06:00") == (2, 6, Scheduled.NOTHING)
    assert found(day, "2026-03-10T07:00") == (4, 9, Scheduled.MIN | Scheduled.MAX)
    assert found(day, "2026-03-10T16:59") == (4, 9, Scheduled.MIN | Scheduled.MAX)
    assert found(day, "2026-03-10T17:00") == (2, 6, Scheduled.NOTHING)
    assert found([window(min=4)], "2026-03-10T12:00") == (4, 6, Scheduled.MIN)
    assert found([window(max=3)], "2026-03-10T12:00") == (2, 3, Scheduled.MAX)
    # What was set later and does not fit gives way to what the window names.
    assert found([window(min=8)], "2026-03-10T12:00") == (8, 8, Scheduled.MIN)
    assert found([window(max=1)], "2026-03-10T12:00") == (1, 1, Scheduled.MAX)


def test_a_higher_min_holds_before_the_window_begins_and_nothing_else_does() -> None:
    ahead = Scheduled.MIN | Scheduled.AHEAD
    assert found([window(min=8, max=9)], "2026-03-10T06:55") == (8, 8, ahead)
    assert found([window(min=8, max=9)], "2026-03-10T06:54:49") == (2, 6, Scheduled.NOTHING)
    assert found([window(min=8, max=9)], "2026-03-10T06:54:50") == (8, 8, ahead)
    assert timedelta(seconds=10) == MARGIN
    assert found([window(min=1)], "2026-03-10T06:59") == (2, 6, Scheduled.NOTHING)
    assert found([window(max=3)], "2026-03-10T06:59") == (2, 6, Scheduled.NOTHING)
    # While another one is open, its bounds are what the next one's min goes beyond.
    both = [window("06:00", 2, min=3, max=4), window("08:00", 2, key=2, min=8, max=9)]
    assert found(both, "2026-03-10T06:57") == (8, 8, ahead | Scheduled.MAX)


def test_one_that_was_opened_ahead_stays_open_though_replicas_start_faster_since() -> None:
    start = at("2026-03-10T07:00")
    early = at("2026-03-10T06:30")
    assert bounds_at([window(min=8)], 2, 6, early, STARTUP) == Bounds(2, 6)
    made = bounds_at([window(min=8, opened_for=start)], 2, 6, early, STARTUP)
    assert (made.min, made.opened) == (8, (1, start))


def test_windows_keep_their_place_on_the_clock_when_the_clocks_change() -> None:
    morning = [window(min=8)]
    # Winter until 29 March: 08:00 is 07:00 UTC; summer from then on: 06:00 UTC.
    assert found(morning, "2026-03-28T06:30")[0] == 2
    assert found(morning, "2026-03-28T07:00")[0] == 8
    assert found(morning, "2026-03-29T06:00")[0] == 8
    assert found(morning, "2026-03-29T05:54:49")[0] == 2
    assert found(morning, "2026-03-29T05:54:50") == (8, 8, Scheduled.MIN | Scheduled.AHEAD)
    # It lasts ten hours on both days.
    assert found(morning, "2026-03-28T16:59")[0] == 8
    assert found(morning, "2026-03-29T15:59")[0] == 8
    assert found(morning, "2026-03-29T16:00")[0] == 2
    # 02:30 does not exist on 29 March: it is read with the offset from before, which is 03:30 in summer.
    night = [window("02:30", 1, max=3)]
    assert found(night, "2026-03-29T01:29")[1] == 6
    assert found(night, "2026-03-29T01:30")[1] == 3
    # 02:30 comes twice on 25 October: the first counts, and the hour is one hour.
    assert found(night, "2026-10-25T00:30")[1] == 3
    assert found(night, "2026-10-25T01:30")[1] == 6
