"""A process that runs a pass and kills itself at a boundary of it: `kill -9`, with a session of its own.

`python -m tests.faults.victim` reads lines `LOOP NUMBER SIGNAL` and answers each with what became of a fork that ran the
loop and sent itself the signal there: -9 when it was killed, 0 when the pass ended before, its process id when it
stands still (SIGSTOP), -14 when it was not over in time. Forking from a process that has no connection and everything
imported makes a kill cost milliseconds.
"""

import os
import signal
import sys

import django

django.setup()

from django.db import connection  # noqa: E402 - needs Django

from tests.clockwork import follow  # noqa: E402 - as above
from tests.faults.cuts import Boundaries  # noqa: E402 - as above
from tests.faults.life import LOOPS  # noqa: E402 - as above

LIMIT_S = 60  # for a pass that takes milliseconds


def run(loop: str, at: int, how: signal.Signals) -> None:
    signal.alarm(LIMIT_S)
    connection.ensure_connection()  # what that asks is no part of the pass
    with Boundaries(at, end=lambda: os.kill(os.getpid(), how)).installed():
        LOOPS[loop]()


def main() -> None:
    follow()
    for line in sys.stdin:
        loop, at, how = line.split()
        if (child := os.fork()) == 0:
            run(loop, int(at), signal.Signals[how])
            os._exit(0)
        _, status = os.waitpid(child, os.WUNTRACED)
        print(child if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
