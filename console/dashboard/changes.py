"""What an audit event changed, field by field, readable."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from console.dashboard.said import value_in_words
from console.organizations.models import AuditEvent

SECRET = {"api_key", "apikey", "secret", "password", "sha256"}
LABELS = "labels"
# What people or engines name themselves is said as it is.
THEIRS = {LABELS: "label", "engine_config": "engine config", "engine_env": "engine env"}
UNSET, HIDDEN = "unset", "hidden"


@dataclass(frozen=True, slots=True)
class Change:
    """One field; `before` and `after` are None where the event has no such side (a creation, a deletion)."""

    field: str
    before: str | None
    after: str | None


def changes(event: AuditEvent) -> list[Change]:
    """Fields that differ; of a creation or a deletion all that are set."""
    before, after = flat(event.before), flat(event.after)
    if event.before is None or event.after is None:
        return [
            Change(words(name), before.get(name), after.get(name))
            for name in [*before, *after]
            if UNSET not in (before.get(name), after.get(name))
        ]
    names = [*before, *(name for name in after if name not in before)]
    return [
        Change(words(name), before.get(name, UNSET), after.get(name, UNSET))
        for name in names
        if before.get(name, UNSET) != after.get(name, UNSET)
    ]


def flat(value: Mapping[str, Any] | None) -> dict[str, str]:
    return dict(_leaves("", value or {}))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and (value or path in ("", LABELS)):
        for name, inner in value.items():
            if path == LABELS:  # values too
                yield f"{path}.{name}", str(inner) or '""'
                continue
            hidden = name.lower() in SECRET and inner
            yield from _leaves(f"{path}.{name}" if path else name, HIDDEN if hidden else inner)
    else:
        yield path, shown(value)


def shown(value: Any) -> str:
    if value is None or value in ("", []):
        return UNSET
    if value == {}:
        return "present"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(shown(one) for one in value)
    return json.dumps(value) if isinstance(value, Mapping) else value_in_words(str(value))


def words(path: str) -> str:
    """`resources.instanceCount` or `other_usage`, as a reader says it."""
    group, _, name = path.partition(".")
    if group in THEIRS and name:
        return f"{THEIRS[group]} {name}"
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in path)
    return spaced.replace("_", " ").replace(".", ": ").strip()
