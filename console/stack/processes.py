"""Starting children that end with their parent and never see the terminal's Ctrl-C: other programs, and forks."""

import ctypes
import multiprocessing
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Protocol

from setproctitle import setproctitle

PR_SET_PDEATHSIG = 1
INHERITED = 3  # descriptors that a fork keeps: input and both outputs
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None


def end_with(parent: int, niceness: int = 0) -> None:
    """In the child: ask the kernel to kill it when the thread that started it ends.

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


class Running(Protocol):
    """What a supervisor needs of a child, be it a program or a fork."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...
    def wait(self) -> int | None: ...


class Forked:
    """A fork of this process that runs `main` and ends."""

    def __init__(self, main: Callable[[], None], *, name: str, output: int, niceness: int = 0) -> None:
        become = partial(_become, main, name, os.getpid(), output, niceness)
        self.process = multiprocessing.get_context("fork").Process(target=become, name=name)
        self.process.start()
        assert self.process.pid is not None
        self.pid = self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, sig: int) -> None:
        if self.process.is_alive():
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self) -> int | None:
        self.process.join()
        return self.process.exitcode


def _become(main: Callable[[], None], name: str, parent: int, output: int, niceness: int) -> None:
    """In the fork: a session, outputs and a title of its own, and none of the parent's descriptors and handlers."""
    for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(which, signal.SIG_DFL)
    os.setsid()
    end_with(parent, niceness)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # Replaced, not closed: objects that the fork took over from its parent close their numbers when they are collected,
    # and these would be other files by then. Not up to the limit, which may be a billion or none.
    for descriptor in map(int, os.listdir("/dev/fd")):
        if descriptor >= INHERITED and descriptor != nothing:
            os.dup2(nothing, descriptor, inheritable=False)
    os.chdir("/")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    setproctitle(f"headroom: {name}")
    main()


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
