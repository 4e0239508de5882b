"""Whatever happens to a fleet in whatever order: every invariant holds after each step, what is refused changes nothing,
in the end everything settles, and the bill is what an independent recount says."""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from claims.models import CapacityClaim, Offering, Work
from claims.services import instance_work_clear, instance_work_set
from console.common import clock
from tests import keep, world
from tests.cast import Cast
from tests.model import settled
from tests.model.fleet import Fleet, begin, none
from tests.model.recount import write_down

pytestmark = pytest.mark.django_db(transaction=True)

QUICK = settings(max_examples=4, stateful_step_count=25, deadline=None, derandomize=True, print_blob=True,
                 suppress_health_check=list(HealthCheck))  # fmt: skip
LONG = settings(QUICK, max_examples=int(os.environ.get("HEADROOM_MODEL_RUNS", "400")), stateful_step_count=50,
                derandomize=False)  # fmt: skip


def run(cast: Cast, how: settings) -> None:
    write_down()
    begin(cast)
    kept = keep.keep()
    run_state_machine_as_test(lambda: Fleet(cast, kept), settings=how)  # type: ignore[arg-type]


@pytest.mark.thorough
def test_whatever_happens_everything_holds_and_settles(cast: Cast, of: Offering) -> None:
    run(cast, QUICK)


@pytest.mark.long
def test_whatever_happens_for_long_everything_holds_and_settles(cast: Cast, of: Offering) -> None:
    run(cast, LONG)


def test_c6_a_machine_of_ones_own_that_the_platform_drained_keeps_the_claim_waiting_and_no_longer(
    cast: Cast, of: Offering
) -> None:
    """Found by a search: settled, and not READY."""
    write_down()
    begin(cast)
    state = Fleet(cast, keep.keep())
    (key,) = CapacityClaim.objects.get(kind="CUSTOMER").instances.values_list("key", flat=True)
    instance_work_set(actor=world.PLATFORM, instance_key=key, work=Work.DRAIN, reason="tried")
    state.settle()
    assert CapacityClaim.objects.get(kind="CUSTOMER").status == "STATUS_UPDATING"
    none(settled.wrong(clock.now()))
    instance_work_clear(actor=world.PLATFORM, instance_key=key)
    state.teardown()
    assert CapacityClaim.objects.get(kind="CUSTOMER").status == "STATUS_READY"
