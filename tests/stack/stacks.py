"""A whole stack under test: its own state folder (with a space in the name) and port, its output line by line."""

import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.running import children_of, free_port
from console.stack import postgres
from console.stack.processes import end
from console.stack.state import prepare
from console.stack.valkey import Valkey

ROOT = Path(__file__).resolve().parent.parent.parent
SLOW = {
    "meter",
    "roll-up",
    "quota-notices",
    "budget-notices",
    "shortage-notices",
    "objectives",
}  # once a minute, or less often
# The program that each part of the stack runs, to find its process by.
PARTS = {
    "postgres": "bin/postgres -D",
    "valkey": "valkey-server",
    "web": "headroom: web",
    "control": "control@headroom",
    "io": "io@headroom",
    "bulk": "bulk@headroom",
}


def until(condition: Callable[[], object], within_s: float = 60.0, what: str = "") -> float:
    """Seconds until `condition` holds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s, what or "did not happen in time"
        time.sleep(0.05)
    return time.monotonic() - began


def environment(state: Path, port: int, **settings: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in
                 ("DATABASE_URL", "CELERY_BROKER_URL", "HEADROOM_SECRET_KEY")}  # fmt: skip
    return {**inherited, "HEADROOM_STATE_DIR": str(state), "HEADROOM_PORT": str(port), "DEMO": "1",
            "HEADROOM_DEMO_HISTORY": "1", **settings}  # fmt: skip


class Stack:
    def __init__(self, state: Path) -> None:
        self.state, self.port = state, free_port()
        self.lines: list[str] = []

    def start(self, **settings: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "stack"],
            env=environment(self.state, self.port, **settings),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/",
        )  # fmt: skip
        self.lines = []
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            self.lines.extend(iter(output.readline, ""))

    def said(self, words: str) -> bool:
        return any(words in line for line in self.lines)

    def wait_until_ready(self) -> None:
        until(lambda: self.said("Headroom is ready at") or self.process.poll() is not None, 180, "not ready in time")
        assert self.process.poll() is None, "the stack ended:\n" + "".join(self.lines[-20:])
        until(lambda: "bulk" in self.pids(), 30, "the last part did not start")  # it is begun once the stack is ready

    def complete(self) -> bool:
        """Whether every part is alive and the console answers."""
        return set(self.pids()) == set(PARTS) and self.get("/readyz")[0] == 200

    def pids(self) -> dict[str, int]:
        """The process of each part that is alive."""
        found = {}
        for pid in children_of(self.process.pid)[1:]:
            with suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.update({name: pid for name, words in PARTS.items() if words in command})
        return found

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; status 0 when nothing answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        return 0, ""

    def passes(self) -> dict[str, float]:
        """Complete passes of each loop, as Prometheus would read them."""
        found = re.findall(r'^headroom_loop_passes_total\{loop="([^"]+)"\} (\S+)$', self.get("/metrics")[1], re.M)
        return {name: float(count) for name, count in found}

    def loops_move(self) -> bool:
        """Whether every loop of five seconds or less completes a pass from now on."""
        before = {name: count for name, count in self.passes().items() if name not in SLOW}
        until(lambda: all(self.passes().get(name, 0) > count for name, count in before.items()), 60, "a loop stands")
        return bool(before)

    def manage(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self._python(str(ROOT / "manage.py"), *arguments)

    def module(self, name: str, *arguments: str) -> str:
        """What a module of the tests says, run with the settings of this stack."""
        own = {"DATABASE_URL": postgres.address(self.state / "run"), "DJANGO_SETTINGS_MODULE": "console.settings"}
        done = self._python("-m", name, *arguments, **own)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _python(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([sys.executable, *arguments], env=environment(self.state, self.port, **settings), cwd=ROOT,
                              capture_output=True, text=True, timeout=120, check=False)  # fmt: skip

    def stop(self, how: signal.Signals = signal.SIGINT) -> float:
        """Seconds from the signal to the end."""
        self.process.send_signal(how)
        began = time.monotonic()
        self.process.wait(timeout=20)
        return time.monotonic() - began


@contextmanager
def state_folder() -> Iterator[Path]:
    """A short name, for the sake of the sockets in it, that others may pass through."""
    with tempfile.TemporaryDirectory(prefix="hr ") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder) / "state"


@contextmanager
def running_stack(**settings: str) -> Iterator[Stack]:
    with state_folder() as state:
        stack = Stack(state)
        stack.start(**settings)
        try:
            stack.wait_until_ready()
            yield stack
        finally:
            if stack.process.poll() is None:
                stack.stop(signal.SIGTERM)


@contextmanager
def running_broker() -> Iterator[tuple[Valkey, subprocess.Popen[bytes]]]:
    with state_folder() as folder:
        prepare(folder)
        server = Valkey(folder)
        process = server.start(subprocess.DEVNULL)
        try:
            until(server.answers, 20, "the broker did not start")
            yield server, process
        finally:
            end(process, signal.SIGTERM, 5)
