"""A stack of its own for a bench: own state folder and port, started as `make run` starts it, ended afterwards."""

import http.client
import http.cookiejar
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_WITHIN_S = 120
# A stack of its own: embedded database and broker, whatever surrounds it uses.
NOT_INHERITED = {"DATABASE_URL", "CELERY_BROKER_URL", "HEADROOM_SECRET_KEY"}


@dataclass
class Stack:
    process: subprocess.Popen[bytes]
    state: Path
    port: int
    seconds_to_page: float
    seconds_to_ready: float
    jar: http.cookiejar.CookieJar = field(default_factory=http.cookiejar.CookieJar)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, module: str, *arguments: object) -> str:
        """The last line that a module of the bench says in the environment of the stack, whose loops run meanwhile."""
        return run_module(module, *arguments, environment=own_environment(self.state, HEADROOM_PORT=str(self.port)))

    def sign_in(self, user: str = "operator") -> urllib.request.OpenerDirector:
        """An opener whose cookies belong to the signed-in `user`."""
        return sign_in(self.url, self.state, user, self.jar)


def sign_in(url: str, state: Path, user: str, jar: http.cookiejar.CookieJar) -> urllib.request.OpenerDirector:
    """An opener whose cookies belong to the signed-in `user` of a demo."""
    words = [line.split() for line in (state / "sign-ins").read_text().splitlines()]
    password = next(word[1] for word in words if word and word[0] == user)
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    page = opener.open(f"{url}/accounts/sign-in", timeout=30).read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token is not None, "the sign-in page has no form"
    form = {"username": user, "password": password, "csrfmiddlewaretoken": token[1]}
    answer = opener.open(f"{url}/accounts/sign-in", urllib.parse.urlencode(form).encode(), timeout=30)
    assert answer.status == 200, answer.status
    assert "sign-in" not in answer.url, "the sign-in was refused"
    return opener


def own_environment(state: Path, **settings: str) -> dict[str, str]:
    """Of an installation of its own in the folder `state`."""
    kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    return kept | {"HEADROOM_STATE_DIR": str(state), **settings}


def run_module(module: str, *arguments: object, environment: Mapping[str, str] | None = None) -> str:
    """The last line that a module of the bench says in a process of its own."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    told = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return (told.stdout.splitlines() or [""])[-1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        return connection.getresponse().status == 200
    return False


def wait_for(process: subprocess.Popen[bytes], port: int, path: str) -> float:
    """Seconds until `path` answers 200; a stack that ends or takes too long is an error."""
    began = time.perf_counter()
    while time.perf_counter() - began < START_WITHIN_S:
        if answers(port, path):
            return time.perf_counter() - began
        if process.poll() is not None:
            raise RuntimeError(f"the stack ended with {process.returncode} before {path} answered")
        time.sleep(0.05)
    raise TimeoutError(f"{path} did not answer within {START_WITHIN_S} s")


@contextmanager
def running_stack(**settings: str) -> Iterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="hr-bench-") as folder:
        os.chmod(folder, 0o755)  # the account that runs PostgreSQL has to pass through
        state, port = Path(folder) / "state", free_port()
        environment = own_environment(state, HEADROOM_PORT=str(port)) | settings
        command = [sys.executable, "manage.py", "stack"]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
            try:
                page = wait_for(process, port, "/accounts/sign-in")
                ready = page + wait_for(process, port, "/readyz")
                yield Stack(process, state, port, page, ready)
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=30)


def children_of(pid: int) -> list[int]:
    """All processes below `pid`, itself included."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found, todo = [pid], [pid]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found


def pss_mb(pid: int) -> float:
    """Proportional set size of a process tree in MB: shared pages are counted once."""
    total = 0
    for one in children_of(pid):
        with suppress(OSError):
            match = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{one}/smaps_rollup").read_text(), re.MULTILINE)
            total += int(match[1]) if match else 0
    return total / 1024
