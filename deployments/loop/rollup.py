"""Writes the history: a chunk for each deployment and span that has ended, then drops what is kept no longer.

Doing it again, late or twice at once writes nothing twice: a chunk's key is unique and the first one stays.
"""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef

from claims.models import InstanceType
from console.organizations.idempotency import answers_forget
from deployments.core.states import FINAL
from deployments.loop.history import FINER, HOUR, LEVELS, chunks, floor
from deployments.loop.passes import passes_between, points_between, points_of
from deployments.loop.points import Points, aggregate, joined
from deployments.models import UNDER_WAY, Deployment, HistoryRun, Replica, SignalBlock, SignalChunk
from deployments.replay.records import ticks_drop

BLOCKS_KEPT = timedelta(hours=2)
REPLICAS_KEPT = timedelta(days=2)  # rows of replicas that have ended
SETTLE = timedelta(seconds=30)  # a pass that began before the hour may write its block a little after it
BATCH = 200  # deployments whose hour is in memory at once, in 60 MB


def roll_up(now: datetime) -> int:
    """Write every chunk whose span has ended, finest first; returns how many."""
    sampled = InstanceType.objects.filter(Exists(SignalBlock.objects.filter(instance_type=OuterRef("key"))))
    written = sum(_roll_hours(one, now) for one in sampled.order_by("key"))
    written += sum(_roll_coarser(step, now) for step in sorted(FINER))
    _drop(now)
    ticks_drop(now=now)
    answers_forget(now=now)
    return written


def _roll_hours(instance_type: InstanceType, now: datetime) -> int:
    times = SignalBlock.objects.filter(instance_type=instance_type).order_by("at").values_list("at", flat=True)
    hour, last = floor(times[0], HOUR), floor(now - SETTLE, HOUR)
    written = 0
    while hour < last:
        end = hour + timedelta(seconds=HOUR)
        if times.filter(at__gte=hour, at__lt=end).exists():
            written += _roll_hour(instance_type, hour, end)
        hour = end
    return written


def _roll_hour(instance_type: InstanceType, hour: datetime, end: datetime) -> int:
    """Chunks of an hour for all deployments of the shard; an empty one where it was not sampled, so that it is done."""
    known = SignalChunk.objects.filter(deployment=OuterRef("key"), resolution=5, starts_at=hour, until__isnull=True)
    missing = Deployment.objects.filter(~Exists(known), instance_type=instance_type, created_at__lt=end)
    deployments = list(missing.order_by("key").only("key", "instance_type_id"))
    if not deployments:
        return 0
    elsewhere = _also_elsewhere(instance_type)
    passes = passes_between([instance_type.key], hour, end)
    for at in range(0, len(deployments), BATCH):
        some = deployments[at : at + BATCH]
        points = [
            one.between(hour.timestamp(), end.timestamp())
            for one in points_of(passes, [d.key for d in some], waits=True)
        ]
        points = [
            points_between(d, hour, end, waits=True) if d.key in elsewhere else p
            for d, p in zip(some, points, strict=True)
        ]
        rows = {d.key: p for d, p in zip(some, points, strict=True)}
        _finish(rows, hour)
        _write(5, [(key, hour, p) for key, p in rows.items()])
    return len(deployments)


def _finish(rows: dict[int, Points], hour: datetime) -> None:
    """Chunks of the hour that hold its first part, made afterwards: what was sampled since joins it."""
    with transaction.atomic():
        begun = SignalChunk.objects.select_for_update(no_key=True).filter(
            deployment__in=rows, resolution=5, starts_at=hour, until__isnull=False
        )
        for chunk in begun.order_by("pk"):
            assert chunk.until is not None
            sampled = rows[chunk.deployment_id].between(chunk.until.timestamp(), float("inf"))
            chunk.payload = joined([Points.from_bytes(chunk.payload), sampled]).to_bytes()
            chunk.until = None
            chunk.save(update_fields=["payload", "until"])


def _also_elsewhere(instance_type: InstanceType) -> set[int]:
    """Deployments of the shard that moved here: parts of their hour are in another shard's passes."""
    moved = Replica.objects.filter(deployment__instance_type=instance_type).exclude(instance_type=instance_type)
    return set(moved.values_list("deployment_id", flat=True).distinct())


def _roll_coarser(step: int, now: datetime) -> int:
    """Chunks of `step` seconds for every span that has ended and has finer chunks."""
    span, finer = timedelta(seconds=LEVELS[step].span), LEVELS[FINER[step]]
    found = SignalChunk.objects.filter(resolution=finer.step)
    times = found.order_by("starts_at").values_list("starts_at", flat=True)
    first = times.first()
    start, last = floor(first or now, LEVELS[step].span), floor(now - SETTLE, LEVELS[step].span)
    written = 0
    while start < last:
        known = SignalChunk.objects.filter(deployment=OuterRef("deployment"), resolution=step, starts_at=start)
        of_span = found.filter(~Exists(known), ~_being_made(start + span), starts_at__gte=start,
                               starts_at__lt=start + span)  # fmt: skip
        keys = list(of_span.order_by("deployment_id").values_list("deployment_id", flat=True).distinct())
        for at in range(0, len(keys), BATCH):
            _write(step, [(key, start, _coarser(key, finer.step, start, start + span, step))
                          for key in keys[at : at + BATCH]])  # fmt: skip
        written += len(keys)
        start += span
    return written


def _being_made(end: datetime) -> Exists:
    """Whether history from before `end` is still being made afterwards for the chunk's deployment."""
    runs = HistoryRun.objects.filter(deployments=OuterRef("deployment"), state__in=UNDER_WAY, starts_at__lt=end)
    return Exists(runs)


def _coarser(key: int, finer: int, start: datetime, end: datetime, step: int) -> Points:
    return aggregate(joined([one.points for one in chunks(key, finer, start, end)]), step)


def _write(step: int, rows: list[tuple[int, datetime, Points]]) -> None:
    SignalChunk.objects.bulk_create(
        (SignalChunk(deployment_id=key, resolution=step, starts_at=at, payload=points.to_bytes())
         for key, at, points in rows),
        ignore_conflicts=True,
    )  # fmt: skip


def _drop(now: datetime) -> None:
    """What is kept no longer. The newest old block of a shard stays: the next counters go on from it."""
    old = SignalBlock.objects.filter(at__lt=now - BLOCKS_KEPT)
    old.filter(Exists(old.filter(instance_type=OuterRef("instance_type"), at__gt=OuterRef("at")))).delete()
    for level in LEVELS.values():
        kept_from = now - level.kept - timedelta(seconds=level.span)
        SignalChunk.objects.filter(resolution=level.step, starts_at__lt=kept_from).delete()
    _drop_replicas(now - REPLICAS_KEPT)


def _drop_replicas(before: datetime) -> None:
    """Replicas that ended before; those that replaced them are locked first, in the order all writers keep."""
    old = Replica.objects.filter(state__in=sorted(FINAL), stopped_at__lt=before)
    with transaction.atomic():
        newer = Replica.objects.select_for_update(no_key=True, of=("self",)).filter(replaces__in=old)
        list(newer.order_by("key").values_list("key"))
        old.delete()
