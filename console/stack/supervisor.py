"""The one-command stack: starts its parts in order, keeps them running, and takes them down in reverse.

Only the supervisor sees Ctrl-C: every child has a session of its own and dies with the supervisor (see `processes`).
"""

import http.client
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg
from django.conf import settings as django_settings

from console.stack import parts, state
from console.stack.children import Child, end_all
from console.stack.logs import Logs
from console.stack.postgres import Postgres
from console.stack.preload import preload
from console.stack.processes import Forked
from console.stack.valkey import Valkey

ANSWER_WITHIN_S = 30.0
# From the signal to the end: web and workers, then the broker, then the database; the rest is killed.
WORKERS_STOP_S, BROKER_STOP_S, DATABASE_STOP_S = 2.5, 3.2, 4.8
# Whoever waits for a page goes before the loops, and both go before hours of computing.
LOOPS_NICENESS, BULK_NICENESS = 5, 10
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


@dataclass(frozen=True)
class StackSettings:
    """What `manage.py stack` hands down. An empty `database_url` or `broker_url` means: embedded."""

    folder: Path
    bind: str
    port: int
    host: str  # a Host header that the web process accepts
    database_url: str
    broker_url: str
    demo: bool
    web_processes: int = 1


class Supervisor:
    """Owns the state folder and the processes of one stack. `run` returns when it was asked to stop."""

    def __init__(self, settings: StackSettings) -> None:
        self.settings = settings
        self.database_url, self.broker_url = settings.database_url, settings.broker_url
        self.children: list[Child] = []
        self.logs = Logs()
        self.stopping = False
        self.announced = False
        self.next_probe = 0.0

    @property
    def address(self) -> str:
        bind = self.settings.bind
        return f"http://{f'[{bind}]' if ':' in bind else bind}:{self.settings.port}"

    def run(self) -> None:
        self._refuse_busy_port()
        state.prepare(self.settings.folder)
        with state.locked(self.settings.folder):
            for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(which, self._ask_to_stop)
            try:
                for step in (self._start_services, self._prepare, self._start_console):
                    if not self.stopping:
                        step()
                while not self.stopping:
                    self._turn(0.2)
                    self._announce_once_ready()
            finally:
                self._stop()

    def say(self, text: str) -> None:
        self.logs.say("stack", text)

    def _ask_to_stop(self, number: int, frame: object) -> None:
        self.stopping = True

    def _refuse_busy_port(self) -> None:
        bind, port = self.settings.bind, self.settings.port
        with parts.unbound(bind) as probe:
            try:
                probe.bind((bind, port))
            except OSError as error:
                raise StackError(
                    f"Port {port} on {bind} cannot be used ({error.strerror}): set HEADROOM_PORT to another."
                ) from None

    # --- start ---------------------------------------------------------------------------------------
    def _start_services(self) -> None:
        if not os.environ.get("HEADROOM_SECRET_KEY"):
            django_settings.SECRET_KEY = state.secret_key(self.settings.folder)
        answers: dict[str, Callable[[], bool]] = {}
        with ThreadPoolExecutor(1) as aside:  # the cluster of a first start is made while the parts are imported
            made = None if self.settings.database_url else aside.submit(self._postgres)
            preload()
        if made is not None:
            postgres = made.result()
            self._run(Child("postgres", lambda: postgres.start(self.logs.pipe("postgres")), signal.SIGINT))
            answers["PostgreSQL"], self.database_url = postgres.answers, postgres.url
        if not self.settings.broker_url:
            valkey = Valkey(self.settings.folder)
            self._run(Child("valkey", lambda: valkey.start(self.logs.pipe("valkey"))))
            answers["Valkey"], self.broker_url = valkey.answers, valkey.url
        for name, answering in answers.items():
            self._wait_for(name, answering)

    def _postgres(self) -> Postgres:
        postgres = Postgres(self.settings.folder, POSTGRES_SETTINGS)
        postgres.prepare()
        return postgres

    def _wait_for(self, name: str, answering: Callable[[], bool]) -> None:
        """Until it answers. It is started again meanwhile: after a kill -9 old shared memory may be in the way."""
        until = time.monotonic() + ANSWER_WITHIN_S
        while not self.stopping and not answering():
            if time.monotonic() > until:
                raise StackError(f"{name} did not answer within {ANSWER_WITHIN_S:g} s; see the lines above.")
            self._turn(0.02)

    def _prepare(self) -> None:
        """Tables with the demo, and static files beside them."""
        children = [self._part("tables", partial(parts.tables, self.settings.demo)),
                    self._part("static", parts.static_files)]  # fmt: skip
        for child in children:
            child.run()
        while any(child.alive() for child in children) and not self.stopping:
            self._turn(0.02)
        if self.stopping:
            end_all(children, time.monotonic() + 1, lambda: self.logs.forward(0.05))
        elif failed := [child.name for child in children if child.process is not None and child.process.returncode]:
            self.logs.forward(0)
            raise StackError(f"The stack could not be prepared ({', '.join(failed)}); see the lines above.")

    def _start_console(self) -> None:
        for name in ("web", *(f"web-{number}" for number in range(2, self.settings.web_processes + 1))):
            self._run(self._part(name, partial(parts.web, self.settings.bind, self.settings.port)))
        self._run(self._part("control", partial(parts.worker, "control", threads=2, beat=True), LOOPS_NICENESS))
        self._run(self._part("io", partial(parts.worker, "io", threads=3), LOOPS_NICENESS))

    def _bulk(self) -> Child:
        """Hours of computing: in a process of its own that gives way to all others, so that it delays no tick. Two threads:
        a backtest that somebody waits for begins beside a history or a choice."""
        return self._part("bulk", partial(parts.worker, "bulk", threads=2), BULK_NICENESS)

    def _part(self, name: str, main: Callable[[], None], niceness: int = 0) -> Child:
        return Child(name, lambda: Forked(main, name=name, output=self.logs.pipe(name), niceness=niceness))

    def _run(self, child: Child) -> None:
        self.children.append(child)
        child.run()

    # --- keep running --------------------------------------------------------------------------------
    def _turn(self, wait_s: float) -> None:
        """Print what came, and start again what ended."""
        self.logs.forward(wait_s)
        now = time.monotonic()
        for child in self.children if not self.stopping else ():
            if child.ended() and child.process is not None:
                code = child.process.returncode
                self.say(f"{child.name} ended ({code}); starting it again in {child.plan_restart(now):.1f} s")
            elif child.due(now):
                child.run()

    def _announce_once_ready(self) -> None:
        now = time.monotonic()
        if self.announced or now < self.next_probe:
            return
        self.next_probe = now + 0.5
        if self._ready() and self._loops_have_run():
            self.announced = True
            self._run(self._bulk())  # only now: what it does can wait, a first page cannot
            self.say(f"Headroom is ready at {self.address}")
            self._say_sign_ins()

    def _say_sign_ins(self) -> None:
        kept = self.settings.folder / "sign-ins"
        if self.settings.demo and kept.exists():
            for line in kept.read_text().splitlines():
                user, password, *role = line.split(maxsplit=2)
                self.say(f"  sign in as {user} with {password}" + (f"  ({role[0]})" if role else ""))

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection(self.settings.bind, self.settings.port, timeout=2)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/readyz", headers={"Host": self.settings.host})
            return connection.getresponse().status == 200
        return False

    def _loops_have_run(self) -> bool:
        with suppress(psycopg.Error), psycopg.connect(self.database_url, connect_timeout=2) as connection:
            rows: list[tuple[str, int]] = connection.execute("SELECT name, passes FROM loops_loop").fetchall()
            passes = dict(rows)
            return all(passes.get(name, 0) > 0 for name in PERIODIC) and all(passes.values())
        return False

    # --- stop ----------------------------------------------------------------------------------------
    def _stop(self) -> None:
        """Web and workers together, then broker, then database: all within five seconds."""
        self.stopping = True
        began = time.monotonic()
        services = [child for child in self.children if child.name in ("postgres", "valkey")]
        console = [child for child in self.children if child not in services]
        end_all(console, began + WORKERS_STOP_S, lambda: self.logs.forward(0.02))
        for child in reversed(services):
            within_s = DATABASE_STOP_S if child.name == "postgres" else BROKER_STOP_S
            end_all([child], began + within_s, lambda: self.logs.forward(0.02))
        self.logs.forward(0)
        if self.announced:
            self.say("stopped; start it again and everything goes on where it was")
