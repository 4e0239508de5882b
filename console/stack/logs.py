"""What the parts of the stack write: whole lines, each behind the name of its writer."""

import os
import select
import sys
from contextlib import suppress

COLOURS = {"stack": 1, "postgres": 34, "valkey": 35, "tables": 36, "web": 32, "control": 33, "io": 36}
PIECE = 65536
# What parts say about an ordinary start and stop. (The broker keeps a few messages and never saves in the background.)
ORDINARY = (
    "Memory overcommit must be enabled",
    "the database system is starting up",
    "worker: Warm shutdown",
    "scheduling shutdown",
    "ready to exit, bye",
)


class Logs:
    """Pipes from the children, printed by the supervisor's own thread while it waits (`forward`)."""

    def __init__(self) -> None:
        self.coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.pipes: dict[int, tuple[str, bytes]] = {}
        self.given_away: list[int] = []

    def say(self, name: str, text: str) -> None:
        head = f"{name:<8} |"
        if self.coloured:
            head = f"\033[{COLOURS.get(name, 0)}m{head}\033[0m"
        with suppress(OSError):  # the terminal or the reader of a pipe may be gone; the stack goes on
            print(head, text, flush=True)

    def pipe(self, name: str) -> int:
        """The writing end for a child; it is closed here once the child has it (see `forward`)."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        self.pipes[reading] = (name, b"")
        self.given_away.append(writing)
        return writing

    def forward(self, wait_s: float) -> None:
        """Print what the children wrote, waiting at most `wait_s` when there is nothing."""
        while self.given_away:
            os.close(self.given_away.pop())
        for descriptor in select.select(list(self.pipes), [], [], wait_s)[0]:
            self._read(descriptor)

    def _read(self, descriptor: int) -> None:
        name, rest = self.pipes[descriptor]
        with suppress(BlockingIOError):
            data = os.read(descriptor, PIECE)
            *lines, rest = (rest + data).split(b"\n")
            if data:
                self.pipes[descriptor] = (name, rest)
            else:
                lines += [rest] if rest else []
                os.close(descriptor)
                del self.pipes[descriptor]
            for line in lines:
                self._pass_on(name, line.decode(errors="replace"))

    def _pass_on(self, name: str, line: str) -> None:
        if line.strip() and not any(words in line for words in ORDINARY):
            self.say(name, line)
