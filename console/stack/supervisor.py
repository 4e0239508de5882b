"""The one-command stack: starts its parts in order, keeps them running, and takes them down in reverse.

Only the supervisor sees Ctrl-C: every child has a session of its own and dies with the supervisor (see `processes`).
"""

import http.client
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from console.stack import state
from console.stack.beat import WANTED as BEAT
from console.stack.postgres import Postgres
from console.stack.processes import end, spawn
from console.stack.valkey import Valkey

ROOT = Path(__file__).resolve().parent.parent.parent
FIRST_BACKOFF_S, LONGEST_BACKOFF_S, STEADY_AFTER_S = 0.5, 30.0, 60.0
STOP_WITHIN_S = {"web": 3.0, "control": 2.0, "io": 2.0}
PERIODIC = ("fulfil", "provision", "meter", "actuate", "roll-up")
POSTGRES_SETTINGS = {
    "shared_buffers": "48MB",
    "max_connections": "60",
    "max_wal_size": "1GB",
    "jit": "off",
    "logging_collector": "off",
    "log_min_messages": "fatal",
}


class StackError(RuntimeError):
    """The stack cannot start; the text says why and what to do."""


@dataclass
class Child:
    """One part of the stack that is started again when it ends."""

    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    how: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    backoff_s: float = FIRST_BACKOFF_S
    again_at: float = field(default=0.0)

    def run(self) -> None:
        self.process = self.start()
        self.started_at = time.monotonic()

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def plan_restart(self, now: float) -> float:
        """Note when to start again: sooner where it ran steadily, later the more often it fell."""
        steady = now - self.started_at > STEADY_AFTER_S
        wait = FIRST_BACKOFF_S if steady else self.backoff_s
        self.backoff_s = min(2 * wait, LONGEST_BACKOFF_S)
        self.again_at = now + wait
        self.process = None
        return wait


class Supervisor:
    """Owns the state folder and the processes of one stack. `run` returns when it was asked to stop."""

    def __init__(self, *, folder: Path, bind: str, port: int, database_url: str, broker_url: str, demo: bool) -> None:
        self.folder, self.bind, self.port, self.demo = folder, bind, port, demo
        self.given_database, self.given_broker = database_url, broker_url
        self.children: list[Child] = []
        self.pipes: dict[int, tuple[str, bytes]] = {}
        self.given_away: list[int] = []
        self.stopping = False
        self.announced = False
        self.next_probe = 0.0

    def run(self) -> None:
        self._refuse_busy_port()
        state.prepare(self.folder)
        with state.locked(self.folder):
            for which in (signal.SIGINT, signal.SIGTERM):
                signal.signal(which, self._ask_to_stop)
            try:
                self._start_all()
                while not self.stopping:
                    self._turn()
            finally:
                self._stop_all()

    def _ask_to_stop(self, number: int, frame: object) -> None:
        self.stopping = True

    def _refuse_busy_port(self) -> None:
        family = socket.AF_INET6 if ":" in self.bind else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.bind, self.port))
            except OSError as error:
                raise StackError(
                    f"Port {self.port} on {self.bind} cannot be used ({error.strerror}): set HEADROOM_PORT to another."
                ) from None

    # --- start ---------------------------------------------------------------------------------------
    def _start_all(self) -> None:
        began = time.monotonic()
        self.environment = {**os.environ, "HEADROOM_STATE_DIR": str(self.folder), "PYTHONUNBUFFERED": "1",
                            "DJANGO_SETTINGS_MODULE": "console.settings", "PYTHONPATH": str(ROOT),
                            # Root only starts them here; nothing they take in is unpickled or run.
                            "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
                            "DEMO": str(int(self.demo))}  # fmt: skip
        if not os.environ.get("HEADROOM_SECRET_KEY"):
            state.secret_key(self.folder)
        self._start_services()
        self._prepare()
        for child in self._python_children():
            if self.stopping:
                return
            self.children.append(child)
            child.run()
        self.say(f"all parts started after {time.monotonic() - began:.1f} s")

    def _start_services(self) -> None:
        waits: list[Callable[[], None]] = []
        self.database_url, self.broker_url = self.given_database, self.given_broker
        if not self.given_database:
            postgres = Postgres(self.folder, POSTGRES_SETTINGS)
            postgres.prepare()
            self._add("postgres", lambda: postgres.start(self._pipe("postgres")), signal.SIGINT)
            waits.append(postgres.wait)
            self.database_url = postgres.url
        if not self.given_broker:
            valkey = Valkey(self.folder)
            self._add("valkey", lambda: valkey.start(self._pipe("valkey")))
            waits.append(valkey.wait)
            self.broker_url = valkey.url
        for wait in waits:
            wait()
        self.environment |= {"DATABASE_URL": self.database_url, "CELERY_BROKER_URL": self.broker_url}

    def _add(
        self, name: str, start: Callable[[], subprocess.Popen[bytes]], how: signal.Signals = signal.SIGTERM
    ) -> None:
        child = Child(name, start, how)
        self.children.append(child)
        child.run()

    def _prepare(self) -> None:
        """Migrations, static files and the demo, in one child, so that this process stays small."""
        process = self._python("prepare", "manage.py", "stack_prepare")
        while process.poll() is None and not self.stopping:
            self._forward(0.1)
        self._forward(0)
        if self.stopping:
            end(process, signal.SIGTERM, 2)
        elif process.returncode:
            raise StackError("The database could not be prepared; see the lines above.")

    def _python_children(self) -> list[Child]:
        def uvicorn() -> subprocess.Popen[bytes]:
            return self._python("web", "-m", "uvicorn", "console.asgi:application", "--host", self.bind,
                                "--port", str(self.port), "--lifespan", "off", "--no-access-log",
                                "--log-level", "warning", "--timeout-graceful-shutdown", "3",
                                HEADROOM_WEB="1")  # fmt: skip

        # Threads: the work is waiting for PostgreSQL, one process a worker keeps memory low, and nothing is left
        # behind when a worker is killed.
        def worker(name: str, queues: str, threads: int, **extra: str) -> subprocess.Popen[bytes]:
            return self._python(name, "-m", "celery", "-q", "-A", "console", "worker", "-Q", queues, "-n", f"{name}@headroom",
                                "--pool", "threads", "--concurrency", str(threads), "--loglevel", "WARNING",
                                "--without-gossip", "--without-mingle", "--without-heartbeat", **extra)  # fmt: skip

        return [
            Child("web", uvicorn),
            Child("control", lambda: worker("control", "control", 2, **{BEAT: "1"})),
            Child("io", lambda: worker("io", "io,bulk", 3)),
        ]

    def _python(self, name: str, *arguments: str, **extra: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, *(str(ROOT / one) if one == "manage.py" else one for one in arguments)]
        return spawn(command, environment={**self.environment, **extra}, output=self._pipe(name))

    # --- keep running --------------------------------------------------------------------------------
    def _turn(self) -> None:
        self._forward(0.2)
        now = time.monotonic()
        for child in self.children:
            if child.ended() and child.process is not None:
                code = child.process.returncode
                self.say(f"{child.name} ended ({code}); starting it again in {child.plan_restart(now):.1f} s")
            elif child.process is None and now >= child.again_at and not self.stopping:
                child.run()
        if not self.announced and now >= self.next_probe:
            self.next_probe = now + 0.5
            self._announce_when_ready()

    def _announce_when_ready(self) -> None:
        if self._answers("/readyz") and self._loops_have_run():
            self.announced = True
            self.say(f"Headroom is ready at http://{self.bind}:{self.port}")
            sign_ins = self.folder / "sign-ins"
            if self.demo and sign_ins.exists():
                for line in sign_ins.read_text().splitlines():
                    user, password, *role = line.split(maxsplit=2)
                    self.say(f"  sign in as {user} with {password}" + (f"  ({role[0]})" if role else ""))

    def _answers(self, path: str) -> bool:
        connection = http.client.HTTPConnection(self.bind, self.port, timeout=2)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", path, headers={"Host": "localhost"})
            return connection.getresponse().status == 200
        return False

    def _loops_have_run(self) -> bool:
        with suppress(psycopg.Error), psycopg.connect(self.database_url, connect_timeout=2) as connection:
            rows: list[tuple[str, int]] = connection.execute("SELECT name, passes FROM loops_loop").fetchall()
            passes = dict(rows)
            return all(passes.get(name, 0) > 0 for name in PERIODIC) and all(passes.values())
        return False

    # --- output --------------------------------------------------------------------------------------
    def say(self, text: str) -> None:
        self._print("stack", text)

    def _print(self, name: str, text: str) -> None:
        print(f"{name:<8} | {text}", flush=True)

    def _pipe(self, name: str) -> int:
        """The writing end for a child; it is closed here once the child has it (see `_forward`)."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        self.pipes[reading] = (name, b"")
        self.given_away.append(writing)
        return writing

    def _forward(self, wait_s: float) -> None:
        """Print whole lines that the children wrote, for at most `wait_s` while there is nothing."""
        while self.given_away:
            os.close(self.given_away.pop())
        with suppress(InterruptedError):
            for descriptor in select.select(list(self.pipes), [], [], wait_s)[0]:
                self._read(descriptor)

    def _read(self, descriptor: int) -> None:
        name, rest = self.pipes[descriptor]
        with suppress(BlockingIOError):
            data = os.read(descriptor, 65536)
            if not data:
                os.close(descriptor)
                del self.pipes[descriptor]
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._print(name, line.decode(errors="replace"))
            if data:
                self.pipes[descriptor] = (name, rest)

    # --- stop ----------------------------------------------------------------------------------------
    def _stop_all(self) -> None:
        """Web and workers together, then broker and database: all within five seconds."""
        services = [child for child in self.children if child.name in ("postgres", "valkey")]
        others = [child for child in self.children if child not in services]
        for child in others:
            if child.process is not None and child.process.poll() is None:
                child.process.send_signal(child.how)
        until = time.monotonic() + 2.5
        while time.monotonic() < until and any(one.process and one.process.poll() is None for one in others):
            self._forward(0.05)
        for child in others:
            if child.process is not None:
                end(child.process, signal.SIGKILL, 1)
        for child in reversed(services):
            if child.process is not None:
                end(child.process, child.how, 1.8)
        self._forward(0)
        if self.announced:
            self.say("stopped; start it again and everything goes on where it was")
