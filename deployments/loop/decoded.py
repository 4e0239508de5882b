"""Packed rows that a process has read before are neither sent nor unpacked again while they are the same versions."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.db import connection

from deployments.loop.columns import read_rows

T = TypeVar("T")

_VERSION = "xmin::text || ctid::text"


class DecodedRows(Generic[T]):
    """Rows of `table`, which has columns `instance_type_id`, `at` and `payload`, by shard; `decode` is given time and
    payload."""

    def __init__(self, table: str, decode: Callable[[datetime, bytes], T]) -> None:
        self._query = f"""
            SELECT version, at, CASE WHEN version = ANY(%s) THEN NULL ELSE payload END FROM (
                SELECT {_VERSION} AS version, at, payload FROM {table} WHERE instance_type_id = %s AND at > %s
            ) AS t ORDER BY at"""  # noqa: S608 - our own names
        self._decode = decode
        self._known: dict[int, tuple[Any, dict[str, T]]] = {}

    def read(self, shard: int, since: datetime) -> Sequence[tuple[datetime, T]]:
        """Those after `since`, by time."""
        over, known = self._known.get(shard, (None, {}))
        if over is not connection.connection:
            known = {}
        rows = read_rows(self._query, [list(known), shard, since])
        found = {
            version: (at, known[version] if payload is None else self._decode(at, bytes(payload)))
            for version, at, payload in rows
        }
        self._known[shard] = connection.connection, {version: one for version, (_, one) in found.items()}
        return list(found.values())
