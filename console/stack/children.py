"""A part of the stack that is started again when it ends, later the more often it fell."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from console.stack.processes import Running

FIRST_BACKOFF_S, LONGEST_BACKOFF_S, STEADY_AFTER_S = 0.5, 30.0, 60.0


@dataclass
class Child:
    name: str
    start: Callable[[], Running]
    how: signal.Signals = signal.SIGTERM
    process: Running | None = None
    started_at: float = 0.0
    backoff_s: float = FIRST_BACKOFF_S
    again_at: float = 0.0

    def run(self) -> None:
        self.process = self.start()
        self.started_at = time.monotonic()

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ended(self) -> bool:
        """Whether it ended and no restart is planned yet."""
        return self.process is not None and self.process.poll() is not None

    def due(self, now: float) -> bool:
        """Whether a planned restart is due."""
        return self.process is None and now >= self.again_at

    def plan_restart(self, now: float) -> float:
        """Note when to start again, in seconds from now: soon where it ran steadily, else twice the last wait."""
        wait = FIRST_BACKOFF_S if now - self.started_at > STEADY_AFTER_S else self.backoff_s
        self.backoff_s = min(2 * wait, LONGEST_BACKOFF_S)
        self.again_at = now + wait
        self.process = None
        return wait


def end_all(children: Sequence[Child], until: float, meanwhile: Callable[[], None]) -> None:
    """Ask all of them to end; what has not by the monotonic time `until` is killed."""
    for child in children:
        if child.process is not None and child.alive():
            child.process.send_signal(child.how)
    while time.monotonic() < until and any(child.alive() for child in children):
        meanwhile()
    for child in children:
        if child.process is not None and child.alive():
            child.process.kill()
            child.process.wait()
