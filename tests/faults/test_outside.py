"""Calls that hang are given up, a few at a time; what cannot be stored is not handed on."""

import threading
import time
from datetime import UTC, datetime

import pytest
from django.db import connection

from claims.backends import base as nodes
from claims.backends.simulated import SimulatedNodeBackend
from console.common import outside
from console.common.outside import MOST_OVERDUE, Bounded, storable_count, storable_text, storable_time
from deployments.backends import base as runtimes
from deployments.backends.simulated import SimulatedRuntimeBackend
from tests.stack.stacks import until

LIMIT_S = 0.05
NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - what a careless backend says


class OutOfReach(Exception):
    pass


class Slow:
    """Hangs until it is let go."""

    def __init__(self) -> None:
        self.let_go, self.calls = threading.Event(), 0

    def ask(self, value: int, *, plus: int = 0) -> int:
        self.calls += 1
        assert self.let_go.wait(10)
        return value + plus

    def fail(self) -> None:
        raise ValueError("no")


def test_an_answer_and_an_error_come_through() -> None:
    slow = Slow()
    slow.let_go.set()
    bounded = Bounded(slow, OutOfReach, 5)
    assert bounded.ask(1, plus=2) == 3
    with pytest.raises(ValueError, match="no"):
        bounded.fail()


def test_what_the_backend_does_not_have_is_no_call() -> None:
    with pytest.raises(AttributeError):
        _ = Bounded(Slow(), OutOfReach, 5).nothing


def test_a_call_that_hangs_is_given_up_and_a_few_of_them_stop_all_others() -> None:
    slow = Slow()
    bounded = Bounded(slow, OutOfReach, LIMIT_S)
    for _ in range(MOST_OVERDUE):
        with pytest.raises(OutOfReach, match="was not answered within"):
            bounded.ask(1)
    began = time.monotonic()
    for _ in range(1000):
        with pytest.raises(OutOfReach, match=f"{MOST_OVERDUE} earlier calls"):
            bounded.ask(1)
    assert time.monotonic() - began < 1000 * LIMIT_S / 2
    assert slow.calls == MOST_OVERDUE


def test_once_those_that_hung_are_over_it_is_asked_again() -> None:
    slow = Slow()
    bounded = Bounded(slow, OutOfReach, LIMIT_S)
    for _ in range(MOST_OVERDUE):
        with pytest.raises(OutOfReach):
            bounded.ask(1)
    slow.let_go.set()
    for thread in [one for _, one in bounded._overdue]:
        thread.join(5)
    assert bounded.ask(7) == 7


def test_those_that_hang_for_ever_do_not_keep_it_away_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    bounded = Bounded(slow, OutOfReach, LIMIT_S)
    for _ in range(MOST_OVERDUE):
        with pytest.raises(OutOfReach):
            bounded.ask(1)
    monkeypatch.setattr(outside, "TRIED_AGAIN_AFTER_S", 0.0)
    with pytest.raises(OutOfReach, match="was not answered"):
        bounded.ask(1)
    assert slow.calls == MOST_OVERDUE + 1
    slow.let_go.set()


@pytest.mark.django_db(transaction=True)
def test_a_call_leaves_no_connection_open() -> None:
    def sessions() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            return int(cursor.fetchone()[0])

    class UsesTheDatabase:
        def ask(self) -> int:
            return sessions()

    before = sessions()
    bounded = Bounded(UsesTheDatabase(), OutOfReach, 5)
    for _ in range(3):
        assert bounded.ask() > before
        until(lambda: sessions() == before, 10, "the call's connection is still open")  # it ends a little later


def test_backends_of_our_own_database_are_asked_directly_and_all_others_within_bounds() -> None:
    assert isinstance(nodes.node_backend(), SimulatedNodeBackend)
    assert isinstance(runtimes.runtime_backend(), SimulatedRuntimeBackend)
    path = "tests.claims.test_provisioning.Machines"
    assert isinstance(nodes._made(path), Bounded)
    assert isinstance(runtimes._made(path), Bounded)


@pytest.mark.parametrize(("said", "kept"), [
    ("plain", "plain"), ("nul\0byte", "nulbyte"), ("half \ud800 pair", "half ? pair"), (ValueError("no"), "no"), ("x" * 9999, "x" * 2000),
])  # fmt: skip
def test_text_that_postgresql_cannot_hold_is_left_out(said: object, kept: str) -> None:
    assert storable_text(said) == kept


@pytest.mark.parametrize(("said", "kept"), [
    (3, 3), (-1, 0), (10**30, 2**31 - 1), (2.9, 2), (float("nan"), 0), (float("inf"), 2**31 - 1), ("7", 0), (None, 0),
])  # fmt: skip
def test_numbers_are_counts(said: object, kept: int) -> None:
    assert storable_count(said) == kept


@pytest.mark.parametrize("said", [None, "2026-01-01", 0, NAIVE, datetime.max.replace(tzinfo=UTC),
                                  datetime.min.replace(tzinfo=UTC)])  # fmt: skip
def test_what_is_no_moment_is_none(said: object) -> None:
    assert storable_time(said) is None


def test_a_moment_is_kept() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert storable_time(at) is at
