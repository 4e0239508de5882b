"""A policy from a file: the settings of the planner, as JSON.

    {"min": 1, "max": 40, "concurrency": 6, "stable_s": 60, "burst_s": 15, "burst_factor": 2, "tolerance": 0.1,
     "scale_down_s": 300, "drain_s": 10, "ahead": 0.99}

`ahead` is the share of the time that the look-ahead's margin is to suffice; 0: it does not
look ahead. All are optional; what is left out is as in a deployment for which nobody has set it.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WHOLE = ("min", "max", "concurrency")
TIMES = ("stable_s", "burst_s", "scale_down_s", "drain_s")
RATIOS = ("burst_factor", "tolerance", "ahead")
KNOWN = (*WHOLE, *TIMES, *RATIOS)
LONGEST_S = 86_400.0
MOST = 1_000_000
DEFAULT, OBJECTIVE = "default", "objective"


class PolicyError(ValueError):
    """What is wrong with a policy, and in which field."""


def policy(name: str) -> dict[str, float]:
    """`default`, or what the file of that name sets, by column of the planner's table. Raises PolicyError, OSError."""
    if name == DEFAULT:
        return {}
    try:
        said = json.loads(Path(name).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(f"{Path(name).name} is no JSON: {error}.") from error
    if not isinstance(said, dict):
        raise PolicyError('A policy is an object of settings, such as {"concurrency": 6}.')
    return checked(said)


def checked(said: Mapping[str, Any]) -> dict[str, float]:
    """The settings, each within what the planner takes. Raises PolicyError."""
    unknown = sorted(set(said) - set(KNOWN))
    if unknown:
        raise PolicyError(f"No setting is named {', '.join(unknown)}; there are {', '.join(KNOWN)}.")
    for name, value in said.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise PolicyError(f"{name} must be a number, not {value!r}.")
        if name in WHOLE and not (value == int(value) and 1 <= value <= MOST):
            raise PolicyError(f"{name} must be a whole number from 1 to {MOST:,}, not {value}.")
        if name in TIMES and not 0 <= value <= LONGEST_S:
            raise PolicyError(f"{name} must be from 0 to {LONGEST_S:,.0f} seconds, not {value}.")
        if name == "ahead" and not 0 <= value < 1:
            raise PolicyError(f"ahead must be at least 0 and below 1, not {value}.")
        if name in RATIOS and not 0 <= value <= 1000:
            raise PolicyError(f"{name} must be from 0 to 1000, not {value}.")
    if "min" in said and "max" in said and said["max"] < said["min"]:
        raise PolicyError(f"max must be at least min, not {said['max']} for a min of {said['min']}.")
    return dict(said)
