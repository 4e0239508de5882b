"""The traces shipped with Headroom, read into the values that `deployments.sim` works on.

Where they come from and under which licence: README.md beside this file.
"""

import csv
from functools import lru_cache
from pathlib import Path

import numpy as np

from deployments.sim.trace import RateTrace, RequestTrace

REQUEST_TRACES = ("azure_llm_2023_conv", "azure_llm_2023_code")
RATE_TRACES = ("servegen_m_large_rates",)

FOLDER = Path(__file__).parent


class UnknownTrace(LookupError):
    """No trace of that name and kind is shipped."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"No trace is named {name!r}; there are: {', '.join(known)}.")
        self.name = name
        self.known = known


@lru_cache
def load_requests(name: str) -> RequestTrace:
    """The requests of a trace one by one, ordered by arrival; the arrays are shared and read-only.

    Raises `UnknownTrace` for a name that is not in `REQUEST_TRACES`.
    """
    rows = _rows(name, REQUEST_TRACES)
    arrived = np.array([row["TIMESTAMP"] for row in rows], dtype="datetime64[ns]")
    tokens = np.array([row["GeneratedTokens"] for row in rows], dtype=np.int64)
    order = np.argsort(arrived, kind="stable")
    offsets = (arrived[order] - arrived[order[0]]) / np.timedelta64(1, "s")
    return RequestTrace.recorded(offsets, tokens[order])


@lru_cache
def load_rates(name: str) -> RateTrace:
    """The rate of a trace in windows, gaps filled and burstiness capped; the arrays are shared and read-only.

    Raises `UnknownTrace` for a name that is not in `RATE_TRACES`.
    """
    rows = _rows(name, RATE_TRACES)
    starts = np.array([row["window_start_s"] for row in rows], dtype=np.float64)
    rates = np.array([row["requests_per_s"] for row in rows], dtype=np.float64)
    cv = np.array([row["burstiness_cv"] for row in rows], dtype=np.float64)
    return RateTrace(float(starts[1] - starts[0]), rates, cv).without_gaps()


def _rows(name: str, known: tuple[str, ...]) -> list[dict[str, str]]:
    if name not in known:
        raise UnknownTrace(name, known)
    with (FOLDER / f"{name}.csv").open(newline="", encoding="ascii") as file:
        return list(csv.DictReader(file))
