"""The whole stack as `make run` starts it, in a folder whose name has a space."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.running import free_port, pss_mb
from tests.stack.stacks import PARTS, ROOT, Stack, environment, running_stack, state_folder, until

pytestmark = [pytest.mark.stack]
MOST_MEMORY_MB = 550
STOP_WITHIN_S = 8  # five that the supervisor allows its parts, and what a busy machine adds


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack() as one:
        yield one


def start_another(state: Path, port: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "manage.py"), "stack"]
    return subprocess.run(command, env=environment(state, port), capture_output=True, text=True, timeout=30,
                          check=False)  # fmt: skip


def test_it_says_where_it_is_and_who_may_sign_in(stack: Stack) -> None:
    assert stack.said(f"Headroom is ready at http://127.0.0.1:{stack.port}")
    for line in (stack.state / "sign-ins").read_text().splitlines():
        user, password, _ = line.split(maxsplit=2)
        assert stack.said(f"sign in as {user} with {password}")


def test_it_answers_when_ready(stack: Stack) -> None:
    assert [stack.get(path)[0] for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 200]
    assert stack.get("/accounts/sign-in")[0] == 200


def test_every_loop_has_run_once_it_is_ready(stack: Stack) -> None:
    passes = stack.passes()
    assert {"fulfil", "provision", "meter", "actuate", "roll-up"} <= set(passes)
    assert all(passes.values())


def test_secrets_are_for_the_owner_alone(stack: Stack) -> None:
    assert {(stack.state / name).stat().st_mode & 0o777 for name in ("secret-key", "sign-ins")} == {0o600}
    assert {(stack.state / name).stat().st_mode & 0o777 for name in ("run", "valkey", "postgres")} == {0o700}


def test_it_needs_little_memory(stack: Stack) -> None:
    assert pss_mb(stack.process.pid) <= MOST_MEMORY_MB


def test_a_page_goes_before_the_loops_and_these_before_hours_of_computing(stack: Stack) -> None:
    own = os.getpriority(os.PRIO_PROCESS, stack.process.pid)
    given = {name: os.getpriority(os.PRIO_PROCESS, pid) - own for name, pid in stack.pids().items()}
    assert {name: given[name] for name in ("web", "control", "io", "bulk")} == {
        "web": 0, "control": min(5, 19 - own), "io": min(5, 19 - own), "bulk": min(10, 19 - own)
    }  # fmt: skip


def test_a_second_start_says_who_holds_the_folder(stack: Stack) -> None:
    second = start_another(stack.state, free_port())
    assert second.returncode == 1
    assert f"process {stack.process.pid}" in second.stderr
    assert "HEADROOM_STATE_DIR" in second.stderr
    assert stack.get("/readyz")[0] == 200


def test_a_port_in_use_is_refused_before_anything_starts(stack: Stack) -> None:
    with state_folder() as state:
        second = start_another(state, stack.port)
        assert not state.exists()
    assert second.returncode == 1
    assert f"Port {stack.port}" in second.stderr
    assert "HEADROOM_PORT" in second.stderr


def test_other_commands_reach_the_running_database(stack: Stack) -> None:
    checked = stack.manage("check_invariants")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("part", sorted(PARTS))
def test_a_part_that_is_killed_comes_back(stack: Stack, part: str) -> None:
    before = stack.pids()
    assert set(before) == set(PARTS)
    os.kill(before[part], signal.SIGKILL)
    until(lambda: stack.pids().get(part, before[part]) != before[part], 30, f"{part} did not come back")
    until(lambda: stack.get("/readyz")[0] == 200, 30, "not ready again")
    assert stack.loops_move()
    assert {name: pid for name, pid in stack.pids().items() if name != part} == {
        name: pid for name, pid in before.items() if name != part
    }


@pytest.mark.thorough
def test_killed_as_a_whole_it_goes_on_where_it_was(stack: Stack) -> None:
    before, key, passes = stack.pids(), (stack.state / "secret-key").read_text(), stack.passes()
    stack.process.kill()
    stack.process.wait(timeout=5)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before.values()), 5, "a child outlived it")
    stack.start()  # at once, while the kernel may still hold old shared memory
    stack.wait_until_ready()
    assert (stack.state / "secret-key").read_text() == key
    assert all(stack.passes()[name] >= count for name, count in passes.items())
    assert stack.loops_move()
    assert stack.manage("check_invariants").returncode == 0


@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.thorough)])
def test_it_stops_in_order_and_in_time(stack: Stack, how: signal.Signals) -> None:
    if stack.process.poll() is not None:
        stack.start()
        stack.wait_until_ready()
    parts = stack.pids()
    assert stack.stop(how) < STOP_WITHIN_S
    assert stack.process.returncode == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in parts.values())
    assert not (stack.state / "postgres" / "postmaster.pid").exists()


def test_commands_say_in_a_sentence_that_the_database_is_stopped(stack: Stack) -> None:
    if stack.process.poll() is None:
        stack.stop()
    asked = stack.manage("check_invariants")
    assert asked.returncode == 1
    assert "`make run` starts it" in asked.stderr
    assert "Traceback" not in asked.stderr
