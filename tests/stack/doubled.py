"""Passes of a running stack doubled, side by side, past the loop table: `python -m tests.stack.doubled SECONDS`.

Says what went wrong, in a line each.
"""

import sys
import threading
import time
from collections.abc import Callable

import django

django.setup()

from django.db import connection  # noqa: E402 - needs Django

from claims import metering, provisioning  # noqa: E402 - as above
from claims.services import fulfilment  # noqa: E402 - as above
from console.common import clock  # noqa: E402 - as above
from deployments.loop.actuate import actuate_pass  # noqa: E402 - as above
from deployments.loop.rollup import roll_up  # noqa: E402 - as above
from deployments.loop.tick import shard_tick, shards  # noqa: E402 - as above


def scale() -> None:
    for shard in shards():
        shard_tick(shard, clock.now())


PASSES: dict[str, Callable[[], object]] = {
    "fulfil": lambda: fulfilment.fulfil_pass(now=clock.now()),
    "provision": lambda: provisioning.provision_pass(now=clock.now()),
    "scale": scale,
    "actuate": lambda: actuate_pass(now=clock.now()),
    "meter": lambda: metering.meter_pass(clock.now()),
    "roll-up": lambda: roll_up(clock.now()),
}


def repeat(name: str, until: float, said: list[str]) -> None:
    passes = 0
    try:
        while time.monotonic() < until or not passes:
            PASSES[name]()
            passes += 1
    except Exception as error:  # whatever it is, the test is to say so
        said.append(f"{name}: {type(error).__name__}: {error}")
    finally:
        connection.close()


def main() -> None:
    until, said = time.monotonic() + float(sys.argv[1]), list[str]()
    threads = [threading.Thread(target=repeat, args=(name, until, said)) for name in PASSES for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.write("".join(f"{one}\n" for one in said))


if __name__ == "__main__":
    main()
