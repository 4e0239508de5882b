"""Processes that are really killed (`kill -9`) at a step of a pass: PostgreSQL frees what their session held, and what
comes after is what would have come without."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import OperationalError, connection, transaction

from claims.models import Offering
from tests.cast import Cast
from tests.faults.cuts import Cut
from tests.faults.test_kills import FIRST, Whole, whole, wrong_at_once, wrong_in_the_end
from tests.faults.victim import LIMIT_S
from tests.faults.worlds import WORLDS, World
from tests.stack.stacks import until

pytestmark = [pytest.mark.thorough, pytest.mark.django_db(transaction=True)]

NAME = "victim of the tests"


class Victims:
    """Processes to be killed, one after the other."""

    def __init__(self) -> None:
        self.standing: list[int] = []
        database = connection.settings_dict
        url = f"postgresql://{database['USER']}@/{database['NAME']}?host={quote(str(database['HOST']))}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.victim"], cwd=settings.BASE_DIR, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env={**os.environ, "DATABASE_URL": url, "PGAPPNAME": NAME},
        )  # fmt: skip

    def run(self, loop: str, at: int, how: signal.Signals) -> int:
        """Let one run a pass and send itself the signal at the boundary; its exit code, or its id if it stands still."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{loop} {at} {how.name}\n")
        self.process.stdin.flush()
        answered, _, _ = select.select([self.process.stdout], [], [], 2 * LIMIT_S)
        assert answered, f"nobody says what became of {loop} killed at {at}"
        became = int(self.process.stdout.readline())
        self.standing += [became] if became > 0 else []
        return became

    def end(self) -> None:
        """One that still stands would keep its locks, and whoever wants them, for ever."""
        for one in self.standing:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process.wait(timeout=10)


@pytest.fixture
def victims(of: Offering) -> Iterator[Victims]:
    victims = Victims()
    yield victims
    victims.end()


def sessions() -> list[tuple[int, str]]:
    """Sessions of killed processes that PostgreSQL still has, with what they hold."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT a.pid, string_agg(l.mode, ', ') FROM pg_stat_activity a LEFT JOIN pg_locks l USING (pid) "
            "WHERE a.application_name = %s AND a.datname = current_database() GROUP BY 1",
            [NAME],
        )
        return list(cursor.fetchall())


def what_is_wrong(victims: Victims, world: World, pass_: Whole, cut: Cut) -> list[str]:
    pass_.kept.restore()
    assert victims.run(world.loop, cut.number, signal.SIGKILL) == -9, f"{world} was not killed at {cut}"
    until(lambda: not sessions(), 10, "its session is still there")
    return [f"{world} killed at {cut}: {one}" for one in [*wrong_at_once(), *wrong_in_the_end(pass_)]]


@pytest.mark.parametrize("world", FIRST.values(), ids=str)
def test_w4_a_worker_that_is_killed_is_made_up_for(cast: Cast, of: Offering, victims: Victims, world: World) -> None:
    pass_ = whole(world, cast, of)
    chosen = {cut.step: cut for cut in pass_.moves or pass_.cuts}.values()
    assert [wrong for cut in chosen for wrong in what_is_wrong(victims, world, pass_, cut)] == []


@pytest.mark.long
@pytest.mark.parametrize("world", WORLDS, ids=str)
def test_w4_a_worker_killed_before_any_change_is_made_up_for(
    cast: Cast, of: Offering, victims: Victims, world: World
) -> None:
    pass_ = whole(world, cast, of)
    assert [wrong for cut in pass_.cuts for wrong in what_is_wrong(victims, world, pass_, cut)] == []


def test_w4_what_a_worker_holds_is_free_once_it_is_killed(cast: Cast, of: Offering, victims: Victims) -> None:
    pass_ = whole(FIRST["fulfil"], cast, of)
    (held,) = pass_.moves
    pass_.kept.restore()
    assert victims.run("fulfil", 10**6, signal.SIGKILL) == 0, "the pass ends before that"
    pass_.kept.restore()
    stands_still = victims.run("fulfil", held.number, signal.SIGSTOP)
    with pytest.raises(OperationalError, match="could not obtain lock"):
        offerings_are_free()
    os.kill(stands_still, signal.SIGKILL)
    until(lambda: not sessions(), 10)
    offerings_are_free()


def offerings_are_free() -> None:
    with transaction.atomic():
        list(Offering.objects.select_for_update(nowait=True))
