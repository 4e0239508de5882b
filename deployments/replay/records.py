"""Records of passes: written by the scaling loop, dropped by roll-up, read by whoever asks about the past."""

from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Sum

from claims.models import InstanceType
from deployments.core.plan import Plan
from deployments.core.snapshot import Snapshot
from deployments.models import TickRecord
from deployments.replay.recorded import to_bytes

KEPT_FOR = timedelta(hours=24)
MOST_BYTES = 2_000_000_000
_BEYOND = """
    DELETE FROM deployments_tickrecord WHERE id IN (
        SELECT id FROM (
            SELECT id, sum(bytes) OVER (ORDER BY at DESC, id DESC) AS so_far FROM deployments_tickrecord
        ) s WHERE so_far > %s)"""


def tick_record(*, instance_type: InstanceType, snapshot: Snapshot, made: Plan, decisions: int, now: datetime) -> None:
    """Keep a pass in which decisions changed. Written after what it decided is committed: no lock waits for it."""
    if not decisions:
        return
    payload = to_bytes(snapshot, made)
    TickRecord.objects.create(
        instance_type=instance_type, at=now, decisions=decisions, bytes=len(payload), payload=payload
    )


def ticks_drop(*, now: datetime, most_bytes: int = MOST_BYTES) -> None:
    """Drop records that are a day old, and the oldest of those that are too many."""
    TickRecord.objects.filter(at__lt=now - KEPT_FOR).delete()
    if (TickRecord.objects.aggregate(total=Sum("bytes"))["total"] or 0) > most_bytes:
        with connection.cursor() as cursor:
            cursor.execute(_BEYOND, [most_bytes])
