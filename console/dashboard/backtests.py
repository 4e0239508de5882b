"""What the pages of backtests show: the table, the charts' data and where a variant can be applied."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from console.common.words import counted
from console.dashboard.series import chart, milliseconds, series
from console.organizations.actors import Actor
from deployments.backtests.baselines import BASELINES, FRAMES, HEADROOM, OBJECTIVE
from deployments.models import Backtest

COLORS = ("accent", "ok", "warn", "info", "bad", "idle")
APPLIED = ("min", "max", "concurrency", "scale_down_s")  # what the form of the deployment has


@dataclass(frozen=True, slots=True)
class Row:
    """A side of the comparison as the table has it; percents are of the side that is set."""

    name: str
    is_set: bool
    kind: str  # headroom, peer or frame
    facts: str
    measures: Mapping[str, Any] | None
    cost: Decimal | None
    hours_percent: float | None
    within_1s: float | None
    within_5s: float | None
    apply_url: str


def rows_of(run: Backtest, actor: Actor) -> list[Row]:
    sides = run.request["sides"]
    measures = run.result["sides"] if run.result else [None] * len(sides)
    hours = measures[0]["gpu_hours"] if measures[0] else 0
    return [_row(run, actor, side, one, hours) for side, one in zip(sides, measures, strict=True)]


def _row(run: Backtest, actor: Actor, side: Mapping[str, Any], one: Mapping[str, Any] | None, hours: float) -> Row:
    is_set = side is run.request["sides"][0]
    kind = "headroom" if side["policy"] in (HEADROOM, OBJECTIVE) else "frame" if side["policy"] in FRAMES else "peer"
    return Row(
        side["name"], is_set, kind, facts(side), one,
        Decimal(one["cost"]) if one and one["cost"] is not None else None,
        100 * (one["gpu_hours"] / hours - 1) if one and hours and not is_set else None,
        _percent(one, "share_within_1s"), _percent(one, "share_within_5s"),
        _apply(run, side) if actor.can_write else "",
    )  # fmt: skip


def _percent(one: Mapping[str, Any] | None, name: str) -> float | None:
    return None if one is None or one[name] is None else 100 * one[name]


def facts(side: Mapping[str, Any]) -> str:
    """What it is, in a line."""
    if side["policy"] in FRAMES:
        return "min and max left out"
    parts = [f"{side['min']} to {counted(side['max'], 'replica')}"]
    if side["policy"] == HEADROOM:
        parts.append(f"target {side['concurrency']}")
        if "scale_down_s" in side["settings"]:
            parts.append(f"delay {side['settings']['scale_down_s']:g} s")
    if side["objective"] is not None and not side["changed"] and side["policy"] == HEADROOM:
        parts.append(f"chosen at present for {100 * side['objective']:g} % within 1 s")
    parts.append(f"{side['slots']} at once, start-up {side['start_up_s']:g} s")
    parts.append(f"{counted(side['gpus'], 'GPU')} on {side['instance_type']}")
    if side["room"] is not None:
        parts.append(f"only a claim of {counted(side['claim_gpus'], 'GPU')}, room for {side['room']}")
    return "; ".join(parts)


def _apply(run: Backtest, side: Mapping[str, Any]) -> str:
    """The deployment's form with this variant filled in; empty where there is nothing that it could set."""
    query = {name: side["changed"][name] for name in APPLIED if name in side["changed"]}
    if run.deployment is None or not query:
        return ""
    return f"{reverse('deployment', args=[run.deployment.id])}?{urlencode(query)}#autoscaling"


def chart_of(run: Backtest, kind: str) -> dict[str, Any]:
    """JSON for the charts; of a run without a result an empty chart."""
    if kind == "curve":
        return curve_of(run)
    start, result = _begins(run), run.result
    since = result is not None and result["demand"]["start"] is None
    if result is None:
        return chart("", start, start, [])
    drawn, step_ms = result["series"], 1000 * result["series"]["step_s"]
    first = 0 if since else milliseconds(start)

    def points(values: list[float]) -> list[tuple[int, float | None]]:
        return [(round(first + place * step_ms), value) for place, value in enumerate(values)]

    of, unit = {"replicas": ("replicas", "replicas"), "requests": ("queued", "requests")}[kind]
    rows = [
        series(side["name"], COLORS[place % len(COLORS)], points(drawn[of][place]), style(side, place))
        for place, side in enumerate(run.request["sides"])
    ]
    if kind == "requests":
        rows.insert(0, series("Would run if nobody waited", "idle", points(drawn["in_flight"]), "area"))
    end = first + round(1000 * result["demand"]["span_s"])
    return {"unit": unit, "from": first, "to": end, "span": end - first, "series": rows, "since": since}


def style(side: Mapping[str, Any], place: int) -> str:
    """Settings of the planner are full lines, all else dashed; colours repeat after six."""
    return "line" if side["policy"] in (HEADROOM, OBJECTIVE) else "dashed"


def curve_of(run: Backtest) -> dict[str, Any]:
    """GPU-hours against the share that waited at most a second: the curve of what is set, and a point for each side."""
    if run.result is None:
        return {"curve": [], "sides": []}
    curve = [
        {"x": one["gpu_hours"], "y": _percent(one, "share_within_1s"), "label": f"target {one['concurrency']}"}
        for one in run.result["curve"]
    ]
    sides = [
        {"name": side["name"], "color": COLORS[place % len(COLORS)], "x": one["gpu_hours"],
         "y": _percent(one, "share_within_1s"), "peer": side["policy"] in BASELINES}
        for place, (side, one) in enumerate(zip(run.request["sides"], run.result["sides"], strict=True))
    ]  # fmt: skip
    return {"curve": curve, "sides": sides}


def _begins(run: Backtest) -> datetime:
    start = run.result["demand"]["start"] if run.result else None
    return datetime.fromisoformat(start) if start else run.created_at
