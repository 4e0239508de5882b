"""From the row of a decision to sentences, and the decision made once more from its row."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypedDict

import numpy as np

from deployments.core.columns import Columns
from deployments.core.look_ahead import MICRO, slots_of
from deployments.core.params import MILLI, Params, Settings
from deployments.core.plan import Bound
from deployments.core.planner import size_from
from deployments.core.reasons import Reason, sentence, stage
from deployments.core.record import Row, stored_as
from deployments.core.signal import Samples
from deployments.core.snapshot import Deployments

RERUN_STAGES = ("signal", "need", "ahead", "damped", "wanted")
# Stages whose sentence is part of the one line: those that changed something.
_QUIET = frozenset(
    {
        Reason.SIGNAL_FRESH,
        Reason.NEED_MEAN,
        Reason.NEED_UNKNOWN,
        Reason.AHEAD_OFF,
        Reason.AHEAD_UNKNOWN,
        Reason.AHEAD,
        Reason.HOLD_NO_SIGNAL,
        Reason.WITHIN_BOUNDS,
        Reason.NOTHING_ASKED,
        Reason.GRANTED,
        Reason.RELEASED,
    }
)
_QUEUE = ("taken_up", "service_s", "horizon_s", "spread", "counted")
_NEEDS = ("need_stable", "need_burst", "standing", "remaining", "backlog_extra", "need_backlog")
_NUMBERS: dict[str, tuple[str, ...]] = {
    "signal": ("in_flight", "age_s", "stale_s", "ahead_s", "covered_s", "stable_s"),
    "need": ("stable_mean", "stable_s", "burst_mean", "burst_s", "target", *_NEEDS, *_QUEUE),
    "look-ahead": (
        "expected",
        "level",
        "stable_s",
        "margin",
        "need_ahead",
        "slots",
        "startup_s",
        "short_percent",
    ),
    "damping": (
        "base",
        "recommended",
        "value",
        "window_highest",
        "highest",
        "scale_down_s",
        "tolerance_percent",
        "burst_left_s",
        "need_ahead",
        "by",
        "near",
    ),
    "bounds": ("damped", "wanted", "min", "max", "pin", "floor", "ceiling"),
    "contention": (
        "granted",
        "added",
        "removed",
        "missing",
        "missing_gpus",
        "gpu_count",
        "zone",
        "wanted",
        "min",
        "other",
        "coming",
        "moves",
        "moves_short",
    ),
}
Names = Mapping[int, str]
NO_NAMES: Names = MappingProxyType({})
_CODES = ("signal_code", "need_code", "ahead_code", "damped_code", "wanted_code", "granted_code")


class Step(TypedDict):
    """One stage of an explanation."""

    stage: str
    code: str
    numbers: dict[str, int | float | str]
    text: str


@dataclass(frozen=True, slots=True)
class Rerun:
    """A decision made again: what came out otherwise, as name -> (stored, computed now), of so many numbers."""

    differences: dict[str, tuple[int, int]]
    compared: int

    @property
    def same(self) -> bool:
        """Whether every number and reason of stages 1 to 5 agrees."""
        return not self.differences


def steps(row: Row, names: Names = NO_NAMES) -> list[Step]:
    """Every stage of a decision with its reason, numbers and sentence, in order.

    `names` are those of other deployments by their key, as far as the reader may see them.
    """
    numbers = _readable(row, names)
    codes = [_added(row, name, Reason.AHEAD_OFF) for name in _CODES]
    return [_step(code, numbers) for code in codes if code != Reason.AHEAD_OFF]


def line(row: Row, names: Names = NO_NAMES) -> str:
    """A decision in one line: the sizes, then what led to them, stage by stage."""
    by_ahead = _int(row, "damped_code") in (Reason.GROW_AHEAD, Reason.KEPT_AHEAD)
    quiet = _QUIET - {Reason.AHEAD} if by_ahead else _QUIET
    texts = [step["text"] for step in steps(row, names) if Reason[step["code"]] not in quiet]
    return " ".join([_sizes(row), *texts])


def verdict(row: Row, names: Names = NO_NAMES) -> str:
    """A decision in short: the sizes, then what decided, first what had the last word. Without the derivation."""
    texts = [step["text"] for step in steps(row, names) if _decides(step)]
    return " ".join([_sizes(row), *reversed(texts)])


def _decides(step: Step) -> bool:
    return Reason[step["code"]] not in _QUIET and step["stage"] not in ("need", "look-ahead")


def _sizes(row: Row) -> str:
    wanted, granted = _int(row, "wanted_value"), _int(row, "granted_value")
    head = f"{granted}" if wanted == granted else f"{granted} of {wanted}"
    return f"{head} replica{'' if wanted == 1 else 's'}."


def bound_name(row: Row) -> str:
    """Name of the limit that decided."""
    return Bound(_int(row, "granted_bound")).name


def rerun(row: Row) -> Rerun:
    """Run stages 1 to 5 again from the row alone and compare every number with what is stored.

    Numbers that were thought of after the row was written are left out.
    """
    tables = dict(zip(RERUN_STAGES, _again(row), strict=True))
    computed = {
        stored_as(name, field): int(values[0]) for name, table in tables.items() for field, values in table.items()
    }
    pairs = {name: (_int(row, name), value) for name, value in computed.items() if name in row}
    return Rerun({name: pair for name, pair in pairs.items() if pair[0] != pair[1]}, len(pairs))


def _again(row: Row) -> tuple[Columns, ...]:
    deployments = Deployments.build(
        key=[_int(row, "key")],
        org=[0],
        **{name: [_int(row, name)] for name in ("min", "max", "scheduled", "concurrency", "pin")},
        floor=[_added(row, "floor", 0)],
        ceiling=[_added(row, "ceiling", -1)],
        **{name: [bool(_int(row, name))] for name in ("enabled", "freeze", "shadow")},
        slots=[_added(row, "slots", 0)],
    )
    samples = Samples(
        np.array(row["sample_at_ms"], np.int64),
        np.array(row["sample_queued"], np.int64)[:, None],
        np.array(row["sample_load"], np.int64)[:, None],
    )
    return size_from(
        samples,
        deployments,
        Settings(**{name: np.array([_added(row, name, 0)]) for name in Settings.__slots__}),
        Params(stale_s=_int(row, "stale_ms") / MILLI, sample_s=_int(row, "sample_ms") / MILLI),
        base=np.array([_int(row, "damped_base")]),
        starting=np.array([_int(row, "starting")], np.int32),
        window_highest=np.array([_int(row, "damped_window_highest")]),
        burst_until_ms=np.array([_int(row, "burst_until_before_ms")]),
        margin_micro=np.array([_added(row, "ahead_margin_micro", -1)]),
        now_ms=_int(row, "now_ms"),
    )


def _step(code: int, numbers: dict[str, int | float | str]) -> Step:
    name = stage(code)
    chosen = {key: numbers[key] for key in _NUMBERS[name]}
    return Step(stage=name, code=Reason(code).name, numbers=chosen, text=sentence(code, chosen))


def _readable(row: Row, names: Names) -> dict[str, int | float | str]:
    """Numbers as sentences show them: seconds, means, percentages."""
    wanted, granted, current = (_int(row, name) for name in ("wanted_value", "granted_value", "current"))
    numbers: dict[str, int | float | str] = {name: _int(row, name) for name in ("min", "max", "pin", "gpu_count")}
    numbers |= {f"{name}_s": _seconds(row, f"{name}_ms") for name in ("stable", "burst", "scale_down", "stale")}
    numbers |= {name: _int(row, stored_as("need", name)) for name in _NEEDS}
    numbers |= _queue(row)
    numbers |= _expected(row)
    numbers |= {name: _int(row, f"damped_{name}") for name in ("base", "recommended", "value", "window_highest")}
    numbers |= {
        "in_flight": _int(row, "signal_in_flight"),
        "age_s": _seconds(row, "signal_age_ms"),
        "ahead_s": max(0.0, -_seconds(row, "signal_age_ms")),
        "covered_s": _seconds(row, "signal_covered_ms"),
        "stable_mean": _mean(row, "stable"),
        "burst_mean": _mean(row, "burst"),
        "target": _int(row, "concurrency"),
        "highest": max(_int(row, "damped_recommended"), _int(row, "damped_window_highest")),
        "by": _by(row),
        "near": _near(row),
        "tolerance_percent": _int(row, "tolerance_milli") / 10,
        "burst_left_s": max(0.0, (_int(row, "damped_burst_until_ms") - _int(row, "now_ms")) / MILLI),
        "damped": _int(row, "damped_value"),
        "floor": _added(row, "floor", 0),
        "ceiling": _added(row, "ceiling", -1),
        "wanted": wanted,
        "granted": granted,
        "added": max(0, granted - current),
        "removed": max(0, current - granted),
        "missing": max(0, wanted - granted),
        "missing_gpus": _int(row, "granted_missing_gpus"),
        "zone": str(row["zone"]) or "its zones",
        "other": _name_of(_added(row, "granted_other", -1), {**names, _int(row, "key"): "it"}),
    }
    numbers |= {name: _added(row, f"granted_{name}", 0) for name in ("coming", "moves", "moves_short")}
    return numbers


def _queue(row: Row) -> dict[str, int | float | str]:
    """How a standing queue was counted (`core.need`)."""
    standing, remaining = _int(row, "need_standing"), _int(row, "need_remaining")
    drain, service = _int(row, "drain_ms"), _added(row, "service_ms", 0)
    horizon = max(drain, _added(row, "startup_ms", 0), 1)
    each = min(service or drain or horizon, horizon)
    taken_up, spread = standing - remaining, -(-remaining * each // horizon)
    counted = round(_mean(row, "burst") - standing + taken_up + spread, 2)
    return {"taken_up": taken_up, "service_s": each / MILLI, "horizon_s": horizon / MILLI, "spread": spread,
            "counted": counted}  # fmt: skip


def _by(row: Row) -> str:
    """Which of the numbers that are told before it the size that load asks for is."""
    recommended, base = _int(row, "damped_recommended"), _int(row, "damped_base")
    standing, ahead = _int(row, "need_standing"), _added(row, "ahead_need_ahead", 0)
    bursting = _int(row, "damped_burst_until_ms") > _int(row, "now_ms")
    asked = {
        "the standing queue": _int(row, "need_backlog") if standing else -1,
        f"the mean over {_seconds(row, 'stable_ms'):g} s": _int(row, "need_stable"),
        f"the mean over {_seconds(row, 'burst_ms'):g} s": _int(row, "need_burst") if bursting else -1,
        "what is expected": ahead,
        "the means ask for more, but while a queue stands only the queue adds any": base if standing else -1,
    }
    return next((words for words, size in asked.items() if size == recommended), f"what is expected{_near(row)}")


def _near(row: Row) -> str:
    """Where what is expected is too little more than the size for a start."""
    ahead, percent = _added(row, "ahead_need_ahead", 0), _int(row, "tolerance_milli") / 10
    return f", which is within {percent:g} %" if ahead > _int(row, "damped_base") else ""


def _expected(row: Row) -> dict[str, int | float | str]:
    """The numbers of stage 3, which rows from before it do not have."""
    target, slots = np.array([_int(row, "concurrency")]), np.array([_added(row, "slots", 0)], np.int32)
    expected = _rounded_up(_added(row, "ahead_expected_micro", -1), MICRO)
    margin = round(_added(row, "ahead_margin_micro", -1) / MICRO, 2)
    return {
        "expected": expected,
        "level": round(expected - margin, 2),
        "margin": margin,
        "need_ahead": _added(row, stored_as("ahead", "need_ahead"), 0),
        "slots": int(slots_of(target, slots)[0]),
        "startup_s": round(_seconds(row, "startup_ms"), 1),
        "short_percent": round(100 - _added(row, "ahead_milli", 0) / 10, 1),
    }


def _name_of(key: int, names: Names) -> str:
    return names.get(key, f"deployment {key}") if key >= 0 else "another deployment"


def _added(row: Row, name: str, absent: int) -> int:
    """A number that rows from before it was thought of do not have."""
    return _int(row, name) if name in row else absent


def _mean(row: Row, window: str) -> float:
    span = _int(row, f"need_{window}_span_ms")
    return _rounded_up(_int(row, f"need_{window}_load_ms"), span) if span else 0.0


def _rounded_up(part: int, whole: int) -> float:
    """To hundredths, upwards: so what is shown, divided and rounded up, gives the number that the exact value gives."""
    return -(-part * 100 // whole) / 100


def _seconds(row: Row, name: str) -> float:
    return _int(row, name) / MILLI


def _int(row: Row, name: str) -> int:
    value = row[name]
    if not isinstance(value, int):
        raise TypeError(f"{name} of a decision is a whole number")
    return value
