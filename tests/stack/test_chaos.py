"""Kills without end: whatever is killed in whatever order, the stack goes on and nothing is held or billed twice."""

import os
import random
import signal
import time
from collections.abc import Iterator

import pytest

from tests.stack.stacks import Stack, running_stack, until

pytestmark = [pytest.mark.long, pytest.mark.stack]
ROUNDS, SEED = 12, 20261124


@pytest.fixture
def stack() -> Iterator[Stack]:
    with running_stack(HEADROOM_SIM_SPEED="60") as one:
        yield one


def test_kills_in_any_order_leave_nothing_broken(stack: Stack) -> None:
    chance = random.Random(SEED)
    for _ in range(ROUNDS):
        time.sleep(chance.uniform(0, 6))
        pids = stack.pids()
        for part in chance.sample(sorted(pids), chance.randint(1, len(pids))):
            os.kill(pids[part], signal.SIGKILL)
        if chance.random() < 0.25:
            stack.process.kill()
            stack.process.wait(timeout=5)
            stack.start(HEADROOM_SIM_SPEED="60")
            stack.wait_until_ready()
        # A part that fell often waits for its next start up to half a minute.
        until(stack.complete, 90, "a part stayed away")
        assert stack.loops_move()
        checked = stack.manage("check_invariants")
        assert checked.returncode == 0, checked.stdout + checked.stderr
