"""Killed at every step of every loop: what comes after is what would have come without."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from claims.core.states import CLAIM_TRANSITIONS, INSTANCE_TRANSITIONS
from claims.models import Offering
from console.dashboard.invariants import breaches
from deployments.core.states import ALLOWED
from tests import keep
from tests.cast import Cast
from tests.faults import life
from tests.faults.cuts import Boundaries, Cut
from tests.faults.worlds import WORLDS, World
from tests.loop.faults import Killed

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass(frozen=True)
class Whole:
    """A pass that nobody disturbed: how everything is in the end, the moment before it, and where it can be cut."""

    end: life.Picture
    kept: keep.Kept
    cuts: list[Cut]
    moves: list[Cut]  # those before a change of some state


def whole(world: World, cast: Cast, of: Offering) -> Whole:
    world.build(cast, of)
    kept, steps = keep.keep(), life.Steps()
    with Boundaries(changed=steps.look).installed() as boundaries:
        life.LOOPS[world.loop]()
    assert world.steps <= steps.taken, f"the pass takes {steps.taken}"
    life.settle()
    assert life.wrong() == []
    return Whole(life.picture(), kept, boundaries.cuts, steps.made_at)


def cut_off(world: World, at: int) -> bool:
    """The world's pass, killed at that boundary; whether it came so far."""
    boundaries = Boundaries(at)
    with suppress(Killed), boundaries.installed():
        life.LOOPS[world.loop]()
    return boundaries.reached


def what_is_wrong(world: World, pass_: Whole, cut: Cut) -> list[str]:
    pass_.kept.restore()
    assert cut_off(world, cut.number), f"{world} did not come to {cut}"
    return [f"{world} killed at {cut}: {one}" for one in [*wrong_at_once(), *wrong_in_the_end(pass_)]]


def wrong_at_once() -> list[str]:
    return [f"{one.invariant} at once: {one.rows}" for one in breaches()]


def wrong_in_the_end(pass_: Whole) -> list[str]:
    life.settle()
    end = life.picture()
    return life.wrong() + ([] if end == pass_.end else [f"it ended as {end} instead of {pass_.end}"])


FIRST = {world.loop: world for world in reversed(WORLDS)}


def steps_of(world: World, pass_: Whole) -> list[Cut]:
    """Before each kind of change of a state; in the first world of each loop also at all that every pass does."""
    cuts = pass_.cuts if FIRST[world.loop] == world else pass_.moves or pass_.cuts[-1:]
    return list({(cut.step, cut.what): cut for cut in cuts}.values())


@pytest.mark.thorough
@pytest.mark.parametrize("world", WORLDS, ids=str)
def test_w4_killed_at_any_step_a_pass_is_made_up_for(cast: Cast, of: Offering, world: World) -> None:
    pass_ = whole(world, cast, of)
    assert [wrong for cut in steps_of(world, pass_) for wrong in what_is_wrong(world, pass_, cut)] == []


@pytest.mark.long
@pytest.mark.parametrize("world", WORLDS, ids=str)
def test_w4_killed_before_any_statement_a_pass_is_made_up_for(cast: Cast, of: Offering, world: World) -> None:
    pass_ = whole(world, cast, of)
    every = [Cut(number, "a pass", "a statement") for number in range(pass_.cuts[-1].number + 1)]
    assert [wrong for cut in every for wrong in what_is_wrong(world, pass_, cut)] == []


# Steps of the tables that no loop takes, and who does.
ELSEWHERE = {
    "instance REQUESTED > READY": "whoever adopts a pool, in one transaction",
    "instance REQUESTED > FAILED": "nobody: a machine that was never asked for cannot fail",
    "instance REQUESTED > RELEASING": "a request",
    "instance JOINING > RELEASING": "a request",
    "instance READY > FAILED": "nobody: a lost machine drains first, since replicas still hold it",
    "replica DRAINING > FAILED": "nobody: one that ends while it drains has ended as intended",
    "claim CREATING > DELETING": "a request",
    "claim READY > DELETING": "a request",
    "claim UPDATING > DELETING": "a request",
    "claim ERROR > DELETING": "a request",
    "claim FAILED > DELETING": "a request",
    "claim ERROR > UPDATING": "nobody: a claim waits, it does not err (C5)",
    "claim ERROR > READY": "nobody, as above",
}  # fmt: skip


def test_the_worlds_take_every_step_of_the_tables() -> None:
    tables: dict[str, Any] = {"instance": INSTANCE_TRANSITIONS, "replica": ALLOWED, "claim": CLAIM_TRANSITIONS}
    steps = {f"{noun} {old.name} > {new.name}" for noun, table in tables.items() for old in table for new in table[old]}
    taken = {step for world in WORLDS for step in world.steps}
    assert steps - taken == set(ELSEWHERE)
