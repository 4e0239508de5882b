"""Recorded traffic as values: requests one by one, or a rate per window."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

GAP_SHARE = 0.2
MAX_CV = 4.0


@dataclass(frozen=True, eq=False)
class RequestTrace:
    """Requests of a service over a span of time.

    offsets_s: float64 [n], seconds from the start of the span, sorted, in [0, span_s)
    output_tokens: int64 [n], tokens generated for each request
    span_s: length of the span, after which the trace starts again

    Raises ValueError where the arrays are empty, unsorted, negative or do not fit one another.
    """

    offsets_s: NDArray[np.float64]
    output_tokens: NDArray[np.int64]
    span_s: float

    def __post_init__(self) -> None:
        offsets, tokens = self.offsets_s, self.output_tokens
        if offsets.ndim != 1 or len(offsets) == 0 or offsets.shape != tokens.shape:
            raise ValueError("A request trace needs at least one request, and one token count for each.")
        if not (offsets[0] >= 0 and np.all(np.diff(offsets) >= 0) and offsets[-1] < self.span_s < np.inf):
            raise ValueError("The offsets of a request trace must be sorted and lie in [0, span_s).")
        if tokens.min() < 0:
            raise ValueError("A request cannot generate a negative number of tokens.")
        _freeze(offsets, tokens)

    @classmethod
    def recorded(cls, offsets_s: NDArray[np.float64], output_tokens: NDArray[np.int64]) -> Self:
        """A trace that ends one mean gap after its last request, so that laid end to end its rate stays."""
        if len(offsets_s) < 2:
            raise ValueError("The span of a trace cannot be told from fewer than two requests.")
        last = float(offsets_s[-1])
        return cls(offsets_s, output_tokens, last + last / (len(offsets_s) - 1))


@dataclass(frozen=True, eq=False)
class RateTrace:
    """Arrival rate in windows of equal length.

    window_s: length of a window
    requests_per_s: float64 [n], mean rate of each window
    burstiness_cv: float64 [n], coefficient of variation of the inter-arrival times; 1 is Poisson

    Raises ValueError where the arrays are empty, negative, not finite or do not fit one another.
    """

    window_s: float
    requests_per_s: NDArray[np.float64]
    burstiness_cv: NDArray[np.float64]

    def __post_init__(self) -> None:
        rates, cv = self.requests_per_s, self.burstiness_cv
        if rates.ndim != 1 or len(rates) == 0 or rates.shape != cv.shape:
            raise ValueError("A rate trace needs at least one window, and one burstiness for each.")
        if not (0 < self.window_s < np.inf and _valid(rates) and _valid(cv)):
            raise ValueError("The window must be positive, rates and burstiness finite and not negative.")
        _freeze(rates, cv)

    @property
    def span_s(self) -> float:
        """Length of the trace, after which it starts again."""
        return self.window_s * len(self.requests_per_s)

    def without_gaps(self) -> Self:
        """The trace with windows of under 20 % of the median rate interpolated, and the CV capped at 4.

        Such windows are holes in a recording rather than quiet hours, and the CV of a window across which the
        recording stopped says nothing about its requests.
        """
        gap = self.requests_per_s < GAP_SHARE * np.median(self.requests_per_s)
        return type(self)(
            self.window_s,
            _filled(self.requests_per_s, gap),
            np.minimum(_filled(self.burstiness_cv, gap), MAX_CV),
        )


def _filled(values: NDArray[np.float64], gap: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`values` with those at `gap` interpolated between their neighbours, the last being one of the first."""
    index = np.arange(len(values), dtype=np.float64)
    return np.interp(index, index[~gap], values[~gap], period=float(len(values)))


def _valid(values: NDArray[np.float64]) -> bool:
    return bool(np.all(np.isfinite(values)) and np.all(values >= 0))


def _freeze(*arrays: NDArray[np.generic]) -> None:
    for array in arrays:
        array.setflags(write=False)
