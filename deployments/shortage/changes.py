"""The smallest changes that would help: each is tried, by planning the shard again with it."""

from collections.abc import Iterator, Mapping

import numpy as np

from console.common.words import counted
from deployments.core.plan import Bound
from deployments.core.snapshot import CapacityClass, Scheduled
from deployments.shortage.case import REPLACED, Case, Change, fewest
from deployments.shortage.claiming import claim_changes
from deployments.shortage.holders import held_by_rows
from deployments.shortage.limits import Open
from deployments.shortage.room import BOTH, classes_of

MOST_PRIORITY, NOT_PINNED = 1000, -1
MOST_OTHERS = 3  # other deployments whose GPUs are tried
WORDS = {CapacityClass.RESERVED: "RESERVED", CapacityClass.ON_DEMAND: "ON_DEMAND"}


def changes_for(case: Case) -> list[Change]:
    """What would give most first; of equals, what is told first costs least."""
    bound = Bound(int(case.made.wanted.bound[case.row]))
    if bound == Bound.DISABLED:
        return [Change("enable", "enable it", case.gain(case.trial.setting(case.row, enabled=True)))]
    short = [one for one in _capacity(case) if one.replicas > 0 or one.kind == "quota"] if case.missing else []
    limits = list(_limits(case)) if case.withheld else []
    return [*_holds(case), *sorted(short, key=lambda one: -one.replicas), *limits]


def _holds(case: Case) -> Iterator[Change]:
    """What holds the size comes first, whatever else stands in the way: without it the size follows load again."""
    if not case.limits.holds:
        return
    freed = case.trial.setting(case.row, freeze=False, pin=NOT_PINNED)
    gain = max(0, case.gain(freed))
    for hold in case.limits.holds:
        what = "pin" if hold.size is not None else "freeze"
        yield Change("hold", f"end the {what} by {hold.created_by} ({hold.reason})", gain, hold.id)


def _limits(case: Case) -> Iterator[Change]:
    """Schedule windows, max and price: told even where no GPUs are free for what they would allow."""
    most, paid = case.column("max"), case.column("ceiling")
    if 0 <= paid < min(most, case.wishes):
        raised = case.trial.setting(case.row, ceiling=min(most, case.wishes))
        text = f"a price ceiling that pays for {min(most, case.wishes)} replicas instead of {paid}"
        yield Change("price-ceiling", text, max(0, case.gain(raised)))
    if case.wishes > most:
        raised = case.trial.setting(case.row, max=case.wishes, ceiling=-1)
        gain, values = max(0, case.gain(raised)), {"max": str(case.wishes)}
        top = case.limits.top if case.column("scheduled") & Scheduled.MAX else None
        yield from (
            _window(case, top, values, gain)
            if top
            else [Change("max", f"max {case.wishes} instead of {most}", gain, values=values)]
        )


def _window(case: Case, top: Open, values: Mapping[str, str], gain: int) -> Iterator[Change]:
    """The max of the window that is open; or no window, where the deployment's own max is more."""
    most, own = case.column("max"), case.limits.own_max
    yield Change("window", f"max {case.wishes} instead of {most} in the window {top.words}", gain, top.row.id, values)
    if own > most:
        alone = case.trial.setting(case.row, max=min(own, case.wishes), ceiling=-1)
        text = f"delete that window: its own max of {own} holds then"
        yield Change("window", text, max(0, case.gain(alone)), top.row.id)


def _capacity(case: Case) -> Iterator[Change]:
    yield from _classes(case)
    yield from _priority(case)
    yield from claim_changes(case)
    yield from _others(case)
    yield from _zones(case)
    yield from _gpus(case)


def _classes(case: Case) -> Iterator[Change]:
    allowed = classes_of(case.trial.snapshot, case.row)
    for each in BOTH:
        if each not in allowed:
            opened = case.trial.setting(case.row, class_order=(*allowed, each))
            values = {"classes": ",".join(f"CAPACITY_CLASS_{WORDS[one]}" for one in (*allowed, each))}
            yield Change("classes", f"allow {WORDS[each]}{REPLACED}", case.gain(opened), values=values)


def _priority(case: Case) -> Iterator[Change]:
    """One above those whose min the free GPUs are kept for."""
    table = case.trial.snapshot.deployments
    waits = (table.org == table.org[case.row]) & (case.made.granted.value < table.min) & ~table.shadow
    waits[case.row] = False
    rows = np.flatnonzero(waits & (table.priority >= table.priority[case.row]))
    if not len(rows):
        return
    above = int(table.priority[rows].max()) + 1
    if above <= MOST_PRIORITY:
        text = f"priority {above} instead of {case.column('priority')}"
        gain = case.gain(case.trial.setting(case.row, priority=above))
        yield Change("priority", text, gain, values={"priority": str(above)})


def _others(case: Case) -> Iterator[Change]:
    """GPUs above the min of other deployments of the organization, lower priorities first; never of a higher one."""
    snapshot = case.trial.snapshot
    table, size = snapshot.deployments, int(snapshot.offerings.gpus_per_instance.max(initial=0))
    held = held_by_rows(case.trial, case.row)
    above = case.trial.live_counts() - table.min
    may = (table.gpu_count <= size) & (table.priority <= case.column("priority")) & (above > 0)
    may[case.row] = False
    rows = [one for one in held if may[one]]
    rows.sort(key=lambda one: (int(table.priority[one]), -held[one].gpus, int(table.key[one])))
    for one in rows[:MOST_OTHERS]:
        yield from _from_other(case, one)


def _from_other(case: Case, other: int) -> Iterator[Change]:
    """As few of its replicas as give what all that it may lose would; with what its own load asks for."""
    table = case.trial.snapshot.deployments
    live, least, key = case.trial.live_of(other), int(table.min[other]), int(table.key[other])
    gpus, asks = int(table.gpu_count[other]), int(case.made.damped.recommended[other])
    spare = min(len(live) - least, -(-case.missing * case.column("gpu_count") // gpus))
    if spare <= 0 or key not in case.names.deployments:
        return

    def gain(count: int) -> int:
        return case.gain(case.trial.setting(other, max=len(live) - count).without_replicas(live[-count:].tolist()))

    count = fewest(spare, gain)
    id, name = case.names.deployments[key]
    above, priority, left = (len(live) - least) * gpus, int(table.priority[other]), len(live) - count
    text = (f"max {left} for {name} (priority {priority}), which runs {counted(len(live), 'replica')} and holds "
            f"{counted(above, 'GPU')} above its min of {least}; its load asks for {asks}")  # fmt: skip
    yield Change("other", text, gain(count), id, {"max": str(left)})


def _zones(case: Case) -> Iterator[Change]:
    """Zones that its gateways leave out."""
    bits = case.column("zones")
    names = case.trial.snapshot.offerings.zone
    tried = []
    for one in sorted(range(len(names)), key=lambda one: names[one]):
        if not bits >> one & 1:
            opened = case.trial.setting(case.row, zones=np.uint64(bits | 1 << one))
            tried.append(Change("zones", f"let its gateways serve {names[one]}", case.gain(opened)))
    yield from sorted(tried, key=lambda one: -one.replicas)[:1]


def _gpus(case: Case) -> Iterator[Change]:
    """GPUs a replica that an instance can hold, where the present number fits nowhere."""
    size, gpus = int(case.trial.snapshot.offerings.gpus_per_instance.max(initial=0)), case.column("gpu_count")
    if size and gpus > size and gpus % size:
        text = f"{size} GPUs a replica instead of {gpus}, or an instance type with {gpus} GPUs"
        yield Change("gpus", text, case.gain(case.trial.setting(case.row, gpu_count=size)))
