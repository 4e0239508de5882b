"""What surrounds the loops fails under them: the database, the broker, its messages, a worker. Afterwards they go on, no
invariant is broken, and the ledger is what a recount by triggers of the test's own says, without a gap or a double."""

import http.cookiejar
import os
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis import Redis

from bench.running import sign_in
from console.stack.valkey import Valkey
from tests.stack.stacks import Stack, running_stack, until

pytestmark = [pytest.mark.thorough, pytest.mark.stack]
PAGES = ["", "deployments", "claims", "capacity", "quota", "billing", "gateways", "tokens", "members", "audit"]
TASKS = {
    "claims.tasks.fulfil": "control",
    "claims.tasks.meter": "control",
    "claims.tasks.provision": "io",
    "deployments.tasks.actuate": "io",
    "deployments.tasks.roll_up": "control",
    "deployments.tasks.scale": "control",
}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack(HEADROOM_SIM_SPEED="60") as one:
        one.module("tests.stack.books", "begin")
        yield one


@contextmanager
def still(*pids: int) -> Iterator[None]:
    """These processes stand still inside."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def goes_on(stack: Stack) -> None:
    """Every part is there, every loop moves, and nothing that must be true is not."""
    until(stack.complete, 60, "a part stayed away")
    assert stack.loops_move()
    checked = stack.manage("check_invariants")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert stack.module("tests.stack.books", "compare") == ""


def address(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.port}"


def signed_in(stack: Stack) -> urllib.request.OpenerDirector:
    return sign_in(address(stack), stack.state, "operator", http.cookiejar.CookieJar())


def broker(stack: Stack) -> "Redis":
    return Redis(unix_socket_path=str(Valkey(stack.state).socket))


# --- the database ----------------------------------------------------------------------------------
@pytest.mark.parametrize("how", [
    pytest.param(signal.SIGQUIT, id="immediate"),
    pytest.param(signal.SIGINT, id="fast", marks=pytest.mark.long),
    pytest.param(signal.SIGKILL, id="killed", marks=pytest.mark.long),
])  # fmt: skip
def test_w4_postgresql_restarted_under_the_loops_costs_nothing(stack: Stack, how: signal.Signals) -> None:
    before = stack.pids()
    os.kill(before["postgres"], how)
    until(lambda: stack.pids().get("postgres", before["postgres"]) != before["postgres"], 40, "it did not come back")
    goes_on(stack)
    assert stack.pids() == {**before, "postgres": stack.pids()["postgres"]}, "something else fell with it"


def test_while_postgresql_is_away_the_console_says_so(stack: Stack) -> None:
    before, browser = stack.pids(), signed_in(stack)
    browser.addheaders = [("Authorization", "Bearer of a token that nobody can look up")]
    with still(stack.process.pid):  # nobody starts it again
        os.kill(before["postgres"], signal.SIGKILL)
        until(lambda: stack.get("/readyz")[0] == 503, 20, "it is ready without a database")
        assert "The database does not answer" in stack.get("/readyz")[1]
        assert stack.get("/healthz")[0] == 200
        for path in ("deployments", "v1alpha1/inference/deployments"):
            with pytest.raises(urllib.error.HTTPError, match="503"):
                browser.open(f"{address(stack)}/{path}", timeout=30)
        time.sleep(8)  # every loop misses a pass
    goes_on(stack)
    assert stack.pids() == {**before, "postgres": stack.pids()["postgres"]}, "something else fell with it"


# --- the broker ------------------------------------------------------------------------------------
@pytest.mark.long
def test_w4_a_broker_that_is_emptied_costs_no_more_than_a_period(stack: Stack) -> None:
    for _ in range(3):
        broker(stack).flushall()
        time.sleep(1)
    goes_on(stack)


def test_w4_a_broker_that_is_emptied_and_killed_costs_no_more_than_a_period(stack: Stack) -> None:
    before = stack.pids()
    broker(stack).flushall()
    os.kill(before["valkey"], signal.SIGKILL)
    until(lambda: stack.pids().get("valkey", before["valkey"]) != before["valkey"], 40, "it did not come back")
    goes_on(stack)
    assert stack.pids() == {**before, "valkey": stack.pids()["valkey"]}, "something else fell with it"


# --- its messages ----------------------------------------------------------------------------------
@pytest.mark.long
def test_w4_messages_that_come_twice_and_late_do_nothing_twice(stack: Stack) -> None:
    """The very bytes of messages that nobody took while the workers stood still, again and again afterwards."""
    pids = stack.pids()
    with still(pids["io"], pids["control"]):
        publish_all(stack)
        kept = {queue: broker(stack).lrange(queue, 0, -1) for queue in ("control", "io")}
    assert all(len(messages) >= 2 for messages in kept.values()), kept
    for _ in range(8):
        for queue, messages in kept.items():
            broker(stack).lpush(queue, *messages, *messages)
        time.sleep(1)
    until(lambda: not any(broker(stack).llen(queue) for queue in kept), 60, "messages are left")
    goes_on(stack)


def publish_all(stack: Stack) -> None:
    """Each task without an expiry, so that no lateness makes it void."""
    stack.module("tests.stack.publish", *(f"{task}={queue}" for task, queue in TASKS.items()))


@pytest.mark.long
def test_w2_passes_doubled_side_by_side_do_nothing_twice(stack: Stack) -> None:
    assert stack.module("tests.stack.doubled", "20") == ""
    goes_on(stack)


# --- a worker --------------------------------------------------------------------------------------
@pytest.mark.long
@pytest.mark.parametrize(("part", "late"), [
    ("io", {"actuate", "provision"}), ("control", {"actuate", "fulfil", "provision", "scale"})  # beat is in control
])  # fmt: skip
def test_a_worker_that_stands_still_is_said_on_every_page_until_it_goes_on(
    stack: Stack, part: str, late: set[str]
) -> None:
    browser = signed_in(stack)

    def said(page: str) -> set[str]:
        text = browser.open(f"{address(stack)}/{page}", timeout=30).read().decode()
        return {kind.split()[0] for kind in re.findall(r"<b>Late: ([^<]+)</b>", text)}

    until(lambda: said("") == set(), 30, "something is late already")
    with still(stack.pids()[part]):
        until(lambda: said("") >= late, 60, "nothing says that it is late")
        assert {page: said(page) for page in PAGES} == dict.fromkeys(PAGES, late)
        assert stack.get("/readyz")[0] == 200, "a late loop does not take the console away"
    until(lambda: not any(map(said, PAGES)), 60, "it is still said")
    goes_on(stack)
