"""Chart data, as the page's chart module wants it. At most 600 points a series."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from claims import metering
from claims.models import CapacityClaim, Offering
from claims.selectors import allocation_history, claims_of
from console.organizations.models import Organization
from deployments.loop import history
from deployments.loop import points as history_points
from deployments.loop.blocks import Block
from deployments.models import Decision, Deployment, SignalBlock

RANGES = {"15m": timedelta(minutes=15), "1h": timedelta(hours=1), "6h": timedelta(hours=6), "24h": timedelta(hours=24),
          "7d": timedelta(days=7)}  # fmt: skip
FLEET_RANGE = timedelta(hours=1)
MOST = 600

Points = list[tuple[int, float | None]]


def milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def series(name: str, color: str, points: Points, style: str = "line") -> dict[str, Any]:
    return {"name": name, "color": color, "style": style, "points": points}


def chart(unit: str, start: datetime, end: datetime, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"unit": unit, "from": milliseconds(start), "to": milliseconds(end), "series": rows}


def deployment_replicas(deployment: Deployment, start: datetime, end: datetime) -> dict[str, Any]:
    """Ready and starting as sampled, wanted as decided, and today's bounds."""
    points = history.chart_series(deployment, start, end, end)
    policy = deployment.autoscaling
    edges = [milliseconds(start), milliseconds(end)]
    return chart("replicas", start, end, [
        series("Ready", "ok", gauge(points, 2), "area"),
        series("Starting", "info", gauge(points, 3)),
        series("Wanted", "accent", decided(deployment, start, end), "step"),
        series("Min", "idle", [(at, policy.min) for at in edges], "dashed"),
        series("Max", "warn", [(at, policy.max) for at in edges], "dashed"),
    ])  # fmt: skip


def deployment_queue(deployment: Deployment, start: datetime, end: datetime) -> dict[str, Any]:
    points = history.chart_series(deployment, start, end, end)
    return chart("requests", start, end, [
        series("Active", "info", gauge(points, 1), "area"),
        series("Queued", "warn", gauge(points, 0), "area"),
    ])  # fmt: skip


def deployment_waits(deployment: Deployment, start: datetime, end: datetime) -> dict[str, Any]:
    """Share of arrivals that began service within 1 and 5 seconds, per point."""
    points = history.chart_series(deployment, start, end, end)
    arrived = points.counters[:, 0]

    def share(column: int) -> Points:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.clip(100 * points.counters[:, column] / arrived, 0, 100)
        return [(at * 1000, round(value, 1) if np.isfinite(value) else None)
                for at, value in zip(points.at.tolist(), values.tolist(), strict=True)]  # fmt: skip

    return chart("%", start, end, [series("Started within 1 s", "ok", share(3)),
                                   series("Started within 5 s", "info", share(4))])  # fmt: skip


def gauge(points: history_points.Points, row: int) -> Points:
    values = points.gauges[:, row, 1]
    return [(at * 1000, round(value, 2)) for at, value in zip(points.at.tolist(), values.tolist(), strict=True)]


def decided(deployment: Deployment, start: datetime, end: datetime) -> Points:
    """What the autoscaler wanted, from one decision to the next."""
    rows = Decision.objects.filter(deployment=deployment, at__lt=end)
    before = rows.filter(at__lt=start).order_by("-id").values_list("wanted", flat=True).first()
    inside = list(rows.filter(at__gte=start).order_by("-id").values_list("at", "wanted")[:MOST])[::-1]
    points: Points = [(milliseconds(start), before)] if before is not None else []
    points += [(milliseconds(at), wanted) for at, wanted in inside]
    return [*points, (milliseconds(end), points[-1][1])] if points else []


def fleet(organization: Organization, end: datetime) -> dict[str, dict[str, Any]]:
    """The last hour of all deployments of an organization together: replicas, and requests."""
    start = end - FLEET_RANGE
    keys = dict(Deployment.objects.filter(organization=organization).values_list("key", "instance_type_id"))
    sums: dict[int, list[float]] = {}
    for shard in sorted(set(keys.values())):
        mine = np.array(sorted(key for key, type_key in keys.items() if type_key == shard), np.int64)
        add_shard(sums, shard, mine, start, end)
    at = sorted(sums)
    whole: dict[str, Points] = {name: [(moment * 1000, sums[moment][place]) for moment in at]
             for place, name in enumerate(("queued", "active", "ready", "starting"))}  # fmt: skip
    return {
        "replicas": chart("replicas", start, end, [series("Ready", "ok", whole["ready"], "area"),
                                                   series("Starting", "info", whole["starting"])]),
        "queue": chart("requests", start, end, [series("Active", "info", whole["active"], "area"),
                                                series("Queued", "warn", whole["queued"], "area")]),
    }  # fmt: skip


def add_shard(sums: dict[int, list[float]], shard: int, mine: "np.ndarray", start: datetime, end: datetime) -> None:
    """Add a shard's samples to `sums`, by steps of 10 seconds; the last sample of a step stands for it."""
    steps: dict[int, list[float]] = {}
    blocks = SignalBlock.objects.filter(instance_type_id=shard, at__gte=start, at__lt=end).order_by("at")
    for moment, payload in blocks.values_list("at", "payload"):
        block = Block.from_bytes(payload)
        rows, there = block.rows_of(mine)
        rows = rows[there]
        columns = (block.queued, block.active, block.ready, block.starting)
        steps[int(moment.timestamp()) // 10 * 10] = [float(np.maximum(one[rows], 0).sum()) for one in columns]
    for step, values in steps.items():
        known = sums.setdefault(step, [0.0] * 4)
        for place, value in enumerate(values):
            known[place] += value


def claims_chart(organization: Organization, claims: Iterable[CapacityClaim], start: datetime, end: datetime) -> Any:
    """Instances allocated over time, exact to the second, and what is asked for now."""
    chosen = list(claims)
    points = allocation_history([claim.id for claim in chosen], start, end)
    target = sum(claim.target for claim in chosen)
    edges = [milliseconds(start), milliseconds(end)]
    return chart("instances", start, end, [
        series("Allocated", "ok", [(milliseconds(point.at), point.allocated) for point in points], "step"),
        series("Asked for now", "accent", [(at, target) for at in edges], "dashed"),
    ])  # fmt: skip


def claims_of_all(organization: Organization, start: datetime, end: datetime) -> Any:
    return claims_chart(organization, claims_of(organization), start, end)


def spend(organization: Organization, now: datetime) -> dict[str, Any]:
    """USD for each day of the month so far, by instance type."""
    rows = metering.month_to_date(organization, now)
    names = dict(Offering.objects.values_list("key", "instance_type__name"))
    sums = metering.grouped(rows, lambda row: (names[row.offering_key], row.day))
    colors = ["info", "accent", "ok", "warn", "bad", "idle"]
    types = sorted({name for name, _ in sums})
    return chart("USD", metering.month_of(now), now, [
        series(name, colors[place % len(colors)],
               [(milliseconds(day), round(float(usd), 2)) for (one, day), (_, usd) in sorted(sums.items()) if one == name])
        for place, name in enumerate(types)
    ])  # fmt: skip
