"""How many examples a property is tried on: few in every run, always the same; many in a search for new ones."""

import os
from typing import Any

from hypothesis import settings

SEARCHING = "HEADROOM_SEARCH" in os.environ
FEW, TIMES = 3, 10


def examples(count: int, **more: Any) -> settings:
    """A third of `count` in every run, ten times as many in `make test-long`."""
    return settings(max_examples=count * TIMES if SEARCHING else max(FEW, count // FEW), deadline=None, **more)
