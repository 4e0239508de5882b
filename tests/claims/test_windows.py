"""C12: when recurring windows are open, across changes of clocks, and which are refused (claims.core.windows)."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from dateutil import rrule
from hypothesis import given
from hypothesis import strategies as st

from claims.core.recurrence import WEEKDAYS, Freq, Recurrence, parsed
from claims.core.windows import (
    DAY,
    Level,
    Occurrence,
    Window,
    largest,
    next_occurrence,
    occurrences,
    open_at,
    overlap,
    promised,
    repeats_after,
    summed,
    zone_names,
)

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
# Around these local days clocks change: by an hour, by half an hour, and by a whole day that Samoa left out.
CHANGES = {
    "Europe/Berlin": [date(2026, 3, 29), date(2026, 10, 25)],
    "America/New_York": [date(2026, 3, 8), date(2026, 11, 1)],
    "Australia/Lord_Howe": [date(2026, 4, 5), date(2026, 10, 4)],
    "Pacific/Apia": [date(2011, 12, 30), date(2011, 9, 24)],
    "UTC": [date(2026, 2, 28)],
}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(
    first: str, duration: timedelta = HOUR, rule: str = "FREQ=DAILY", zone: str = "Europe/Berlin", count: int = 1,
    until: date | None = None,
) -> Window:  # fmt: skip
    begin = datetime.fromisoformat(first)
    return Window(begin.date(), begin.time(), duration, parsed(rule), ZoneInfo(zone), count, until)


def starts(one: Window, since: str, until: str) -> list[str]:
    return [f"{found.start:%m-%d %H:%M}" for found in occurrences(one, at(since), at(until))]


@st.composite
def windows_over_a_change(draw: st.DrawFn) -> tuple[Window, datetime]:
    """A window, and a time near a change of the clocks of its zone."""
    name = draw(st.sampled_from(sorted(CHANGES)))
    change = draw(st.sampled_from(CHANGES[name]))
    freq = draw(st.sampled_from(list(Freq)))
    days: list[int] = []
    if freq != Freq.DAILY:
        numbers = st.integers(0, 6) if freq == Freq.WEEKLY else st.sampled_from([-1, *range(1, 32)])
        days = draw(st.lists(numbers, max_size=7, unique=True))
    rule = Recurrence(freq, draw(st.integers(1, 3)), tuple(sorted(days)))
    first = change - timedelta(days=draw(st.integers(0, 40)))
    until = draw(st.none() | st.integers(-2, 3).map(lambda ahead: change + timedelta(days=ahead)))
    # Near midnight and in the small hours the clocks change.
    begin = draw(st.integers(0, 4 * 60 - 1) | st.integers(0, 24 * 60 - 1))
    length = draw(st.integers(1, 240) | st.integers(1, 4000)) * MINUTE
    one = Window(first, time(begin // 60, begin % 60), length, rule, ZoneInfo(name), 1, until)
    return one, datetime.combine(change, time(), UTC) + draw(st.integers(-30, 40)) * HOUR


def days_by_dateutil(one: Window, since: date, until: date) -> set[date]:
    """An independent reading of the same rule."""
    rule = one.recurrence
    weekdays = [getattr(rrule, WEEKDAYS[day]) for day in rule.days] if rule.freq == Freq.WEEKLY else None
    found = rrule.rrule(
        getattr(rrule, rule.freq.value), dtstart=datetime.combine(one.first, time()), interval=rule.interval,
        byweekday=weekdays or None, bymonthday=(rule.days or None) if rule.freq == Freq.MONTHLY else None,
        until=datetime.combine(min(until, one.until or until), time()),
    )  # fmt: skip
    return {day.date() for day in found if day.date() >= since}


def begins_by_minute(one: Window, start: datetime, end: datetime) -> Iterator[datetime]:
    """Every minute of UTC in turn: a beginning is the first at which the zone's clock shows it, or, where the clock leaps
    over it, as long after the leap as the wall time lies after what the clock last showed."""
    days = days_by_dateutil(one, start.date() - 2 * DAY, end.date() + 2 * DAY)
    begun: set[date] = set()
    now, shown = start, start.astimezone(one.zone).replace(tzinfo=None) - MINUTE
    while now < end:
        clock = now.astimezone(one.zone).replace(tzinfo=None)
        due = shown + MINUTE
        while due <= clock or due == shown + MINUTE == clock:
            if due.time() == one.at and due.date() in days - begun:
                begun.add(due.date())
                yield now + (due - shown - MINUTE)
            due += MINUTE
        shown, now = clock, now + MINUTE


def open_by_minute(one: Window, start: datetime, end: datetime) -> list[datetime]:
    begins = set(begins_by_minute(one, start - one.duration - 3 * DAY, end + MINUTE))
    minutes = [start + ahead * MINUTE for ahead in range((end - start) // MINUTE)]
    return [now for now in minutes if any(begin <= now < begin + one.duration for begin in begins)]


@given(case=windows_over_a_change())
def test_c12_occurrences_are_those_of_a_clock_watched_minute_by_minute(case: tuple[Window, datetime]) -> None:
    one, start = case
    end = start + 5 * HOUR
    found = list(occurrences(one, start, end))
    minutes = [start + ahead * MINUTE for ahead in range((end - start) // MINUTE)]
    assert [now for now in minutes if any(span.start <= now < span.end for span in found)] == open_by_minute(
        one, start, end
    )
    assert found == sorted(set(found))
    assert all(span.end - span.start == one.duration for span in found)


def test_c12_a_beginning_keeps_its_place_on_the_clock() -> None:
    berlin = window("2026-03-27 08:00", 10 * HOUR)
    assert starts(berlin, "2026-03-27", "2026-03-31") == ["03-27 07:00", "03-28 07:00", "03-29 06:00", "03-30 06:00"]
    lord_howe = window("2026-04-03 08:00", zone="Australia/Lord_Howe")
    assert starts(lord_howe, "2026-04-03", "2026-04-06") == ["04-03 21:00", "04-04 21:30", "04-05 21:30"]


def test_c12_a_wall_time_that_a_day_does_not_have_is_that_much_later() -> None:
    spring = window("2026-03-28 02:30")
    assert starts(spring, "2026-03-28", "2026-03-31") == ["03-28 01:30", "03-29 01:30", "03-30 00:30"]


def test_c12_a_wall_time_that_a_day_has_twice_is_the_first() -> None:
    autumn = window("2026-10-24 02:30")
    assert starts(autumn, "2026-10-24", "2026-10-27") == ["10-24 00:30", "10-25 00:30", "10-26 01:30"]


def test_c12_eight_hours_are_eight_hours_in_the_night_of_a_change() -> None:
    night = window("2026-03-28 22:00", 8 * HOUR)
    (found,) = occurrences(night, at("2026-03-28 20:00"), at("2026-03-29 20:00"))
    assert found == Occurrence(at("2026-03-28 21:00"), at("2026-03-29 05:00"))
    assert f"{found.end.astimezone(night.zone):%H:%M}" == "07:00"


def test_c12_a_day_that_a_zone_left_out_gives_one_occurrence_with_the_next() -> None:
    apia = window("2011-12-28 08:00", zone="Pacific/Apia")
    assert starts(apia, "2011-12-28", "2012-01-01 12:00") == [
        "12-28 18:00",
        "12-29 18:00",
        "12-30 18:00",
        "12-31 18:00",
    ]


@pytest.mark.parametrize(
    ("rule", "days"),
    [
        ("FREQ=DAILY;INTERVAL=5", [(1, 31), (2, 5), (2, 10)]),
        ("FREQ=WEEKLY", [(1, 31), (2, 7), (2, 14)]),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SA", [(1, 31), (2, 9), (2, 14)]),
        ("FREQ=MONTHLY", [(1, 31), (3, 31), (5, 31)]),
        ("FREQ=MONTHLY;BYMONTHDAY=15,-1", [(1, 31), (2, 15), (2, 28)]),
    ],
)
def test_c12_a_rule_recurs_on_these_days(rule: str, days: list[tuple[int, int]]) -> None:
    first = date(2026, 1, 31)  # a Saturday
    found = list(parsed(rule).dates(first, date(2025, 1, 1), date(2026, 12, 31)))
    assert [(one.month, one.day) for one in found][:3] == days
    assert str(parsed(rule)) == rule


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("FREQ=DAILY", "every day"), ("FREQ=DAILY;INTERVAL=2", "every 2 days"), ("FREQ=WEEKLY", "every week on Sa"),
        ("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", "on weekdays"), ("FREQ=WEEKLY;BYDAY=SA,SU", "at weekends"),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR", "every 2 weeks on Mo, Fr"), ("FREQ=MONTHLY", "every month on day 31"),
        ("FREQ=MONTHLY;BYMONTHDAY=1,-1", "every month on day 1 and the last"),
    ],
)  # fmt: skip
def test_a_rule_in_words(rule: str, words: str) -> None:
    assert parsed(rule).words(date(2026, 1, 31)) == words


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("", "must be parts"), ("DAILY", "must be parts"), ("FREQ=DAILY;", "must be parts"), ("FREQ=", "must be parts"),
        ("FREQ=YEARLY", "FREQ must be"), ("freq=DAILY", "FREQ must be"), ("INTERVAL=2", "FREQ must be"),
        ("FREQ=DAILY;FREQ=DAILY", "twice"), ("FREQ=DAILY;BYDAY=MO", "BYDAY is not understood"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY is not understood"), ("FREQ=DAILY;COUNT=3", "COUNT is not"),
        ("FREQ=DAILY;UNTIL=20270101T000000Z", "UNTIL is not"), ("FREQ=WEEKLY;BYDAY=1MO", "BYDAY must list"),
        ("FREQ=WEEKLY;BYDAY=MO,MO", "BYDAY must list"), ("FREQ=WEEKLY;BYDAY=MO, TU", "BYDAY must list"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY must"), ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY must"),
        ("FREQ=MONTHLY;BYMONTHDAY=-2", "BYMONTHDAY must"), ("FREQ=DAILY;INTERVAL=0", "INTERVAL must be"),
        ("FREQ=DAILY;INTERVAL=13", "INTERVAL must be"), ("FREQ=DAILY;INTERVAL=\u0662", "INTERVAL must be"),
        ("FREQ=DAILY;" * 30, "at most 200"),
    ],
)  # fmt: skip
def test_c12_what_is_not_understood_is_refused_and_not_guessed(rule: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parsed(rule)


@given(text=st.text(max_size=60) | st.text(alphabet="FREQ=DAILYWK;BOMTUH,1-", max_size=60))
def test_c12_any_text_is_refused_or_a_rule_that_reads_as_it_is_written(text: str) -> None:
    try:
        rule = parsed(text)
    except ValueError:
        return
    assert parsed(str(rule)) == rule


def test_c12_opens_by_its_lead_and_stays_open_though_the_lead_gets_shorter() -> None:
    one = window("2026-06-01 08:00", 2 * HOUR, zone="UTC")
    lead = 20 * MINUTE
    span = Occurrence(at("2026-06-01 08:00"), at("2026-06-01 10:00"))
    assert open_at(one, at("2026-06-01 07:39"), lead, None) is None
    assert open_at(one, at("2026-06-01 07:40"), lead, None) == span
    assert open_at(one, at("2026-06-01 07:41"), 5 * MINUTE, None) is None
    assert open_at(one, at("2026-06-01 07:41"), 5 * MINUTE, span.start) == span
    assert open_at(one, at("2026-06-01 09:59"), lead, span.start) == span
    assert open_at(one, at("2026-06-01 10:00"), lead, span.start) is None
    assert open_at(one, at("2026-06-01 12:00"), lead, at("2026-06-04 08:00")) is None  # the clock was set back


def test_c12_one_that_opens_again_before_it_ends_is_open_for_the_later() -> None:
    always = window("2026-06-01 00:00", 24 * HOUR, zone="UTC")
    found = open_at(always, at("2026-06-02 23:50"), 20 * MINUTE, None)
    assert found is not None
    assert found.end == at("2026-06-04")


def test_c12_the_next_occurrence_is_the_one_under_way_or_the_next_or_none() -> None:
    one = window("2026-06-01 08:00", zone="UTC", until=date(2026, 6, 2))
    assert [
        None if found is None else found.start.day
        for found in (next_occurrence(one, at(now)) for now in
                      ("2020-01-01", "2026-06-01 08:30", "2026-06-01 09:00", "2026-06-02 09:00"))
    ] == [1, 1, 2, None]  # fmt: skip
    assert next_occurrence(window("2028-02-29 00:00", rule="FREQ=MONTHLY;INTERVAL=12"), at("2028-03-01")) is not None
    never = window("2026-02-01 00:00", rule="FREQ=MONTHLY;INTERVAL=12;BYMONTHDAY=30")
    assert next_occurrence(never, at("2026-01-01")) is None


def test_c12_the_largest_of_the_windows_leaves_out_what_is_over() -> None:
    over = window("2026-06-01 08:00", count=9, until=date(2026, 6, 2))
    assert largest([over, window("2026-06-01 10:00", count=4)], at("2026-06-01")) == 9
    assert largest([over, window("2026-06-01 10:00", count=4)], at("2026-07-01")) == 4
    assert largest([], at("2026-07-01")) == 0


@pytest.mark.parametrize(
    ("rule", "hours"),
    [("FREQ=DAILY", 24), ("FREQ=WEEKLY;BYDAY=MO,TH", 72), ("FREQ=WEEKLY", 168), ("FREQ=MONTHLY", 31 * 24),
     ("FREQ=DAILY;INTERVAL=3", 72)],
)  # fmt: skip
def test_c12_the_shortest_time_between_two_beginnings(rule: str, hours: int) -> None:
    assert repeats_after(window("2026-03-31 08:00", rule=rule)) == timedelta(hours=hours)


def test_c12_a_window_that_comes_once_does_not_repeat() -> None:
    assert repeats_after(window("2026-03-31 08:00", until=date(2026, 3, 31))) is None


NOW = at("2026-03-01")
MORNING = window("2026-03-02 08:00", 4 * HOUR)


@pytest.mark.parametrize(
    ("other", "meets"),
    [
        (window("2026-03-02 12:00", 4 * HOUR), None),
        (window("2026-03-02 11:59", 4 * HOUR), "2026-03-02 11:59"),
        (window("2026-03-02 04:00", 4 * HOUR), None),
        (window("2026-03-07 10:00", HOUR, "FREQ=WEEKLY"), "2026-03-07 10:00"),
        # Another zone, by UTC: 13:00 to 15:00 in Berlin, but in the weeks when only New York has changed it is an hour less.
        (window("2026-03-02 07:00", 2 * HOUR, zone="America/New_York"), None),
        (window("2026-03-02 06:30", 2 * HOUR, zone="America/New_York"), "2026-03-08 10:30"),
        (window("2026-03-02 06:30", 2 * HOUR, zone="America/New_York", until=date(2026, 3, 7)), None),
    ],
)
def test_c12_windows_that_overlap(other: Window, meets: str | None) -> None:
    found = overlap(MORNING, other, NOW)
    assert (None if found is None else found.replace(tzinfo=UTC)) == (None if meets is None else at(meets))
    assert (overlap(other, MORNING, NOW) is None) == (meets is None)


def test_c12_windows_of_one_zone_that_meet_on_the_clock_meet_so_when_clocks_change() -> None:
    night, day = window("2026-03-02 22:00", 8 * HOUR), window("2026-03-03 06:00", 4 * HOUR)
    assert overlap(night, day, NOW) is None
    spring = at("2026-03-29 04:30")  # 06:30: the night, an hour longer on the clock, is open as well
    assert open_at(night, spring, timedelta(), None) is not None
    assert open_at(day, spring, timedelta(), None) is not None


def test_c12_two_years_are_looked_at() -> None:
    base = window("2026-03-02 08:00", 4 * HOUR, until=date(2027, 3, 2))
    later = window("2027-03-02 11:00", HOUR)
    assert overlap(base, later, NOW) == datetime(2027, 3, 2, 11)  # noqa: DTZ001 - a wall time
    assert overlap(base, later, at("2027-03-03")) is None


@given(ones=st.tuples(windows_over_a_change(), windows_over_a_change()))
def test_c12_overlap_is_symmetric_and_bounded(ones: tuple[tuple[Window, datetime], tuple[Window, datetime]]) -> None:
    (one, now), (other, _) = ones
    first = overlap(one, other, now)
    assert first == overlap(other, one, now)
    if first is not None and one.zone.key != other.zone.key:
        for each in (one, other):
            assert any(span.start <= first < span.end for span in occurrences(each, first, first + MINUTE))


def test_c12_what_is_promised_is_the_base_or_the_window_whichever_is_more() -> None:
    morning, small = window("2026-06-01 08:00", HOUR, zone="UTC", count=5), window("2026-06-01 12:00", zone="UTC")
    line = promised(2, [morning, small], at("2026-06-01"), at("2026-06-02"))
    assert line == [Level(at("2026-06-01"), 2), Level(at("2026-06-01 08:00"), 5), Level(at("2026-06-01 09:00"), 2)]
    other = promised(1, [window("2026-06-01 08:30", HOUR, zone="UTC", count=3)], at("2026-06-01"), at("2026-06-02"))
    assert [(f"{one.at:%H:%M}", one.count) for one in summed([line, other])] == [
        ("00:00", 3), ("08:00", 6), ("08:30", 8), ("09:00", 5), ("09:30", 3),
    ]  # fmt: skip


@given(case=windows_over_a_change(), base=st.integers(0, 3), count=st.integers(1, 5))
def test_c12_what_is_promised_at_any_time_is_the_effective_count(
    case: tuple[Window, datetime], base: int, count: int
) -> None:
    one, start = case
    one = Window(one.first, one.at, one.duration, one.recurrence, one.zone, count, one.until)
    end = start + 2 * DAY
    line = promised(base, [one], start, end)
    for now in (start + ahead * HOUR for ahead in range(48)):
        level = [level.count for level in line if level.at <= now][-1]
        assert level == max(base, count if open_at(one, now, timedelta(), None) else 0)


def test_c12_only_zones_of_the_iana_database_may_be_named() -> None:
    assert {"Europe/Berlin", "UTC", "Pacific/Apia"} <= zone_names()
    assert not {"", "Europe", "Factory", "localtime", "../etc/passwd", "CEST", "posixrules"} & zone_names()
