"""Rules of the autoscaling settings, before anything is stored (R1, R2; texts as the API has them)."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

DEFAULT_PRIORITY = 0
DEFAULT_CONCURRENCY = 8
MAX_PRIORITY = 1000
# The columns of a snapshot are 32-bit with a sign.
MAX_STORED = 2**31 - 1
CLASSES = (1, 2)  # CAPACITY_CLASS_RESERVED, CAPACITY_CLASS_ON_DEMAND

Violation = tuple[str, str]
Whole = TypeVar("Whole", int, npt.NDArray[np.int64])


def validate(
    minimum: int | None,
    maximum: int | None,
    priority: int | None = None,
    concurrency: int | None = None,
    capacity_classes: Sequence[int] = (),
    path: str = "autoscaling",
) -> list[Violation]:
    """Every rule that the settings break, as (snake_case path of the field, what is wrong); empty when all is
    well.

    None is a field that was not sent. `minimum` and `maximum` have to be; 0 is scale-to-zero and refused.
    `concurrency` 0 and `priority` 0 mean unset. The rule on the whole message comes first, then fields in
    their order.
    """
    found = [*_order(minimum, maximum, path)]
    found += _size(f"{path}.min", minimum)
    found += _size(f"{path}.max", maximum)
    found += _range(f"{path}.priority", priority or 0, 0, MAX_PRIORITY)
    found += _classes(f"{path}.capacity_classes", capacity_classes)
    if concurrency:
        found += _range(f"{path}.concurrency", concurrency, 1, MAX_STORED)
    return found


def slots(concurrency: Whole) -> Whole:
    """Requests that a replica can run at once by default: `ceil(concurrency / 0.7)`, exactly (R2); of one concurrency or
    of a column."""
    return (10 * concurrency + 6) // 7


def concurrency_of(slots: int) -> int:
    """The largest concurrency to which `slots` are enough by default; at least 1 (R2)."""
    return max(1, 7 * slots // 10)


def _order(minimum: int | None, maximum: int | None, path: str) -> list[Violation]:
    if minimum is not None and maximum is not None and maximum < minimum:
        return [(path, "max must be greater than or equal to min")]
    return []


def _size(path: str, value: int | None) -> list[Violation]:
    if value is None:
        return [(path, "value is required")]
    return _range(path, value, 1, MAX_STORED)


def _range(path: str, value: int, lowest: int, highest: int) -> list[Violation]:
    if lowest <= value <= highest:
        return []
    if value < lowest and highest == MAX_STORED:
        return [(path, f"value must be greater than or equal to {lowest}")]
    return [(path, f"value must be greater than or equal to {lowest} and less than or equal to {highest}")]


def _classes(path: str, classes: Sequence[int]) -> list[Violation]:
    found: list[Violation] = []
    if len(set(classes)) < len(classes):
        found.append((path, "repeated value must contain unique items"))
    for position, value in enumerate(classes):
        if value == 0:
            found.append((f"{path}[{position}]", "value must not be in list [0]"))
        elif value not in CLASSES:
            found.append((f"{path}[{position}]", "value must be one of the defined enum values"))
    return found
