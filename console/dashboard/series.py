"""Chart data, as the page's chart module wants it. At most 600 points a series."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any
from uuid import UUID

import numpy as np
from django.db.models import Min

from claims import metering
from claims.core.rating import PriceMissing
from claims.models import CapacityClaim, Offering
from claims.selectors import allocation_history, claims_of
from console.dashboard import afterwards
from console.dashboard.afterwards import shown_since
from console.dashboard.points import FLEET, feed
from console.organizations.models import AuditEvent, Organization
from deployments.core import waits
from deployments.history.selectors import Span
from deployments.loop import history
from deployments.loop import points as history_points
from deployments.loop.blocks import Block
from deployments.models import Decision, Deployment, SignalBlock, SignalChunk

RANGES = {"15m": timedelta(minutes=15), "1h": timedelta(hours=1), "6h": timedelta(hours=6), "24h": timedelta(hours=24),
          "7d": timedelta(days=7)}  # fmt: skip
FLEET_RANGE = timedelta(hours=1)
STEP = 10  # seconds of a point of the fleet's charts
MOST = 600
MOST_DECISIONS = 5000  # of a whole organization; what is older than these is left out of a chart
PERCENTILES = {50: "ok", 95: "warn", 99: "bad"}  # of waits, and their colours
GAP = 4  # times the usual distance between samples, and a line is broken

Points = list[tuple[int, float | None]]


def milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def series(name: str, color: str, points: Points, style: str = "line", feed: str | None = None) -> dict[str, Any]:
    """`feed` names the values in the stream's events that go on with it."""
    return {"name": name, "color": color, "style": style, "points": points, "feed": feed}


def chart(
    unit: str,
    start: datetime,
    end: datetime,
    rows: Sequence[dict[str, Any]],
    *,
    since: datetime | None = None,
    made: Span | None = None,
) -> dict[str, Any]:
    """The window [start, end], shown from `since` on where nothing existed before; `span` is its whole length. `made` is
    the part that was made afterwards."""
    begins = min(end, max(start, since)) if since else start
    shown = {"unit": unit, "from": milliseconds(begins), "to": milliseconds(end),
             "span": milliseconds(end) - milliseconds(start), "series": rows}  # fmt: skip
    if made and made[0] < end and made[1] > start:
        return shown | {"made": {"from": milliseconds(made[0]), "to": milliseconds(made[1]), "text": afterwards.TEXT}}
    return shown


def deployment_replicas(deployment: Deployment, start: datetime, end: datetime) -> dict[str, Any]:
    """Ready and starting as sampled, wanted as decided, and today's bounds."""
    points = history.chart_series(deployment, start, end, end)
    since, made = shown_since([deployment.key], deployment.created_at)
    policy, id = deployment.autoscaling, deployment.id
    edges = [milliseconds(start), milliseconds(end)]
    wanted = decided([deployment.key], start, end)
    return chart("replicas", start, end, [
        series("Ready", "ok", gauge(points, 2), "area", feed(id, "ready")),
        series("Starting", "info", gauge(points, 3), feed=feed(id, "starting")),
        series("Wanted", "accent", wanted, "step", feed(id, "wanted")),
        series("Min", "idle", [(at, policy.min) for at in edges], "dashed", feed(id, "min")),
        series("Max", "warn", [(at, policy.max) for at in edges], "dashed", feed(id, "max")),
    ], since=since, made=made)  # fmt: skip


def deployment_queue(deployment: Deployment, start: datetime, end: datetime) -> dict[str, Any]:
    points, id = history.chart_series(deployment, start, end, end), deployment.id
    since, made = shown_since([deployment.key], deployment.created_at)
    return chart("requests", start, end, [
        series("Active", "info", gauge(points, 1), "area", feed(id, "active")),
        series("Queued", "warn", gauge(points, 0), "area", feed(id, "queued")),
    ], since=since, made=made)  # fmt: skip


def deployment_waits(deployment: Deployment, start: datetime, end: datetime) -> dict[str, Any]:
    """How long requests waited before they started: percentiles of each point, and of the whole range in words."""
    points = history.chart_series(deployment, start, end, end, waits=True)
    since, made = shown_since([deployment.key], deployment.created_at)
    rows = [series(f"p{percent}", color, stamped(points, waits.percentiles(points.waits, percent), 3))
            for percent, color in PERCENTILES.items()]  # fmt: skip
    return chart("s", start, end, rows, since=since, made=made) | {"summary": waits_in_words(points)}


def waits_in_words(points: history_points.Points) -> str:
    """The percentiles of a range, each with the bounds between which it lies."""
    counted = points.waits[waits.known(points.waits)]
    total = counted.sum(axis=0)
    if not len(counted):
        return "How long requests waited was not counted in this range." if len(points) else ""
    if not total.any():
        return "No request started in this range."
    said = [f"p{percent} {wait_in_words(waits.percentile(total, percent))}" for percent in PERCENTILES]
    part = "" if len(counted) == len(points) else ", in the part of this range in which waits were counted"
    return f"{', '.join(said)}; of {int(total.sum()):,} requests that started{part}."


def wait_in_words(wait: waits.Wait | None) -> str:
    if wait is None:
        return "unknown"
    if wait.at_most_s is None:
        return f"more than {wait.longer_than_s:g} s"
    if wait.at_most_s == 0:
        return "at once"
    about = f"{wait.about_s:.0f}" if wait.about_s >= 10 else f"{wait.about_s:.2g}"
    return f"{about} s ({wait.longer_than_s:g} to {wait.at_most_s:g})"


def deployment_in_time(deployment: Deployment, start: datetime, end: datetime) -> dict[str, Any]:
    """Share of arrivals that began service within 1 and 5 seconds, per point."""
    points = history.chart_series(deployment, start, end, end)
    since, made = shown_since([deployment.key], deployment.created_at)
    arrived = points.counters[:, 0]

    def share(column: int) -> Points:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.clip(100 * points.counters[:, column] / arrived, 0, 100)
        return stamped(points, values, 1)

    return chart("%", start, end, [series("Started within 1 s", "ok", share(3)),
                                   series("Started within 5 s", "info", share(4))],
                 since=since, made=made)  # fmt: skip


def stamped(points: history_points.Points, values: history_points.Floats, digits: int) -> Points:
    return [(at * 1000, round(value, digits) if np.isfinite(value) else None)
            for at, value in zip(points.at.tolist(), values.tolist(), strict=True)]  # fmt: skip


def gauge(points: history_points.Points, row: int) -> Points:
    return broken(stamped(points, points.gauges[:, row, 1], 2))


def broken(points: Points) -> Points:
    """With a hole where nothing was sampled for much longer than usual, so that no line is drawn over it."""
    if len(points) < 3:
        return points
    usual = median(later[0] - earlier[0] for earlier, later in pairwise(points))
    found = points[:1]
    for earlier, later in pairwise(points):
        if later[0] - earlier[0] > GAP * usual:
            found.append((earlier[0] + round(usual), None))
        found.append(later)
    return found[-MOST:]


def decided(deployment_keys: Collection[int], start: datetime, end: datetime) -> Points:
    """What the autoscaler wanted for these deployments together, from one decision to the next."""
    rows = Decision.objects.filter(deployment__in=deployment_keys, at__lt=end)
    before = rows.filter(at__lt=start).order_by("deployment", "-id").distinct("deployment")
    wanted: dict[int, int] = dict(before.values_list("deployment", "wanted"))
    points: Points = [(milliseconds(start), sum(wanted.values()))] if wanted else []
    inside = rows.filter(at__gte=start).order_by("-id").values_list("at", "deployment", "wanted")
    for at, key, number in reversed(inside[:MOST_DECISIONS]):
        wanted[key] = number
        points.append((milliseconds(at), sum(wanted.values())))
    points = points[-MOST + 1 :]
    return [*points, (milliseconds(end), points[-1][1])] if points else []


def fleet(organization: Organization, end: datetime) -> dict[str, dict[str, Any]]:
    """The last hour of all deployments of an organization together: replicas, and requests."""
    start = end - FLEET_RANGE
    found = Deployment.objects.filter(organization=organization)
    keys = dict(found.values_list("key", "instance_type_id"))
    since, made = shown_since(keys, found.aggregate(first=Min("created_at"))["first"])
    sums: dict[int, list[float]] = {}
    if made and made[1] > start:
        add_made(sums, keys, start, made[1])
    for shard in sorted(set(keys.values())):
        mine = np.array(sorted(key for key, type_key in keys.items() if type_key == shard), np.int64)
        add_shard(sums, shard, mine, start, end)
    at = sorted(sums)

    def whole(name: str, color: str, style: str = "line") -> dict[str, Any]:
        place = ("queued", "active", "ready", "starting").index(name)
        points = broken([(moment * 1000, sums[moment][place]) for moment in at])
        return series(name.capitalize(), color, points, style, feed(FLEET, name))

    wanted = series("Wanted", "accent", decided(keys, start, end), "step", feed(FLEET, "wanted"))
    return {
        "replicas": chart("replicas", start, end, [whole("ready", "ok", "area"), whole("starting", "info"), wanted],
                          since=since, made=made),
        "queue": chart("requests", start, end, [whole("active", "info", "area"), whole("queued", "warn", "area")],
                       since=since, made=made),
    }  # fmt: skip


def add_made(sums: dict[int, list[float]], keys: Collection[int], start: datetime, until: datetime) -> None:
    """Add what was made afterwards, by the same steps as samples. What lies in chunks only is all before `until`."""
    until = history.floor(until, STEP)  # the step in which they began shows what was sampled
    rows = SignalChunk.objects.filter(deployment__in=keys, resolution=5, starts_at__gte=history.floor(start, history.HOUR),
                                      starts_at__lt=until)  # fmt: skip
    for payload in rows.values_list("payload", flat=True):
        points = history_points.Points.from_bytes(payload).between(start.timestamp(), until.timestamp())
        last = np.flatnonzero(np.diff(points.at // STEP, append=-1))
        for at, gauges in zip(points.at[last].tolist(), points.gauges[last, :, 1].tolist(), strict=True):
            known = sums.setdefault(at // STEP * STEP, [0.0] * 4)
            for place, value in enumerate(gauges):
                known[place] += value


def add_shard(sums: dict[int, list[float]], shard: int, mine: "np.ndarray", start: datetime, end: datetime) -> None:
    """Add a shard's samples to `sums`, by steps of STEP seconds; the last sample of a step stands for it."""
    steps: dict[int, list[float]] = {}
    blocks = SignalBlock.objects.filter(instance_type_id=shard, at__gte=start, at__lt=end).order_by("at")
    for moment, payload in blocks.values_list("at", "payload"):
        block = Block.from_bytes(payload)
        rows, there = block.rows_of(mine)
        rows = rows[there]
        columns = (block.queued, block.active, block.ready, block.starting)
        steps[int(moment.timestamp()) // STEP * STEP] = [float(np.maximum(one[rows], 0).sum()) for one in columns]
    for step, values in steps.items():
        known = sums.setdefault(step, [0.0] * 4)
        for place, value in enumerate(values):
            known[place] += value


def claims_chart(claims: Iterable[CapacityClaim], holder: UUID | str, start: datetime, end: datetime) -> Any:
    """Instances allocated and pending over time, exact to the second."""
    chosen = list(claims)
    steps = [(point.at, point.allocated) for point in allocation_history([claim.id for claim in chosen], start, end)]
    rows = pending_history(steps, asked_history(chosen, start, end))
    allocated: Points = [(milliseconds(at), held) for at, held, _ in rows]
    pending: Points = [(milliseconds(at), missing) for at, _, missing in rows]
    return chart("instances", start, end, [
        series("Allocated", "ok", allocated, "step", feed(holder, "allocated")),
        series("Pending", "warn", pending, "step", feed(holder, "pending")),
    ], since=min((claim.created_at for claim in chosen), default=None))  # fmt: skip


def asked_history(claims: Sequence[CapacityClaim], start: datetime, end: datetime) -> list[tuple[datetime, int]]:
    """Instances asked for, together: one step for each creation and resize, read from the audit trail."""
    events = AuditEvent.objects.filter(
        object_type="CapacityClaim", object_id__in=[str(claim.id) for claim in claims], at__lt=end
    )
    asked: dict[str, int] = {}
    steps = [(start, 0)]
    for at, id, after in events.order_by("id").values_list("at", "object_id", "after"):
        after = after or {}  # a deletion asks for none
        asked[id] = after.get("instanceCount", after.get("instance_count", 0))
        if at <= start:
            steps = [(start, sum(asked.values()))]
        else:
            steps.append((at, sum(asked.values())))
    return steps


def pending_history(
    allocated: Sequence[tuple[datetime, int]], asked: Sequence[tuple[datetime, int]]
) -> list[tuple[datetime, int, int]]:
    """(time, allocated, pending) at each change of either; pending is what is asked for and not allocated."""
    changes = sorted([(at, 0, value) for at, value in allocated] + [(at, 1, value) for at, value in asked])
    now, rows = [0, 0], {}
    for at, which, value in changes:
        now[which] = value
        rows[at] = (at, now[0], max(0, now[1] - now[0]))
    return list(rows.values())[-MOST:]


def claims_of_all(organization: Organization, start: datetime, end: datetime) -> Any:
    return claims_chart(claims_of(organization), FLEET, start, end)


def spend(organization: Organization, now: datetime) -> dict[str, Any]:
    """USD for each day of the month so far, by instance type; nothing while a price is missing, which pages say."""
    try:
        rows = metering.month_to_date(organization, now, by_holder=False)
    except PriceMissing:
        rows = []
    names = dict(Offering.objects.values_list("key", "instance_type__name"))
    sums = metering.grouped(rows, lambda row: (names[row.offering_key], row.day))
    colors = ["info", "accent", "ok", "warn", "bad", "idle"]
    types = sorted({name for name, _ in sums})
    return chart("USD", metering.month_of(now), now, [
        series(name, colors[place % len(colors)],
               [(milliseconds(day), round(float(usd), 2)) for (one, day), (_, usd) in sorted(sums.items()) if one == name])
        for place, name in enumerate(types)
    ])  # fmt: skip
