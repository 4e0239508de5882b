"""History of signals as charts and backtests read it: chunks, and the open span computed from what is finer.

| resolution | span of a row | kept | made from |
|---|---|---|---|
| 5 s | an hour | 2 days | sampling blocks (kept 2 hours) |
| 1 min | a day | 60 days | 5 s chunks |
| 1 h | a 30-day month | 2 years | 1 min chunks |

The number of queries depends on neither the range nor how much of it there is.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deployments.loop.passes import points_between
from deployments.loop.points import Points, aggregate, joined
from deployments.models import Deployment, SignalChunk

HOUR, DAY, MONTH = 3600, 86_400, 30 * 86_400
MOST_POINTS = 600  # that a chart draws
MOST_READ = 17_280  # that are read for it: a day at 5 s, twelve days at a minute


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution: seconds of a point, seconds of a row, how long rows are kept."""

    step: int
    span: int
    kept: timedelta


@dataclass(frozen=True, slots=True)
class Chunk:
    """Points of the span that begins at `starts_at`, of its whole length but where its rest is still open."""

    starts_at: datetime
    until: datetime
    points: Points


LEVELS = {
    5: Level(5, HOUR, timedelta(days=2)),
    60: Level(60, DAY, timedelta(days=60)),
    3600: Level(3600, MONTH, timedelta(days=730)),
}
FINER = {60: 5, 3600: 60}


def series(deployment: Deployment, start: datetime, end: datetime, step: int, *, waits: bool = False) -> Points:
    """Points of `step` seconds (5, 60 or 3600) of a deployment that begin in [start, end), the open span included; with
    the counts of waits of that one too where these are asked for."""
    first = floor(start, LEVELS[step].span)
    written = chunks(deployment.key, step, first, end)
    parts = [one.points for one in written]
    opens = max(first, written[-1].until if written else _written_before(deployment.key, step, first))
    if opens < end:
        parts.append(_open(deployment, opens, end, step, waits))
    return joined(parts).between(start.timestamp(), end.timestamp())


def _written_before(key: int, step: int, first: datetime) -> datetime:
    """End of the newest chunk before `first`: what comes after is open. Spans are written in order."""
    before = SignalChunk.objects.filter(deployment_id=key, resolution=step, starts_at__lt=first)
    last = before.order_by("-starts_at").values_list("starts_at", "until").first()
    return first if last is None else last[1] or last[0] + timedelta(seconds=LEVELS[step].span)


def _open(deployment: Deployment, start: datetime, end: datetime, step: int, waits: bool) -> Points:
    """What no chunk of this resolution holds yet."""
    if step == min(LEVELS):
        return points_between(deployment, start, end, waits=waits)
    return aggregate(series(deployment, start, end, FINER[step], waits=waits), step)


def chunks(key: int, step: int, start: datetime, end: datetime) -> list[Chunk]:
    """Chunks of a deployment that begin in [start, end), in the order of time."""
    found = SignalChunk.objects.filter(deployment_id=key, resolution=step, starts_at__gte=start, starts_at__lt=end)
    span = timedelta(seconds=LEVELS[step].span)
    rows = found.order_by("starts_at").values_list("starts_at", "until", "payload")
    return [Chunk(at, until or at + span, Points.from_bytes(payload)) for at, until, payload in rows]


def chart_series(
    deployment: Deployment, start: datetime, end: datetime, now: datetime, *, waits: bool = False
) -> Points:
    """At most 600 points for a chart of any range, from the finest resolution that reaches back far enough."""
    step, wide = chart_step(start, end, now)
    first = floor(start, wide)
    return aggregate(series(deployment, first, end, step, waits=waits), wide)


def chart_step(start: datetime, end: datetime, now: datetime) -> tuple[int, int]:
    """Resolution to read, and seconds of a point to draw: a multiple of it."""
    reaching = [level.step for level in LEVELS.values() if start >= now - level.kept] or [max(LEVELS)]
    seconds = (end - start).total_seconds() + reaching[0]
    step = next((one for one in reaching if seconds / one <= MOST_READ), reaching[-1])
    wide = step
    while seconds / wide > MOST_POINTS - 1:
        wide += step
    return step, wide


def floor(at: datetime, seconds: int) -> datetime:
    """The beginning of the span of `seconds` that `at` lies in; spans are counted from 1970."""
    return datetime.fromtimestamp(at.timestamp() // seconds * seconds, UTC)
