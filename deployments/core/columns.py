"""Records of numpy columns: dataclasses whose fields are arrays of one length.

A field says its dtype and, where it may be left out, what fills it. `build` turns sequences into such a
record, so that callers, tests and the simulator give only what they know.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Int16s = npt.NDArray[np.int16]
Int8s = npt.NDArray[np.int8]
UInt64s = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class ColumnError(ValueError):
    """A column is missing, too long, too short, or points outside the table it refers to."""


def column(dtype: Any, fill: Any = None, width: int = 0) -> dict[str, Any]:
    """What a dataclass field says about its array of `dtype`; `width` > 0 makes the rows tuples of that
    width.

    `fill` is the value of every row when the column is not given; None means that it has to be given.
    """
    return {"dtype": np.dtype(dtype), "fill": fill, "width": width}


@dataclass(frozen=True, slots=True)
class Columns:
    """Base of the records; the first field decides the number of rows."""

    @classmethod
    def build(cls, **given: Any) -> Self:
        """Make a record from sequences or arrays; raises ColumnError for what does not fit together."""
        specs = fields(cls)
        unknown = set(given) - {spec.name for spec in specs}
        if unknown:
            raise ColumnError(f"{cls.__name__} has no column {', '.join(sorted(unknown))}")
        rows = len(given.get(specs[0].name, ()))
        return cls(**{spec.name: _array(cls.__name__, spec, given.get(spec.name), rows) for spec in specs})

    @classmethod
    def none(cls) -> Self:
        """A record without rows."""
        return cls.build(**{spec.name: () for spec in fields(cls)})

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def items(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Name and array of each column, in the order of the fields."""
        return ((spec.name, getattr(self, spec.name)) for spec in fields(self))

    def take(self, rows: Any) -> Self:
        """The same columns with only the given rows (indices or mask), in the given order."""
        return type(self)(**{name: values[rows] for name, values in self.items()})


def _array(record: str, spec: Any, given: Any, rows: int) -> npt.NDArray[Any]:
    dtype, fill, width = spec.metadata["dtype"], spec.metadata["fill"], spec.metadata["width"]
    shape = (rows, width) if width else (rows,)
    if given is None:
        if fill is None:
            raise ColumnError(f"{record}.{spec.name} has to be given")
        return np.full(shape, fill, dtype)
    values = np.ascontiguousarray(given, dtype)
    if rows == 0 and values.size == 0:
        values = values.reshape(shape)
    if values.shape != shape:
        raise ColumnError(f"{record}.{spec.name} has shape {values.shape}, expected {shape}")
    return values
