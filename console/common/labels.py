"""Labels of claims and deployments: what keys and values may be, and what a filter such as `team=search` asks for.

Keys and values are those of Kubernetes, so that labels can be carried over from there and back.
"""

import re
from collections.abc import Iterable, Mapping

from console.common.errors import FieldViolation, InvalidArgument

MOST_LABELS = 32
LONGEST_WORD, LONGEST_PREFIX = 63, 253
LONGEST_KEY = LONGEST_PREFIX + 1 + LONGEST_WORD
# Of tags that Headroom itself sets in exports.
OWN_PREFIX = "headroom"
WORD = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
DOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
KEY, VALUE = rf"({DOMAIN}/)?{WORD}", rf"({WORD})?"


def key_wrong(key: str) -> str:
    """What is wrong with a key, in words; empty where nothing is.

    It is a name of 1 to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends, and may have a DNS
    name of at most 253 characters and '/' before it (`team`, `example.com/cost-center`).
    """
    if len(key) > LONGEST_KEY or not re.fullmatch(KEY, key):
        return "a key is letters, digits, '-', '_' and '.', with a letter or digit at both ends; a DNS name and '/' may precede"
    prefix, _, name = key.rpartition("/")
    if len(name) > LONGEST_WORD:
        return f"a key has at most {LONGEST_WORD} characters, not counting what precedes '/'"
    if len(prefix) > LONGEST_PREFIX:
        return f"what precedes '/' has at most {LONGEST_PREFIX} characters"
    return f"{OWN_PREFIX}/ is kept for Headroom's own tags" if prefix == OWN_PREFIX else ""


def value_wrong(value: str) -> str:
    """What is wrong with a value, in words; empty where nothing is. It is like a key's name, or empty."""
    if len(value) > LONGEST_WORD or not re.fullmatch(VALUE, value):
        return (f"a value has at most {LONGEST_WORD} letters, digits, '-', '_' and '.', with a letter or digit at both ends, "
                "or is empty")  # fmt: skip
    return ""


def validate_labels(labels: Mapping[str, str]) -> list[FieldViolation]:
    """Everything that is wrong with these labels, each with the key that it is about; empty where nothing is."""
    if len(labels) > MOST_LABELS:
        return [FieldViolation("labels", f"there are at most {MOST_LABELS}; these are {len(labels)}")]
    wrong = {key: key_wrong(key) or value_wrong(value) for key, value in labels.items()}
    return [FieldViolation("labels", f"{shown(key)}: {text}") for key, text in wrong.items() if text]


def shown(key: str) -> str:
    """A key that may be anything, as a message repeats it."""
    return ascii(key if len(key) <= LONGEST_WORD else key[:LONGEST_WORD] + "...")


def wanted_labels(texts: Iterable[str], field: str = "label") -> dict[str, str | None] | None:
    """What filters ask for, all of which has to hold: `team=search` is that value, `team` any value (None).

    None where nothing can match, since one key is to have two values. InvalidArgument on `field` for what is no label.
    """
    wanted: dict[str, str | None] = {}
    possible = True
    for text in texts:
        key, given, value = text.partition("=")
        wrong = key_wrong(key) or value_wrong(value)
        if wrong:
            raise InvalidArgument.of(field, f"must be key=value or a key: {wrong}")
        before = wanted.get(key)
        possible = possible and (before is None or not given or before == value)
        wanted[key] = value if given else before
    return wanted if possible else None
