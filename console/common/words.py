"""How numbers and names are put into sentences."""

from collections.abc import Iterable


def listed(names: Iterable[str]) -> str:
    """`a, b and c`."""
    every = list(names)
    return " and ".join([", ".join(every[:-1]), every[-1]]) if len(every) > 1 else "".join(every)


def counted(number: int, noun: str) -> str:
    """`1 instance` or `3 instances`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
