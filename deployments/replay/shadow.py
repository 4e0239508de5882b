"""What a deployment in shadow would have done, beside what was done."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from deployments.core.plan import Bound
from deployments.core.policy import DEFAULT_CONCURRENCY
from deployments.loop import history
from deployments.loop.points import GAUGES
from deployments.models import Decision, Deployment

HOUR_S = 3600.0
MOST_POINTS = 600
STEPS = (5, 60, 3600)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Side:
    """`busy_share`: of the time, the share in which there was more in flight than the replicas are meant for."""

    gpu_hours: float
    changes: int
    peak: int
    busy_share: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Over `hours` in which both are known: what would have been, what was, and the shares of the time in which there
    would have been more replicas, and fewer."""

    hours: float
    would: Side
    did: Side
    more_share: float
    fewer_share: float


def shadow_comparison(deployment: Deployment, start: datetime, end: datetime) -> Comparison | None:
    """From `start` to `end`, as far as it was in shadow and sampled then; None where it was not. Queries as few as the
    history needs, and two."""
    sizes = _sizes(deployment, start, end)
    if not sizes:
        return None
    step = next((one for one in STEPS if (end - start).total_seconds() / one <= MOST_POINTS), STEPS[-1])
    points = history.series(deployment, start, end, step, waits=False)
    means = {name: points.gauges[:, place, 1] for place, name in enumerate(GAUGES)}
    target = deployment.autoscaling.concurrency or DEFAULT_CONCURRENCY
    return compared(
        sizes, points.at.astype(np.float64), means["ready"] + means["starting"], means["queued"] + means["active"], step_s=float(step),
        target=target, gpu_count=deployment.gpu_count,
    )  # fmt: skip


def compared(
    sizes: Sequence[tuple[float, int | None]],
    at: Floats,
    ran: Floats,
    in_flight: Floats,
    *,
    step_s: float,
    target: int,
    gpu_count: int,
) -> Comparison | None:
    """`sizes` say from when on which size would have been (unix seconds; None: it was not in shadow), in order; `at`,
    `ran` and `in_flight` are points of `step_s` seconds, NaN where nothing is known."""
    place = np.searchsorted(np.array([one for one, _ in sizes]), at, side="right") - 1
    known = np.array([np.nan if size is None else float(size) for _, size in sizes])
    would = np.where(place >= 0, known[np.maximum(place, 0)], np.nan)
    both = ~np.isnan(would) & ~np.isnan(ran)
    if not both.any():
        return None
    would, ran, load = would[both], ran[both], in_flight[both]
    return Comparison(
        hours=float(both.sum() * step_s / HOUR_S), would=_side(would, load, step_s, target, gpu_count),
        did=_side(ran, load, step_s, target, gpu_count),
        more_share=float((would > np.ceil(ran)).mean()), fewer_share=float((would < np.floor(ran)).mean()),
    )  # fmt: skip


def _side(replicas: Floats, load: Floats, step_s: float, target: int, gpu_count: int) -> Side:
    whole = np.rint(replicas)
    return Side(
        gpu_hours=float(replicas.sum() * step_s / HOUR_S * gpu_count),
        changes=sum(1 for before, after in pairwise(whole.tolist()) if before != after),
        peak=int(whole.max()), busy_share=float((np.nan_to_num(load) > replicas * target).mean()),
    )  # fmt: skip


def _sizes(deployment: Deployment, start: datetime, end: datetime) -> list[tuple[float, int | None]]:
    """Of the decisions: the size while it was in shadow, None while it was not."""
    mine = Decision.objects.filter(deployment=deployment, made_afterwards=False)
    first = mine.filter(at__lte=start).order_by("-at", "-id").values_list("at", "wanted", "bound")[:1]
    rest = mine.filter(at__gt=start, at__lt=end).order_by("at", "id").values_list("at", "wanted", "bound")
    every = [(at.timestamp(), wanted if bound == Bound.SHADOW.name else None) for at, wanted, bound in [*first, *rest]]
    return every if any(size is not None for _, size in every) else []
