"""What somebody asks a backtest for, checked and resolved: every number that a run goes by is written down here, so that
it gives the same whatever is changed meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from claims.models import InstanceType
from console.common.errors import FieldViolation, InvalidArgument
from console.common.money import plain
from deployments.backtest.policies import LONGEST_S, MOST
from deployments.backtests.baselines import BASELINES, HEADROOM, OBJECTIVE
from deployments.core.objective import Objective
from deployments.core.params import NO_BURSTS
from deployments.core.policy import DEFAULT_CONCURRENCY
from deployments.core.policy import slots as slots_of
from deployments.costs import Rates, rates_on
from deployments.models import Deployment, DeploymentObjective
from deployments.models.deployment import GPU_COUNTS
from deployments.objective.selectors import objective_of
from deployments.startups import start_ups_of

Json = dict[str, Any]

AS_SET = "as set"
MOST_VARIANTS, MOST_BASELINES, MOST_NAME = 8, len(BASELINES), 40
SHORTEST, LONGEST = timedelta(minutes=10), timedelta(days=8)
USUAL_START_UP_S = 180.0  # where nothing was measured
DEAREST = Decimal(100_000)
OF_THE_PLANNER = {"stable_s": "stable_window", "burst_s": "burst_window", "scale_down_s": "scale_down_delay",
                  "drain_s": "drain_goal"}  # fmt: skip
RATIOS = ("burst_factor", "tolerance")


@dataclass(frozen=True, slots=True)
class Variant:
    """One thing to compare with what is set; None is as it is set. `claim_instances`: what it has is a claim of so many
    instances and nothing else."""

    name: str = ""
    min: int | None = None
    max: int | None = None
    concurrency: int | None = None
    scale_down_s: float | None = None
    instance_type: str | None = None
    gpu_count: int | None = None
    slots: int | None = None
    start_up_s: float | None = None
    usd_per_gpu_hour: Decimal | None = None
    claim_instances: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """start, end: of recorded history; or a trace: its text as it came, and its file's name
    scale, mean_service_s: of a trace (`deployments.backtest.traces`)
    """

    start: datetime | None = None
    end: datetime | None = None
    trace: bytes | None = None
    trace_name: str = "trace.csv"
    scale: float = 1.0
    mean_service_s: float = 8.0
    variants: Sequence[Variant] = ()
    baselines: Sequence[str] = ()
    seed: int = 0


@dataclass(slots=True)
class Wrong:
    """Violations by field, all of them at once."""

    found: list[FieldViolation] = field(default_factory=list)

    def add(self, path: str, text: str) -> None:
        self.found.append(FieldViolation(path, text))

    def whole(self, path: str, value: int | None, most: int = MOST) -> None:
        if value is not None and not 1 <= value <= most:
            self.add(path, f"must be a whole number from 1 to {most:,}")

    def seconds(self, path: str, value: float | None) -> None:
        if value is not None and not 0 <= value <= LONGEST_S:  # NaN is not
            self.add(path, f"must be from 0 to {LONGEST_S:,.0f} seconds")

    def refuse(self) -> None:
        if self.found:
            raise InvalidArgument(self.found)


def resolved(deployment: Deployment, asked: Asked, now: datetime) -> Json:
    """The request as it is stored. Refuses with InvalidArgument."""
    wrong = Wrong()
    source = _source(asked, now, wrong)
    _check_variants(asked, wrong)
    wrong.refuse()
    types = {one.name: one for one in InstanceType.objects.all()}
    as_set = _as_set(deployment, now)
    sides = [as_set]
    for place, variant in enumerate(asked.variants):
        sides.append(_side(deployment, as_set, variant, place, types, now, wrong))
    sides += [as_set | _baseline(name, deployment, as_set["objective"]) for name in asked.baselines]
    wrong.refuse()
    return {"source": source, "seed": asked.seed, "sides": sides}


def _baseline(name: str, deployment: Deployment, objective: float | None) -> Json:
    """Another policy within what the operator set."""
    policy = deployment.autoscaling
    goal = f" of {100 * (objective or Objective().share):g} %" if name == OBJECTIVE else ""
    return {"name": BASELINES[name] + goal, "policy": name, "min": policy.min, "max": policy.max, "changed": {}}


def _source(asked: Asked, now: datetime, wrong: Wrong) -> Json:
    if asked.trace is not None:
        if asked.start or asked.end:
            wrong.add("start", "is for recorded demand; a trace has its own times")
        return {"kind": "trace", "name": asked.trace_name.replace("\0", "")[:100], "scale": asked.scale,
                "mean_service_s": asked.mean_service_s}  # fmt: skip
    start, end = asked.start, min(asked.end or now, now)
    if start is None:
        wrong.add("start", "value is required: from when on, or a trace")
        start = end
    elif end - start < SHORTEST:
        wrong.add("start", "must lie at least 10 minutes before the end, which is at most now")
    elif end - start > LONGEST:
        wrong.add("start", f"must lie at most {LONGEST.days} days before the end")
    start = start.replace(second=0, microsecond=0)  # minutes are what is kept for long
    return {"kind": "history", "start": start.isoformat(), "end": end.isoformat()}


def _check_variants(asked: Asked, wrong: Wrong) -> None:
    if not asked.variants and not asked.baselines:
        wrong.add("variants", "name at least one variant or baseline to compare with what is set")
    if len(asked.variants) > MOST_VARIANTS:
        wrong.add("variants", f"at most {MOST_VARIANTS} are compared at once")
    for name in asked.baselines:
        if name not in BASELINES:
            wrong.add("baselines", f"no policy is named {name[:40]!r}; there are {', '.join(BASELINES)}")
    if len(set(asked.baselines)) < len(asked.baselines):
        wrong.add("baselines", "repeated value must contain unique items")
    names = [AS_SET, *(one.name for one in asked.variants if one.name)]
    if len({name.casefold() for name in names}) < len(names):
        wrong.add("variants", f"must have names of their own; {AS_SET!r} is what is set")
    for place, one in enumerate(asked.variants):
        _check(one, f"variants[{place}]", wrong)


def _check(one: Variant, path: str, wrong: Wrong) -> None:
    if len(one.name) > MOST_NAME or "\0" in one.name:
        wrong.add(f"{path}.name", f"must have at most {MOST_NAME} characters")
    for name in ("min", "max", "concurrency", "slots", "claim_instances"):
        wrong.whole(f"{path}.{name}", getattr(one, name))
    for name in ("scale_down_s", "start_up_s"):
        wrong.seconds(f"{path}.{name}", getattr(one, name))
    if one.gpu_count is not None and one.gpu_count not in GPU_COUNTS:
        wrong.add(f"{path}.gpu_count", f"must be one of {', '.join(map(str, GPU_COUNTS))}")
    price = one.usd_per_gpu_hour
    if price is not None and not (price.is_finite() and 0 <= price <= DEAREST):
        wrong.add(f"{path}.usd_per_gpu_hour", f"must be from 0 to {DEAREST:,}")


def _as_set(deployment: Deployment, now: datetime) -> Json:
    """The settings and machines of today."""
    policy = deployment.autoscaling
    settings = {name: getattr(policy, column).total_seconds() for name, column in OF_THE_PLANNER.items()
                if getattr(policy, column) is not None}  # fmt: skip
    settings |= {name: getattr(policy, name) for name in RATIOS if getattr(policy, name) is not None}
    settings |= {} if policy.look_ahead else {"ahead": 0.0}
    concurrency = policy.concurrency or DEFAULT_CONCURRENCY
    objective = objective_of(deployment)
    by_objective: Json = _chosen(objective, policy.min, policy.max) if objective else {}
    if objective:
        settings |= {"scale_down_s": objective.scale_down_delay.total_seconds(), "ahead": objective.ahead}
        settings |= {"burst_factor": NO_BURSTS} if objective.ahead else {}
    start_up_s, measured = _start_up(deployment, deployment.instance_type.name)
    return {
        "name": AS_SET, "policy": HEADROOM, "min": policy.min, "max": policy.max, "concurrency": concurrency,
        "settings": settings, "slots": policy.slots or slots_of(concurrency), "start_up_s": start_up_s or USUAL_START_UP_S,
        "start_ups_measured": measured, "instance_type": deployment.instance_type.name, "gpus": deployment.gpu_count,
        "usd_per_gpu_hour": _usd(rates_on(deployment, deployment.instance_type, now)), "room": None, "claim_gpus": None,
        "changed": {}, "objective": None, **by_objective,
    }  # fmt: skip


def _chosen(objective: DeploymentObjective, low: int, high: int) -> Json:
    """What the loop goes by at present, where an objective chooses it; the replay does not choose anew."""
    low = min(high, max(low, objective.floor))
    high = max(low, min(high, objective.ceiling or high))
    return {"min": low, "max": high, "concurrency": objective.target, "objective": objective.share}


def _side(
    deployment: Deployment, as_set: Json, one: Variant, place: int, types: dict[str, InstanceType], now: datetime,
    wrong: Wrong,
) -> Json:  # fmt: skip
    path, changed = f"variants[{place}]", _given(one, "min", "max", "concurrency")
    side = as_set | changed
    if side["max"] < side["min"]:
        wrong.add(f"{path}.max", f"max must be greater than or equal to min, which is {side['min']}")
    delay = _given(one, "scale_down_s")
    side["settings"] = as_set["settings"] | delay
    type_ = _type(deployment, one, types, path, wrong)
    side |= _machine(deployment, one, type_, as_set)
    rates = rates_on(deployment, type_, now)
    side["usd_per_gpu_hour"] = plain(one.usd_per_gpu_hour) if one.usd_per_gpu_hour is not None else _usd(rates)
    if one.claim_instances is not None:
        side |= _claim(one, side, type_, rates)
        if not side["room"]:
            wrong.add(f"{path}.claim_instances", f"hold no replica of {side['gpus']} GPUs on {type_.name}")
    return side | {"name": one.name or _named(one, place), "changed": changed | delay}


def _given(one: Variant, *names: str) -> Json:
    return {name: getattr(one, name) for name in names if getattr(one, name) is not None}


def _machine(deployment: Deployment, one: Variant, type_: InstanceType, as_set: Json) -> Json:
    """What a replica of the variant is, as far as it is another one than that which is set."""
    found = _given(one, "slots") | ({} if one.gpu_count is None else {"gpus": one.gpu_count})
    if type_.name != as_set["instance_type"]:
        seconds, measured = _start_up(deployment, type_.name)
        found |= {"instance_type": type_.name, "start_up_s": seconds or as_set["start_up_s"]}
        found |= {"start_ups_measured": measured}
    if one.start_up_s is not None:
        found |= {"start_up_s": one.start_up_s, "start_ups_measured": 0}
    return found


def _type(
    deployment: Deployment, one: Variant, types: dict[str, InstanceType], path: str, wrong: Wrong
) -> InstanceType:
    if one.instance_type is None:
        return deployment.instance_type
    found = types.get(one.instance_type.lower())
    if found is None:
        wrong.add(f"{path}.instance_type", f"no instance type is named {one.instance_type[:60]!r}")
    return found or deployment.instance_type


def _claim(one: Variant, side: Json, type_: InstanceType, rates: Rates | None) -> Json:
    """Room and price of a claim that the deployment has for itself; its GPUs are paid for whether they are used or not."""
    assert one.claim_instances is not None
    gpus, each = type_.gpus, side["gpus"]
    room = one.claim_instances * (gpus // each) if each <= gpus else one.claim_instances // (each // gpus)
    price = side["usd_per_gpu_hour"]
    if one.usd_per_gpu_hour is None and rates and rates.reserved is not None:
        price = plain(rates.reserved)
    return {"room": room, "claim_gpus": one.claim_instances * gpus, "usd_per_gpu_hour": price}


def _named(one: Variant, place: int) -> str:
    """What differs, in a few words."""
    said = [("min", one.min, ""), ("max", one.max, ""), ("target", one.concurrency, ""), ("delay", one.scale_down_s, " s"),
            ("slots", one.slots, ""), ("start-up", one.start_up_s, " s"), ("claim of", one.claim_instances, "")]  # fmt: skip
    parts = [f"{name} {value:g}{unit}" for name, value, unit in said if value is not None]
    parts += [part for part in (one.instance_type, one.gpu_count and f"{one.gpu_count} GPUs") if part]
    return ", ".join(parts)[:MOST_NAME] or f"variant {place + 1}"


def _start_up(deployment: Deployment, instance_type: str) -> tuple[float | None, int]:
    """A high percentile of the measured times, and of how many; None where there are none."""
    found = next((one for one in start_ups_of(deployment) if one.instance_type == instance_type), None)
    return (found.p90.total_seconds(), found.count) if found else (None, 0)


def _usd(rates: Rates | None) -> str | None:
    return plain(rates.on_demand) if rates else None
