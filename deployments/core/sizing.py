"""What another size of a claim would have done, by replaying the need that was recorded.

Instances are alike: `per_instance` GPUs each. Replicas are packed as placement packs them (R16): those of several whole
instances first, then the largest, each on the instance with the tightest room. So the number of instances that a need
takes is what it would have taken, and not a sum of GPUs. Every instance counts that the need would have filled with
nothing ahead of it, whether its classes prefer claims or the pool (R15): what is advised never takes away what was used.

What is asked is another base. Windows stay as they are: a claim has max(base, its open window) at any time (C12), so what a
window holds anyway asks for no base, and growing helps in its hours only as far as the base then exceeds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Need:
    """Recorded need of D deployments over T spans of time.

    gpus: int64 [D], GPUs of a replica
    seconds: float64 [T], how long each span lasted
    wanted: int64 [T, D], replicas that were wanted
    short: int64 [T, D], those of them that got no GPUs for want of capacity
    """

    gpus: Ints
    seconds: Floats
    wanted: Ints
    short: Ints

    def __post_init__(self) -> None:
        shape = (len(self.seconds), len(self.gpus))
        if self.wanted.shape != shape or self.short.shape != shape:
            raise ValueError(f"wanted and short must be {shape}")
        if np.any(self.seconds < 0) or np.any(self.wanted < 0) or np.any(self.short < 0) or np.any(self.gpus < 1):
            raise ValueError("A need has no negative time, no negative replicas and no replica without GPUs.")


@dataclass(frozen=True, slots=True)
class Step:
    """With `more` instances, `avoided_s` of the seconds of shortage would not have been."""

    more: int
    avoided_s: float


@dataclass(frozen=True, slots=True)
class Sizing:
    """The answer for a claim with a base of `held` instances.

    needed: the most instances that the need filled while no window held as many: a smaller base would have lacked them
    at: seconds for which the need filled 0, 1, ... instances of the claim, up to the most that it had
    used_gpu_s, held_gpu_s: GPU-seconds that the need fills of the claim, and those that it has
    short_s: seconds in which a deployment was short
    growth: how many instances more would have avoided how much of that; only such as avoid more than those before them
    window_s: seconds in which an open window asked for more than the base
    spared_s: instance-seconds that the claim would not have had with `spare` instances less
    """

    held: int
    needed: int
    at: tuple[float, ...]
    used_gpu_s: float
    held_gpu_s: float
    short_s: float
    growth: tuple[Step, ...]
    window_s: float
    spared_s: float

    @property
    def seconds(self) -> float:
        return sum(self.at)

    @property
    def peak(self) -> int:
        """The most instances that the need filled."""
        return max((count for count, seconds in enumerate(self.at) if seconds > 0), default=0)

    @property
    def spare(self) -> int:
        """Instances of the base that the need never filled; a claim has at least one."""
        return max(0, self.held - max(1, self.needed)) if self.seconds else 0

    @property
    def spared_share(self) -> float:
        """For which share of the time each of the spare instances would not have been there: not while a window holds it."""
        return self.spared_s / (self.spare * self.seconds) if self.spare else 0.0


def sizing(
    need: Need, *, held: int, per_instance: int, others: int | Ints = 0, windows: Ints | None = None
) -> Sizing:  # fmt: skip
    """Replay `need` on a claim with a base of `held` instances, after `others` that further claims have there (int64 [T],
    or as many at any time). `windows`: int64 [T], instances that open windows of the claim ask for; None: it has none.
    Seconds and instances as in `Sizing`; raises ValueError for negative sizes."""
    spans = len(need.seconds)
    opened = np.zeros(spans, np.int64) if windows is None else windows
    ahead = np.broadcast_to(np.asarray(others, np.int64), spans)
    if held < 0 or per_instance < 1 or np.any(ahead < 0) or np.any(opened < 0):
        raise ValueError("A claim has no negative size, and an instance has GPUs.")
    at, used, had, needed = np.zeros(max(held, opened.max(initial=0)) + 1), 0.0, 0.0, 0
    for (*row, before, window), seconds in _spans(np.column_stack([need.wanted, ahead, opened]), need.seconds):
        size, counts = max(held, window), np.array(row, np.int64)
        left = counts - placed(need.gpus, counts, before, per_instance)
        filled = min(size, instances_for(need.gpus, left, per_instance))
        at[filled] += seconds
        used += seconds * float(need.gpus @ placed(need.gpus, left, size, per_instance))
        had += seconds * size * per_instance
        if seconds > 0 and filled > window:
            needed = max(needed, filled)
    short_s, growth = _growth(need, np.maximum(opened - held, 0), per_instance)
    window_s = float(need.seconds[opened > held].sum())
    less = np.maximum(held, opened) - np.maximum(min(held, max(1, needed)), opened)
    spared_s = float(need.seconds @ less)
    return Sizing(held, needed, tuple(at.tolist()), used, had, short_s, growth, window_s, spared_s)


def _growth(need: Need, beyond: Ints, per_instance: int) -> tuple[float, tuple[Step, ...]]:
    """Seconds of shortage, and for each number of further instances that helps what it would have avoided. `beyond`: by
    how many an open window exceeds the base, which has to grow by as many before it helps: int64 [T]."""
    short_s, by_count = 0.0, dict[int, float]()
    for (*row, window), seconds in _spans(np.column_stack([need.short, beyond]), need.seconds):
        counts = np.array(row, np.int64)
        if counts.any():
            short_s += seconds
            if not np.any(counts[_nowhere(need.gpus, per_instance)]):
                more = window + instances_for(need.gpus, counts, per_instance)
                by_count[more] = by_count.get(more, 0.0) + seconds
    sums = np.cumsum([by_count[more] for more in sorted(by_count)]).tolist()
    return short_s, tuple(Step(more, avoided) for more, avoided in zip(sorted(by_count), sums, strict=True) if avoided)


def _spans(counts: Ints, seconds: Floats) -> list[tuple[list[int], float]]:
    """Different rows of `counts`, and how long each was."""
    if not len(counts):
        return []
    rows, row_of = np.unique(counts, axis=0, return_inverse=True)
    lasted = np.bincount(row_of.ravel(), seconds, minlength=len(rows))
    return list(zip(rows.tolist(), lasted.tolist(), strict=True))


def _nowhere(gpus: Ints, per_instance: int) -> npt.NDArray[np.bool_]:
    """Replicas that fit on no number of such instances (R16)."""
    found: npt.NDArray[np.bool_] = (gpus > per_instance) & (gpus % per_instance != 0)
    return found


def placed(gpus: Sequence[int] | Ints, counts: Ints, instances: int, per_instance: int) -> Ints:
    """How many replicas of each deployment find room on so many empty instances: int64 [D]."""
    return _pack(np.asarray(gpus), counts, per_instance, instances)[0]


def instances_for(gpus: Sequence[int] | Ints, counts: Ints, per_instance: int) -> int:
    """Instances that all of these replicas take; those that fit nowhere take none."""
    return _pack(np.asarray(gpus), counts, per_instance, None)[1]


def _pack(gpus: Ints, counts: Ints, per_instance: int, most: int | None) -> tuple[Ints, int]:
    """Replicas placed by deployment, and instances taken; None: there are as many as it takes. The tightest room first,
    so that an empty instance is the last resort and both cases place alike."""
    found, taken = np.zeros(len(gpus), np.int64), 0
    room = [0] * (per_instance + 1)  # instances begun, by GPUs that are free there
    nowhere = _nowhere(gpus, per_instance)
    for row in np.argsort(-gpus, kind="stable").tolist():
        size, left = int(gpus[row]), int(counts[row])
        if nowhere[row] or not left:
            continue
        if size > per_instance:
            each = size // per_instance
            fits = left if most is None else min(left, (most - taken) // each)
            taken, left = taken + fits * each, left - fits
        else:
            left = _fill(room, size, left)
            each = per_instance // size
            begun = -(-left // each) if most is None else min(-(-left // each), most - taken)
            taken, room[per_instance] = taken + begun, begun
            left = _fill(room, size, left)
        found[row] = int(counts[row]) - left
    return found, taken


def _fill(room: list[int], size: int, count: int) -> int:
    """Put replicas of one size on begun instances, the tightest first; how many find no room."""
    for free in range(size, len(room)):
        each, there = free // size, room[free]
        whole = min(there, count // each)
        rest = min(each, count - whole * each) if whole < there else 0
        room[free] -= whole + (rest > 0)
        room[free - each * size] += whole
        if rest:
            room[free - rest * size] += 1
        count -= whole * each + rest
    return count
