"""Which days a window recurs on: a strict, small part of the RRULE of RFC 5545, section 3.3.10.

    FREQ=DAILY | WEEKLY | MONTHLY     required
    INTERVAL=1..12                    every so many days, weeks (from Monday on) or months, counted from the first day
    BYDAY=MO,TU,...                   WEEKLY alone; left out: the first day's
    BYMONTHDAY=1..31 or -1 (the last) MONTHLY alone; left out: the first day's; a month without such a day is left out

What RRULE has besides is refused rather than read as something else. An end is not part of it: a window has one.
"""

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
SEVERAL = {(0, 1, 2, 3, 4): "on weekdays", (5, 6): "at weekends", (0, 1, 2, 3, 4, 5, 6): "every day"}
MOST_INTERVAL = 12
MOST_TEXT = 200
MONTH_DAY = re.compile(r"-1|[1-9]|[12][0-9]|3[01]")


class Freq(StrEnum):
    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"


@dataclass(frozen=True, slots=True)
class Recurrence:
    """`days` are weekdays (0: Monday) of a WEEKLY one, days of the month (-1: the last) of a MONTHLY one, in order."""

    freq: Freq
    interval: int = 1
    days: tuple[int, ...] = ()

    def on(self, day: date, first: date) -> bool:
        """Whether it recurs on this day, where `first` is the day it counts from."""
        if self.freq == Freq.DAILY:
            return (day - first).days % self.interval == 0
        if self.freq == Freq.WEEKLY:
            weeks = (_monday(day) - _monday(first)).days // 7
            return day.weekday() in (self.days or (first.weekday(),)) and weeks % self.interval == 0
        months = (day.year - first.year) * 12 + day.month - first.month
        return months % self.interval == 0 and any(_is_month_day(day, one) for one in self.days or (first.day,))

    def dates(self, first: date, since: date, until: date) -> Iterator[date]:
        """The days from `since` to `until`, both included, on which it recurs; none before `first`."""
        day = max(first, since)
        for ahead in range((until - day).days + 1):
            one = day + timedelta(days=ahead)
            if self.on(one, first):
                yield one

    def words(self, first: date) -> str:
        """As a reader would say it: "every day", "every 2 weeks on Mon, Fri", "every month on day 1 and the last"."""
        unit = {Freq.DAILY: "day", Freq.WEEKLY: "week", Freq.MONTHLY: "month"}[self.freq]
        every = f"every {self.interval} {unit}s" if self.interval > 1 else f"every {unit}"
        if self.freq == Freq.DAILY:
            return every
        if self.freq == Freq.WEEKLY:
            days = self.days or (first.weekday(),)
            if self.interval == 1 and days in SEVERAL:
                return SEVERAL[days]
            return f"{every} on {', '.join(WEEKDAYS[one].capitalize() for one in days)}"
        named = ["the last" if one == -1 else f"day {one}" for one in self.days or (first.day,)]
        return f"{every} on {' and '.join(named)}"

    def __str__(self) -> str:
        parts = [f"FREQ={self.freq}"] + ([f"INTERVAL={self.interval}"] if self.interval > 1 else [])
        if self.days and self.freq == Freq.WEEKLY:
            parts.append("BYDAY=" + ",".join(WEEKDAYS[one] for one in self.days))
        if self.days and self.freq == Freq.MONTHLY:
            parts.append("BYMONTHDAY=" + ",".join(map(str, self.days)))
        return ";".join(parts)


def parsed(text: str) -> Recurrence:
    """The recurrence that the text means; ValueError says what is wrong with it."""
    fields = _fields(text)
    freq = _freq(fields.pop("FREQ", None))
    interval = _interval(fields.pop("INTERVAL", "1"))
    own = {Freq.WEEKLY: "BYDAY", Freq.MONTHLY: "BYMONTHDAY"}.get(freq)
    listed = fields.pop(own, None) if own else None
    for name in fields:
        raise ValueError(f"{name} is not understood with FREQ={freq}")
    if listed is None:
        return Recurrence(freq, interval)
    return Recurrence(freq, interval, _weekdays(listed) if freq == Freq.WEEKLY else _month_days(listed))


def _fields(text: str) -> dict[str, str]:
    if len(text) > MOST_TEXT:
        raise ValueError(f"must be at most {MOST_TEXT} characters")
    found: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if not (name and equals and value):
            raise ValueError("must be parts such as FREQ=WEEKLY;BYDAY=MO,TU")
        if name in found:
            raise ValueError(f"names {name} twice")
        found[name] = value
    return found


def _freq(text: str | None) -> Freq:
    if text is None or text not in Freq.__members__:
        raise ValueError(f"FREQ must be one of {', '.join(Freq)}")
    return Freq(text)


def _interval(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]?", text) or int(text) > MOST_INTERVAL:
        raise ValueError(f"INTERVAL must be from 1 to {MOST_INTERVAL}")
    return int(text)


def _weekdays(text: str) -> tuple[int, ...]:
    names = text.split(",")
    if not set(names) <= set(WEEKDAYS) or len(set(names)) < len(names):
        raise ValueError(f"BYDAY must list days, each once, of {', '.join(WEEKDAYS)}")
    return tuple(sorted(WEEKDAYS.index(one) for one in names))


def _month_days(text: str) -> tuple[int, ...]:
    names = text.split(",")
    if not all(MONTH_DAY.fullmatch(one) for one in names) or len(set(names)) < len(names):
        raise ValueError("BYMONTHDAY must list days, each once, from 1 to 31, or -1 for the last")
    return tuple(sorted(map(int, names), key=lambda one: (one < 0, one)))


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _is_month_day(day: date, number: int) -> bool:
    return day.day == (calendar.monthrange(day.year, day.month)[1] if number == -1 else number)
