"""History of signals: chunks written once when their span ends, the open span computed from what is finer.

| resolution | span of a row | kept | made from |
|---|---|---|---|
| 5 s | an hour | 2 days | sampling blocks (kept 2 hours) |
| 1 min | a day | 60 days | 5 s chunks |
| 1 h | a 30-day month | 2 years | 1 min chunks |
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from claims.models import InstanceType
from deployments.loop.blocks import Block
from deployments.loop.points import Points, aggregate, from_samples, joined
from deployments.models import Deployment, SignalBlock, SignalChunk

HOUR, DAY, MONTH = 3600, 86_400, 30 * 86_400
BLOCKS_KEPT = timedelta(hours=2)
MOST_POINTS = 600
SETTLE = timedelta(seconds=30)  # a pass that began before the hour may write its block a little after it
TOTALS = ("arrived", "finished", "service_seconds", "waited_le_1s", "waited_le_5s")
GAUGES = ("queued", "active", "ready", "starting")


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution: seconds of a point, seconds of a row, how long rows are kept."""

    step: int
    span: int
    kept: timedelta


LEVELS = {
    5: Level(5, HOUR, timedelta(days=2)),
    60: Level(60, DAY, timedelta(days=60)),
    3600: Level(3600, MONTH, timedelta(days=730)),
}
FINER = {60: 5, 3600: 60}


def roll_up(now: datetime) -> int:
    """Write every chunk whose span has ended, then drop what is kept no longer; returns how many were written.

    Doing it again, late or twice at once writes nothing twice: a chunk's key is unique and the first one stays.
    """
    written = sum(_roll_hours(one, now) for one in InstanceType.objects.filter(signalblock__isnull=False).distinct())
    for step in (60, 3600):
        written += _roll_coarser(step, now)
    _drop(now)
    return written


def _roll_hours(instance_type: InstanceType, now: datetime) -> int:
    last = _floor(now - SETTLE, HOUR)
    first = SignalBlock.objects.filter(instance_type=instance_type).order_by("at").values_list("at", flat=True).first()
    if first is None:
        return 0
    written = 0
    hour = _floor(first, HOUR)
    while hour < last:
        written += _roll_hour(instance_type, hour)
        hour += timedelta(seconds=HOUR)
    return written


def _roll_hour(instance_type: InstanceType, hour: datetime) -> int:
    end = hour + timedelta(seconds=HOUR)
    deployments = Deployment.objects.filter(instance_type=instance_type).exclude(
        signalchunk__resolution=5, signalchunk__starts_at=hour
    )
    keys = list(deployments.values_list("key", flat=True))
    if not keys:
        return 0
    blocks = _blocks(instance_type, hour, end)
    rows = [
        SignalChunk(deployment_id=key, resolution=5, starts_at=hour, payload=points.to_bytes())
        for key, points in ((key, _points_of(blocks, key).between(hour.timestamp(), end.timestamp())) for key in keys)
        if len(points)
    ]
    SignalChunk.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)
    return len(rows)


def _roll_coarser(step: int, now: datetime) -> int:
    """Chunks of `step` seconds for every span that has ended and has finer chunks."""
    level, finer = LEVELS[step], LEVELS[FINER[step]]
    last = _floor(now - SETTLE, level.span)
    found = SignalChunk.objects.filter(resolution=finer.step, starts_at__lt=last)
    spans = {(key, _floor(at, level.span)) for key, at in found.values_list("deployment_id", "starts_at")}
    known = SignalChunk.objects.filter(resolution=step).values_list("deployment_id", "starts_at")
    rows = []
    for key, start in sorted(spans - set(known)):
        points = aggregate(_chunks(key, finer.step, start, start + timedelta(seconds=level.span)), step)
        rows.append(SignalChunk(deployment_id=key, resolution=step, starts_at=start, payload=points.to_bytes()))
    SignalChunk.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)
    return len(rows)


def _drop(now: datetime) -> None:
    SignalBlock.objects.filter(at__lt=now - BLOCKS_KEPT).delete()
    for level in LEVELS.values():
        old = now - level.kept - timedelta(seconds=level.span)
        SignalChunk.objects.filter(resolution=level.step, starts_at__lt=old).delete()


def series(deployment: Deployment, start: datetime, end: datetime, step: int) -> Points:
    """Points of `step` seconds (5, 60 or 3600) of a deployment in [start, end), the open span included."""
    level = LEVELS[step]
    first = _floor(start, level.span)
    chunks = _chunk_rows(deployment.key, step, first, end)
    parts, at = [], first
    while at < end:
        after = at + timedelta(seconds=level.span)
        parts.append(chunks[at] if at in chunks else _open(deployment, max(at, start), min(after, end), step))
        at = after
    return joined(parts).between(start.timestamp(), end.timestamp())


def _open(deployment: Deployment, start: datetime, end: datetime, step: int) -> Points:
    """What no chunk of this resolution holds yet."""
    if step != 5:
        return aggregate(series(deployment, _floor(start, step), end, FINER[step]), step)
    return _points_of(_blocks(deployment.instance_type, start, end), deployment.key).between(
        start.timestamp(), end.timestamp()
    )


def resolution_for(start: datetime, end: datetime) -> int:
    """The finest resolution that needs no more than 600 points for the range."""
    seconds = (end - start).total_seconds()
    return next((step for step in LEVELS if seconds / step <= MOST_POINTS), 3600)


def chart_series(deployment: Deployment, start: datetime, end: datetime) -> Points:
    """At most 600 points for a chart of any range."""
    seconds = (end - start).total_seconds()
    step = resolution_for(start, end)
    finer = {60: 5, 3600: 60}.get(step, 5)
    # Between two resolutions, the finer one put together shows more than the coarser.
    wide = int(np.ceil(seconds / MOST_POINTS / finer)) * finer
    if wide <= finer:
        return series(deployment, start, end, finer)
    return aggregate(series(deployment, start, end, finer if wide < step else step), max(wide, finer))


def _blocks(instance_type: InstanceType, start: datetime, end: datetime) -> list[tuple[float, Block]]:
    """Blocks in [start, end), and the one before them, from which counters go on."""
    found = SignalBlock.objects.filter(instance_type=instance_type)
    before = (
        found.filter(at__lt=start, at__gte=start - timedelta(minutes=5)).order_by("-at").values_list("at", "payload")
    )
    inside = found.filter(at__gte=start, at__lt=end).order_by("at").values_list("at", "payload")
    rows = [*before[:1], *inside]
    return [(at.timestamp(), Block.from_bytes(payload)) for at, payload in rows]


def _points_of(blocks: list[tuple[float, Block]], key: int) -> Points:
    """5 s points of one deployment."""
    at, gauges, totals = [], [], []
    wanted = np.array([key])
    for moment, block in blocks:
        place, there = block.rows_of(wanted)
        if there[0]:
            at.append(moment)
            gauges.append([float(getattr(block, name)[place[0]]) for name in GAUGES])
            totals.append([float(getattr(block, name)[place[0]]) for name in TOTALS])
    return from_samples(np.array(at), np.array(gauges).reshape(-1, 4), np.array(totals).reshape(-1, 5), 5)


def _chunk_rows(key: int, step: int, start: datetime, end: datetime) -> dict[datetime, Points]:
    found = SignalChunk.objects.filter(deployment_id=key, resolution=step, starts_at__gte=start, starts_at__lt=end)
    return {at: Points.from_bytes(payload) for at, payload in found.values_list("starts_at", "payload")}


def _chunks(key: int, step: int, start: datetime, end: datetime) -> Points:
    rows = _chunk_rows(key, step, start, end)
    return joined([rows[at] for at in sorted(rows)])


def _floor(at: datetime, seconds: int) -> datetime:
    return datetime.fromtimestamp(at.timestamp() // seconds * seconds, UTC)
