"""Identifiers: time-ordered UUIDs for what the API names, and the parsing of ids that clients send."""

import uuid

from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    """A UUID of version 7: unique, and ordered by creation so that indexes stay compact."""
    return uuid7()


def parse_uuid(value: str) -> uuid.UUID | None:
    """The UUID written as `value` in its usual hyphenated form, or None."""
    try:
        parsed = uuid.UUID(value)
    except (ValueError, AttributeError, TypeError):
        return None
    return parsed if str(parsed) == value.lower() else None
