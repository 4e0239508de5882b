"""The one entry point: a shard at a moment goes in, what to do about it and why comes out.

The live loop, the simulator, the backtest and the benchmark all call `plan`. It reads no clock, draws no
random number, asks nobody: the same snapshot, parameters and time give the same plan, on any machine, in any
order of rows.
"""

from dataclasses import dataclass, replace

import numpy as np

from deployments.core import history
from deployments.core import look_ahead as stage_3
from deployments.core.allocation import Allocation, allocate
from deployments.core.autoscaler_state import EMPTY, AutoscalerState, Forecasts, Memory
from deployments.core.bounds import bound, by_operator
from deployments.core.census import census
from deployments.core.columns import Bools, Int32s, Int64s
from deployments.core.damping import damp
from deployments.core.need import measure, target_of
from deployments.core.params import Params, Settings, milliseconds
from deployments.core.plan import Ahead, Damped, Need, Plan, Signal, Wanted
from deployments.core.signal import Samples, assess, decode
from deployments.core.snapshot import Deployments, Snapshot

# Of the bound that is remembered: a freeze or a pin is in force. So a hold that begins or ends is worth a Decision row where
# the size is short of GPUs as well, which is then its bound.
HELD = np.int8(64)


def plan(snapshot: Snapshot, params: Params, now: float) -> Plan:
    """Decide the size of every deployment of a shard and what follows from it.

    `now` is unix seconds. Raises ColumnError when the tables of the snapshot do not fit together.
    """
    snapshot.check()
    deployments, now_ms = snapshot.deployments, milliseconds(now)
    settings = deployments.settings(params)
    state = snapshot.state.realign(deployments.key)
    old = state.memory
    counted = census(snapshot, now_ms)
    ready, starting = counted.ready, counted.starting
    known = stage_3.remembered(state.forecasts, deployments.key, settings)
    sizes = _sizes(
        old,
        known,
        snapshot.state.at_ms,
        decode(snapshot.signals),
        deployments,
        settings,
        params,
        ready=ready,
        starting=starting,
        now_ms=now_ms,
    )
    damped, wanted = sizes.damped, sizes.wanted
    done = allocate(snapshot, wanted, damped, counted, state, now_ms)
    memory = _remember(old, sizes.ring, deployments, damped, wanted, done, now_ms)
    return Plan(
        now=now,
        params=params,
        key=deployments.key,
        ready=ready,
        starting=starting,
        current=ready + starting,
        signal=sizes.signal,
        need=sizes.need,
        ahead=sizes.ahead,
        damped=damped,
        wanted=wanted,
        granted=done.granted,
        changed=_changed(old, memory),
        starts=done.starts,
        stops=done.stops,
        unplaced=done.unplaced,
        state=AutoscalerState(now_ms, memory, done.kept, sizes.forecasts),
    )


def size_from(
    samples: Samples,
    deployments: Deployments,
    settings: Settings,
    params: Params,
    *,
    base: Int64s,
    starting: Int32s,
    window_highest: Int64s,
    burst_until_ms: Int64s,
    margin_micro: Int64s,
    now_ms: int,
) -> tuple[Signal, Need, Ahead, Damped, Wanted]:
    """Stages 1 to 5: what each deployment wants. Also used to run a stored decision again."""
    target = target_of(deployments.concurrency)
    signal, windows = assess(samples, settings, params, now_ms)
    need = measure(windows, signal.valid, target, starting, settings)
    ahead = stage_3.look_ahead(need, signal.valid, target, deployments.slots, margin_micro, settings)
    damped = damp(need, ahead, signal.valid, target, base, window_highest, burst_until_ms, settings, now_ms)
    return signal, need, ahead, damped, bound(deployments, damped)


def size_alone(
    memory: Memory,
    forecasts: Forecasts,
    at_ms: int,
    samples: Samples,
    deployments: Deployments,
    settings: Settings,
    params: Params,
    *,
    ready: Int32s,
    starting: Int32s,
    now_ms: int,
) -> tuple[Memory, Forecasts, Wanted]:
    """What `plan` decides where there is room for whatever is wanted: stages 1 to 5, and what is remembered of them.

    `at_ms` is the time of the tick that left `memory` and `forecasts` (0: there was none). All columns are per
    deployment, but for `forecasts`.
    """
    sizes = _sizes(
        memory,
        stage_3.remembered(forecasts, deployments.key, settings),
        at_ms,
        samples,
        deployments,
        settings,
        params,
        ready=ready,
        starting=starting,
        now_ms=now_ms,
    )
    kept, wanted = _with_window(memory, sizes.ring, sizes.damped), sizes.wanted
    return replace(kept, wanted=wanted.value, granted=wanted.value, bound=wanted.bound), sizes.forecasts, wanted


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Stages 1 to 5, and what is to be remembered of them."""

    signal: Signal
    need: Need
    ahead: Ahead
    damped: Damped
    wanted: Wanted
    ring: history.Ring
    forecasts: Forecasts


def _sizes(
    memory: Memory,
    known: Forecasts,
    at_ms: int,
    samples: Samples,
    deployments: Deployments,
    settings: Settings,
    params: Params,
    *,
    ready: Int32s,
    starting: Int32s,
    now_ms: int,
) -> _Sizes:
    """Stages 1 to 5 from what is remembered, and the scale-down window with what they recommend."""
    base = base_of(deployments, memory, ready + starting)
    ring = _window(memory, at_ms, base, settings, params, now_ms)
    signal, need, ahead, damped, wanted = size_from(
        samples,
        deployments,
        settings,
        params,
        base=base,
        starting=starting,
        window_highest=ring.top(),
        burst_until_ms=memory.burst_until_ms,
        margin_micro=stage_3.spread(known, settings),
        now_ms=now_ms,
    )
    after = stage_3.learn(known, ahead, need, signal, settings, params, at_ms, now_ms)
    return _Sizes(signal, need, ahead, damped, wanted, history.add(ring, damped.recommended), after)


def base_of(deployments: Deployments, memory: Memory, current: Int32s) -> Int64s:
    """The size that damping starts from: what was last wanted, or what runs where that says nothing."""
    known = (memory.wanted > 0) & ~deployments.shadow
    return np.where(known, memory.wanted, current).astype(np.int64)


def _window(memory: Memory, at_ms: int, base: Int64s, settings: Settings, params: Params, now_ms: int) -> history.Ring:
    """The scale-down window. Where nothing is remembered, the size there is stands for what would be (R5).

    So after a restart, a long pause of the loop, or for a new deployment, nothing shrinks until a whole
    window has been seen.
    """
    paused = now_ms - at_ms > milliseconds(params.stale_s)
    ring = history.advance(memory, settings, now_ms)
    return history.add(ring, base, (memory.width_ms == 0) | paused)


def _remember(
    old: Memory,
    ring: history.Ring,
    deployments: Deployments,
    damped: Damped,
    wanted: Wanted,
    done: Allocation,
    now_ms: int,
) -> Memory:
    short = done.granted.value < wanted.value
    since = np.where(old.short_since_ms > 0, old.short_since_ms, now_ms)
    size, highest = _cut_short(wanted, ring, damped, deployments, done)
    return replace(
        _with_window(old, replace(ring, highest=highest), damped),
        wanted=size,
        granted=done.granted.value,
        bound=np.where(by_operator(wanted), done.granted.bound | HELD, done.granted.bound),
        short_since_ms=np.where(short, since, 0),
        free_since_ms=done.free_since_ms,
    )


def _with_window(memory: Memory, ring: history.Ring, damped: Damped) -> Memory:
    return replace(
        memory,
        burst_until_ms=np.where(damped.bursting, damped.burst_until_ms, 0),
        width_ms=ring.width_ms.astype(np.int32),
        bucket=ring.bucket,
        highest=ring.highest,
    )


def _cut_short(
    wanted: Wanted, ring: history.Ring, damped: Damped, deployments: Deployments, done: Allocation
) -> tuple[Int32s, Int32s]:
    """The size and the window to remember: as if its delay were over, where one was cut short (R12).

    So what was let go for somebody else is not wanted back before load asks for it.
    """
    rows = np.flatnonzero(done.yielded)
    if not len(rows):
        return wanted.value, ring.highest
    needed = np.clip(damped.recommended, deployments.min, deployments.max)[rows]
    size, highest = wanted.value.copy(), ring.highest.copy(order="F")
    size[rows] = np.maximum(done.granted.value[rows], needed)
    highest[rows] = np.minimum(highest[rows], size[rows, None])
    return size, highest


def _changed(old: Memory, new: Memory) -> Bools:
    """Whether a decision is worth a row: not every reason that flickers with the load is."""
    resized = (old.wanted != new.wanted) | (old.granted != new.granted) | (old.wanted == EMPTY)
    changed: Bools = resized | (old.bound != new.bound)
    return changed
