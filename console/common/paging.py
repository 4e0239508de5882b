"""Cursors of /api/v1: `{"items": [...], "nextCursor": ...}`. A cursor is opaque to clients."""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, NoReturn

from console.common.errors import InvalidArgument

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000


def encode_cursor(position: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(list(position)).encode()).decode().rstrip("=")


def decode_cursor(text: str) -> list[Any]:
    """The values it was made of; InvalidArgument for what is none, or holds text that no database does."""
    try:
        padded = text + "=" * (-len(text) % 4)
        position = json.loads(base64.urlsafe_b64decode(padded.encode()))
        storable = b"\\u0000" not in json.dumps(position, ensure_ascii=False).encode()
    except (ValueError, binascii.Error, RecursionError):
        refuse_cursor()
    if not isinstance(position, list) or not storable:
        refuse_cursor()
    return position


def refuse_cursor() -> NoReturn:
    raise InvalidArgument.of("after", "is not a cursor that this list gave out")


def parse_limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_LIMIT:
        raise InvalidArgument.of("limit", f"must be a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def page(items: Sequence[Any], next_cursor: str | None = None) -> dict[str, Any]:
    return {"items": list(items), "nextCursor": next_cursor}
