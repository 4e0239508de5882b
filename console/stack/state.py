"""The state folder: made with the right rights, locked by one supervisor, holding the secrets made once."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from console.common.files import write_secret


class StateError(RuntimeError):
    """The state folder cannot be used; the text says why and what to do."""


def prepare(folder: Path) -> None:
    """Make the folder. As root others may pass through it, since PostgreSQL runs as another account."""
    mode = 0o755 if os.geteuid() == 0 else 0o700
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True)
            folder.chmod(mode)  # whatever the umask is
    except OSError as error:
        raise StateError(
            f"The state folder {folder} cannot be made ({error.strerror}): set HEADROOM_STATE_DIR."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StateError(f"The state folder {folder} is not writable for this user: set HEADROOM_STATE_DIR.")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; released by the kernel when it ends, however it ends."""
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise StateError(
                f"A stack (process {holder}) already runs with the state folder {folder}. Stop it, or set "
                "HEADROOM_STATE_DIR and HEADROOM_PORT to run a second one."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def secret_key(folder: Path) -> str:
    """The key that signs sessions, made once."""
    path = folder / "secret-key"
    if not path.exists():
        write_secret(path, secrets.token_urlsafe(50))
    return path.read_text().strip()
