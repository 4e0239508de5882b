"""The ledger of a running stack, recounted: `python -m tests.stack.books begin`, and later `compare`.

In a process of its own, for the sake of its own database. Nothing is said where everything agrees.
"""

import sys
from datetime import timedelta

import django

django.setup()

from tests.model.recount import ledger_differs_since_then, write_down_from_now_on  # noqa: E402 - needs Django

# From a pass's time to its writing, on a machine that is busy with the tests.
CLOSE = timedelta(seconds=15)


def main() -> None:
    if sys.argv[1] == "begin":
        write_down_from_now_on()
    else:
        sys.stdout.write("".join(f"{one}\n" for one in ledger_differs_since_then(CLOSE)))


if __name__ == "__main__":
    main()
