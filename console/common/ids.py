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


def parse_key(text: str) -> int | None:
    """The row key written as `text` in ASCII digits, or None; keys are 64 bits, so that a longer number names no row."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
