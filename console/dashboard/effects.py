"""What a change of autoscaling, priorities or of what is enabled would do: planned by the planner, with and without it."""

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from console.common import clock
from console.common.words import counted
from console.dashboard.deployment_page import classes_in_words, delay_text, given, replica_price
from console.organizations.models import Organization
from deployments.core.plan import Plan
from deployments.core.rules import CAPACITY_CLASSES, Autoscaling
from deployments.models import Deployment
from deployments.objective.selectors import objective_of
from deployments.services.revisions import other_classes
from deployments.trial import Trial

BOTH = tuple(CAPACITY_CLASSES.values())


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, before and after, as text with its unit."""

    name: str
    before: str
    after: str

    @property
    def changed(self) -> bool:
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class Affected:
    """A deployment and the replicas that the next pass would have GPUs for, without the change and with it."""

    name: str
    id: uuid.UUID
    wanted: int
    before: int
    after: int
    chosen: bool  # one that is changed itself

    @property
    def more(self) -> int:
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Effect:
    settings: Sequence[Setting] = ()
    affected: Sequence[Affected] = ()
    notes: Sequence[str] = ()
    hidden: Mapping[str, Any] = field(default_factory=dict)


def change_of_autoscaling(
    one: Deployment, block: Autoscaling, own: Mapping[str, Any] | None = None, *, money: bool
) -> Effect:
    """`own`: Headroom's own settings, by column of the policy, as far as they are to change."""
    own = own or {}
    now = clock.now()
    trial = Trial.read(one.instance_type, now)
    row = trial.row_of(one.key)
    if row is None:  # it went meanwhile, or moved to another type
        return Effect(settings=_settings(one, block, own, money))
    rolls = other_classes(one.autoscaling.capacity_classes, block.capacity_classes)
    changed = trial.setting(
        row, min=block.min, max=block.max, priority=block.priority or 0, concurrency=block.concurrency or 8,
        class_order=_order(block.capacity_classes), revision=one.revision + rolls,
        **_planned(one, own),
    )  # fmt: skip
    before, after = trial.plan(), changed.plan()
    affected = _affected(one.organization, trial, before, after, {one.key})
    return Effect(_settings(one, block, own, money), affected, list(_notes(one, block, before, after, row)))


def _planned(one: Deployment, own: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of the planner; what an objective chooses stays as it is."""
    planned: dict[str, Any] = {}
    if objective_of(one):
        return planned
    if "look_ahead" in own:
        planned["ahead"] = math.nan if own["look_ahead"] else 0.0
    if "scale_down_delay" in own:
        delay = own["scale_down_delay"]
        planned["scale_down_s"] = math.nan if delay is None else delay.total_seconds()
    return planned


def _settings(one: Deployment, block: Autoscaling, own: Mapping[str, Any], money: bool) -> list[Setting]:
    policy, price = one.autoscaling, replica_price(one, clock.now())
    rows = [
        Setting("Min replicas", str(policy.min), str(block.min)),
        Setting("Max replicas", str(policy.max), str(block.max)),
        Setting("Target concurrency", given(policy.concurrency, 8), given(block.concurrency, 8)),
        Setting("Priority", given(policy.priority, 0), given(block.priority, 0)),
        Setting("Capacity", classes_in_words(policy.capacity_classes), classes_in_words(block.capacity_classes)),
        Setting("Scale-down delay", delay_text(policy.scale_down_delay),
                delay_text(own.get("scale_down_delay", policy.scale_down_delay))),
        Setting("Look-ahead", on_or_off(policy.look_ahead), on_or_off(own.get("look_ahead", policy.look_ahead))),
    ]  # fmt: skip
    if money:
        before, after = (on_demand_allowed(classes) for classes in (policy.capacity_classes, block.capacity_classes))
        rows += [
            Setting(
                f"On demand at {name}, an hour", on_demand_text(before, price, old), on_demand_text(after, price, new)
            )
            for name, old, new in (("min", policy.min, block.min), ("max", policy.max, block.max))
        ]
    return rows


def on_or_off(value: bool) -> str:
    return "on" if value else "off"


def on_demand_allowed(classes: Sequence[str]) -> bool:
    return not classes or "CAPACITY_CLASS_ON_DEMAND" in classes


def on_demand_text(allowed: bool, price: Decimal | None, replicas: int) -> str:
    return hourly_text(price, replicas) if allowed else "nothing: it runs on claims alone"


def hourly_text(price: Decimal | None, replicas: int) -> str:
    return "no price set" if price is None else f"${price * replicas:,.2f}"


def _order(classes: Sequence[str]) -> tuple[int, int]:
    """Two columns; unset means all (R15)."""
    codes = tuple(CAPACITY_CLASSES[one] for one in classes)
    first, second, *_ = (*(codes or BOTH), 0, 0)
    return first, second


def _notes(one: Deployment, block: Autoscaling, before: Plan, after: Plan, row: int) -> Any:
    """Sentences on what follows, from the numbers of the next pass."""
    current = int(before.current[row])
    old, new = int(before.wanted.value[row]), int(after.wanted.value[row])
    got = int(after.granted.value[row])
    if new == old:
        yield f"The size that is wanted does not change: {counted(new, 'replica')}; {_run(current)}."
    else:
        yield f"The next pass would want {counted(new, 'replica')} instead of {old}; {_run(current)}."
    if got < new:
        yield f"GPUs are there for {got} of these {new}."
    if current > block.max:
        yield f"{current - block.max} of {counted(current, 'replica')} go, least active first, once what runs there is finished."
    policy = one.autoscaling
    if block.min < policy.min and new > block.min:
        yield (f"With a min of {block.min} instead of {policy.min} it may shrink that far when load allows, after its "
               "scale-down delay.")  # fmt: skip
    if other_classes(policy.capacity_classes, block.capacity_classes):
        begins, waits = int(after.granted.moves[row]), int(after.granted.moves_short[row])
        room = f"; for {waits} there is no room yet" if waits else ""
        yield (f"A change of classes starts anew: {counted(current, 'replica')} to replace, replacement first where GPUs are "
               f"free. In the next pass {counted(begins, 'move')} {'begins' if begins == 1 else 'begin'}{room}.")  # fmt: skip


def _run(replicas: int) -> str:
    return f"{replicas} runs" if replicas == 1 else f"{replicas} run"


def change_of_priorities(organization: Organization, chosen: Sequence[Deployment], priority: int) -> Effect:
    """All types concerned; sizes wanted stay, so that what differs is who gets GPUs."""
    settings = [Setting(one.name, given(one.autoscaling.priority, 0), str(priority)) for one in chosen]

    def with_it(trial: Trial, row: int) -> Trial:
        return trial.setting(row, priority=priority)

    affected = _by_type(organization, chosen, with_it)
    return Effect(settings, affected, [_who_gains(affected)])


def change_of_switch(
    organization: Organization, chosen: Sequence[Deployment], *, disabled: bool, money: bool
) -> Effect:
    """`chosen` are read by `deployments_of`."""
    words = {True: "disabled", False: "enabled"}
    settings = [Setting(one.name, words[one.disabled], words[disabled]) for one in chosen]

    def with_it(trial: Trial, row: int) -> Trial:
        trial = trial.setting(row, enabled=not disabled)
        return trial.without_replicas(trial.live_of(row).tolist()) if disabled else trial

    affected = _by_type(organization, chosen, with_it)
    notes = [_what_stops(chosen, money)] if disabled else []
    return Effect(settings, affected, [*notes, _who_gains(affected)])


def _what_stops(chosen: Sequence[Deployment], money: bool) -> str:
    now = clock.now()
    live = {one.key: one.ready + one.starting for one in chosen}  # type: ignore[attr-defined]
    count, gpus = sum(live.values()), sum(live[one.key] * one.gpu_count for one in chosen)
    finish = "finishes what it runs and lets" if count == 1 else "finish what they run and let"
    text = f"{counted(count, 'replica')} {finish} {counted(gpus, 'GPU')} go."
    prices = {one.key: replica_price(one, now) for one in chosen if live[one.key]} if money else {}
    if None in prices.values():
        return f"{text} No price set for some of them."
    if money:
        usd = sum((live[key] * price for key, price in prices.items() if price), Decimal(0))
        text += f" On demand {'it costs' if count == 1 else 'they cost'} ${usd:,.2f} an hour."
    return text


def _who_gains(affected: Sequence[Affected]) -> str:
    others = [one for one in affected if not one.chosen]
    if not others:
        return "No other deployment of the organization gets more or fewer GPUs in the next pass."
    told = ", ".join(f"{one.name} {one.before} to {one.after}" for one in others)
    return f"Others that get GPUs for more or fewer replicas: {told}."


def _by_type(organization: Organization, chosen: Sequence[Deployment], with_it: Any) -> list[Affected]:
    now, found = clock.now(), []
    for type_ in {one.instance_type_id: one.instance_type for one in chosen}.values():
        trial = Trial.read(type_, now).holding()
        keys, changed = {one.key for one in chosen if one.instance_type_id == type_.key}, trial
        for key in sorted(keys):
            row = trial.row_of(key)
            changed = changed if row is None else with_it(changed, row)
        found += _affected(organization, trial, trial.plan(), changed.plan(), keys)
    return sorted(found, key=lambda one: (not one.chosen, one.name))


def _affected(organization: Organization, trial: Trial, before: Plan, after: Plan, chosen: set[int]) -> list[Affected]:
    """The chosen ones, and those of the organization that get GPUs for more or fewer replicas."""
    table = trial.snapshot.deployments
    differs = (before.granted.value != after.granted.value) | np.isin(table.key, list(chosen))
    rows = np.flatnonzero(differs & (table.org == organization.key)).tolist()
    names = Deployment.objects.in_bulk([int(table.key[row]) for row in rows])
    return [
        Affected(names[key].name, names[key].id, int(after.wanted.value[row]), int(before.granted.value[row]),
                 int(after.granted.value[row]), key in chosen)
        for row in rows if (key := int(table.key[row])) in names
    ]  # fmt: skip
