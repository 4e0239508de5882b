"""History made afterwards as chunks of signals, beside those of the roll-up.

The hour in which a deployment began has two parts: what was made afterwards, and what was sampled since. Whoever comes
second joins them: this module where the roll-up has written the hour, the roll-up where this has (`until` says so).
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from deployments.history.hours import HOUR
from deployments.history.make import Made
from deployments.loop.points import Points, joined
from deployments.models import SignalChunk

FINEST = 5


def store(made: Made, deployments: Collection[int]) -> None:
    """Keep the points of an hour, in the caller's transaction."""
    starts_at = datetime.fromtimestamp(made.hour.begins, UTC)
    end = datetime.fromtimestamp(made.hour.end, UTC)
    until = end if end < starts_at + timedelta(seconds=HOUR) else None
    rows = {key: points for key, points in made.points.items() if key in deployments}
    SignalChunk.objects.bulk_create(
        (SignalChunk(deployment_id=key, resolution=FINEST, starts_at=starts_at, until=until, payload=points.to_bytes())
         for key, points in sorted(rows.items())),
        ignore_conflicts=True,
    )  # fmt: skip
    if until is not None:
        _join(rows, starts_at, until)


def _join(rows: dict[int, Points], starts_at: datetime, until: datetime) -> None:
    """Into the chunks of the hour that were there already: what was sampled stays as it is."""
    there = SignalChunk.objects.select_for_update(no_key=True).filter(
        deployment__in=rows, resolution=FINEST, starts_at=starts_at, until__isnull=True
    )
    for chunk in there.order_by("pk"):
        sampled = Points.from_bytes(chunk.payload).between(until.timestamp(), float("inf"))
        made = rows[chunk.deployment_id].between(0, until.timestamp())
        chunk.payload = joined([made, sampled]).to_bytes()
        chunk.save(update_fields=["payload"])
