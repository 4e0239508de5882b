"""How many examples a property is tried on: few in every run, always the same; many in a search for new ones."""

import os
from typing import Any

from hypothesis import settings

SEARCHING = "HEADROOM_SEARCH" in os.environ
TIMES = 10


def examples(count: int, **more: Any) -> settings:
    """`count` of them in every run, ten times as many in `make test-long`."""
    return settings(max_examples=count * TIMES if SEARCHING else count, deadline=None, **more)
