"""Windows and calendars as the pages show them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from claims.calendar import Bar, Day, Span, days_of, window_spans
from claims.models import CapacityClaim, ClaimWindow
from claims.selectors import QuotaRow
from claims.window_rows import Upcoming, upcoming
from claims.windows import next_windows, window_of, windows_of

UTC_ZONE = ZoneInfo("UTC")
HIGH = 100  # the height of a bar that is as much as there is


@dataclass(frozen=True, slots=True)
class Shown:
    """A window in words; `next` in the window's own zone too."""

    one: Upcoming[ClaimWindow]
    now: datetime

    @property
    def row(self) -> ClaimWindow:
        return self.one.row

    @property
    def open(self) -> bool:
        return self.one.under_way(self.now)

    @property
    def opened(self) -> bool:
        """It is being provisioned for its next occurrence."""
        return not self.open and self.one.next is not None and self.row.opened_for == self.one.next.start

    @property
    def words(self) -> str:
        return words_of(self.row)

    @property
    def own(self) -> str:
        """When it is next, on the clock of its zone."""
        if self.one.next is None:
            return ""
        start, end = (at.astimezone(window_of(self.row).zone) for at in (self.one.next.start, self.one.next.end))
        until = f"{end:%H:%M}" if start.date() == end.date() else f"{end:%a %d %b %H:%M}"
        return f"{start:%a %d %b %H:%M} to {until} {self.row.time_zone}"


def words_of(row: ClaimWindow) -> str:
    """As "on weekdays from 08:00 for 10 h, Europe/Berlin"."""
    minutes = row.duration // timedelta(minutes=1)
    lasts = " ".join(part for part in (f"{minutes // 60} h" if minutes >= 60 else "", f"{minutes % 60} min" if minutes % 60 else "") if part)  # fmt: skip
    until = f" until {row.until}" if row.until else ""
    rule = window_of(row).recurrence.words(row.first)
    return f"{rule} from {row.at:%H:%M} for {lasts}, {row.time_zone}{until}"


def shown_windows(claim: CapacityClaim, now: datetime) -> list[Shown]:
    return [Shown(one, now) for one in upcoming(windows_of(claim), now)]


def next_of(claims: Collection[CapacityClaim], now: datetime) -> dict[int, Shown]:
    """By claim key, the window that is open or comes next. One query."""
    return {key: Shown(one, now) for key, one in next_windows(claims, now).items()}


def windows_lacking(
    claims: Iterable[CapacityClaim], quotas: Iterable[QuotaRow], now: datetime
) -> list[tuple[CapacityClaim, list[Span]]]:
    """Claims with windows that cannot be had whole in two weeks, and when. No query where no claim has windows, else
    three."""
    having = [one for one in claims if one.window_peak]
    if not having:
        return []
    spans = window_spans(having, {row.offering.key: row for row in quotas}, now, UTC_ZONE)
    found = [(one, [span for span in spans.get(one.key, []) if span.lacking and span.end > now]) for one in having]
    return [(claim, lacking) for claim, lacking in found if lacking]


@dataclass(frozen=True, slots=True)
class Box:
    """A bar as it is drawn: minutes across, hundredths of the most up."""

    bar: Bar
    y: float
    height: float
    lacking: float


@dataclass(frozen=True, slots=True)
class Row:
    """A day of a calendar: what is drawn, and the same in words."""

    day: Day
    boxes: Sequence[Box]

    @property
    def words(self) -> list[tuple[str, int, int]]:
        """(from when on, instances, lacking)."""
        return [(f"{one.begin // 60:02}:{one.begin % 60:02}", one.count, one.lacking) for one in self.day.bars]


@dataclass(frozen=True, slots=True)
class Calendar:
    """Two weeks of days of the zone. `most` is the largest number of instances, which fills the height."""

    zone: str
    rows: Sequence[Row]
    most: int
    available: int
    lacking: Sequence[Span]


def calendar_of(spans: Sequence[Span], zone: ZoneInfo, available: int, now: datetime) -> Calendar | None:
    """None where nothing is promised. What lacked earlier today is not told any more."""
    if not spans:
        return None
    most = max(1, available, *(one.count for one in spans))
    rows = [Row(day, [_box(bar, most) for bar in day.bars]) for day in days_of(spans, zone)]
    return Calendar(zone.key, rows, most, available, [one for one in spans if one.lacking and one.end > now])


def _box(bar: Bar, most: int) -> Box:
    height = HIGH * bar.count / most
    return Box(bar, round(HIGH - height, 2), round(height, 2), round(HIGH * bar.lacking / most, 2))


def claim_calendar(
    claim: CapacityClaim, shown: Sequence[Shown], quota: QuotaRow | None, now: datetime
) -> Calendar | None:
    """Of a claim that has windows, by the days of the first one's zone."""
    if not shown:
        return None
    zone = window_of(shown[0].row).zone
    spans = window_spans([claim], {claim.offering_id: quota} if quota else {}, now, zone).get(claim.key, [])
    if quota is None:
        return calendar_of(spans, zone, claim.offering.pool_wanted, now)
    return calendar_of(spans, zone, max(0, quota.limit - quota.other_usage), now)
