"""Starting children that end with their parent and never see the terminal's Ctrl-C."""

import ctypes
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None


def end_with(parent: int, niceness: int = 0) -> None:
    """In the child, before exec: ask the kernel to kill it when the thread that started it ends.

    So children are started from the main thread only. It survives a change of user.
    """
    if niceness:
        give_way(niceness)
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the kernel was asked
            os._exit(1)


def give_way(niceness: int) -> None:
    """Take processor time that nobody else wants. Where the kernel groups processes by session, niceness counts within
    the group only, and the group has one of its own."""
    os.nice(niceness)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(niceness))


def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    account: str | None = None,
    output: int | IO[bytes] | None = subprocess.PIPE,
    niceness: int = 0,
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, as `account` when given, both outputs to `output`; `niceness` is 0 to 19."""
    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(environment if environment is not None else os.environ),
        start_new_session=True,
        preexec_fn=partial(end_with, os.getpid(), niceness),
        user=account,
        group=pwd.getpwnam(account).pw_gid if account else None,
        extra_groups=[] if account else None,
        cwd="/",
    )


def end(process: subprocess.Popen[bytes], how: signal.Signals, within_s: float) -> None:
    """Ask the process to end; make it end when it does not in time."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(timeout=within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
