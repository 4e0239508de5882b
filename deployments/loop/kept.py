"""Rows of hot tables that a process keeps from pass to pass, so that of the next pass only what changed is read.

PostgreSQL says what changed: the version of a row (`xmin`) is the transaction that wrote it, and `age` how many began
since. A snapshot sees all that ended before its own xmin, so that whatever a later one sees otherwise was written by
that transaction or a younger one. Unlike a sequence or a time stamp this loses nothing that commits late, and needs neither column, index nor trigger. It finds no
rows that are gone: callers say which those are as far as they know it, and where the number of rows or the sum of the keys
then is not what the database has, all rows are read (docs/decisions/0021).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db import connection

from deployments.loop.columns import places, read_table, table_columns

Array = npt.NDArray[Any]
Columns = dict[str, Array]

_SINCE = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
# Rows that this transaction wrote itself may yet be rolled back, and leave older versions behind.
_OWN = "pg_current_xact_id_if_assigned() IS NOT NULL"
_CHANGED = "FILTER (WHERE age <= age(%s::text::xid))"
_XIDS = 2**32  # after so many, those of row versions begin anew
_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class _Kept:
    connection: Any  # that they were read over: another one may lead elsewhere
    since: int
    columns: Columns
    series: object  # of reads that each went on from the one before


@dataclass(frozen=True, slots=True)
class _Answer:
    since: int
    own: bool
    count: int  # rows that there are
    sums: dict[str, int]  # of those columns that are to agree
    columns: Columns  # of the rows that were asked for

    def agrees(self, columns: Columns) -> bool:
        """Whether these are all rows that there are."""
        return len(columns["key"]) == self.count and all(
            int(columns[name].astype(np.uint64).sum()) == total % 2**64 for name, total in self.sums.items()
        )


class KeptRows:
    """The rows of `query`, which names one column `key` and one `age`, that of the row's `xmin`, and takes the key of a shard
    as its parameter; `kinds` as `read_columns` has them. Where a row is made of several, `age` is the least of theirs, and
    the sum of whole numbers in `also` changes with one of them that goes."""

    def __init__(self, query: str, kinds: Mapping[str, str], also: Sequence[str] = ()) -> None:
        self._query, self._kinds, self._summed = query, dict(kinds), ("key", *also)
        self._kept: dict[int, _Kept] = {}

    def read(self, shard: int, gone: Array = _NONE) -> Columns:
        """The columns as they are now, by ascending key, not to be written to; `gone` are keys of rows that may be among
        those that were kept and no longer are there."""
        columns = self._brought_up_to_date(shard, gone)
        if columns is None:
            answer = self._ask(shard, None)
            columns = _sorted(answer.columns)
            if not answer.agrees(columns):
                raise ValueError(f"{answer.count - len(columns['key'])} rows hold NULL, and would be left out")
            self._keep(shard, answer, columns, object())
        return dict(columns)

    def series(self, shard: int) -> object | None:
        """The same for all reads of which each went on from the one before; None where nothing is kept."""
        kept = self._kept.get(shard)
        return kept.series if kept else None

    def _brought_up_to_date(self, shard: int, gone: Array) -> Columns | None:
        """None where nothing is kept that could be, or it is not what the database has."""
        kept = self._kept.get(shard)
        if kept is None or kept.connection is not connection.connection:
            return None
        answer = self._ask(shard, kept.since)
        columns = merged(without(kept.columns, gone), answer.columns)
        # What was asked may have made a connection anew.
        if kept.connection is not connection.connection or not answer.agrees(columns):
            return None
        self._keep(shard, answer, columns, kept.series)
        return columns

    def _keep(self, shard: int, answer: _Answer, columns: Columns, series: object) -> None:
        for column in columns.values():
            column.flags.writeable = False
        if answer.own:
            self._kept.pop(shard, None)
        else:
            self._kept[shard] = _Kept(connection.connection, answer.since, columns, series)

    def _ask(self, shard: int, since: int | None) -> _Answer:
        """What changed since then, or everything."""
        which, given = ("", []) if since is None else (_CHANGED, [str(since % _XIDS)])
        sums = ", ".join(f"coalesce(sum({name}), 0)::numeric" for name in self._summed)
        query = f"SELECT {_SINCE}, {_OWN}, count(*), {sums}, {{rows}} {which} FROM ({self._query}) AS t"  # noqa: S608 - our own text
        (now, own, count, *found), table = read_table(query, self._kinds, [*given, shard])
        totals = dict(zip(self._summed, map(int, found), strict=True))
        return _Answer(now, own, count, totals, table_columns(table, self._kinds))


def without(columns: Columns, gone: Array) -> Columns:
    """The rows but for those with these keys."""
    at = places(columns["key"], gone)
    return {name: np.delete(column, at[at >= 0]) for name, column in columns.items()} if (at >= 0).any() else columns


def merged(columns: Columns, changed: Columns) -> Columns:
    """The rows of both, by key; of those in both, as they were changed."""
    if not len(changed["key"]):
        return columns
    at = places(columns["key"], changed["key"])
    known, new = at >= 0, at < 0
    made = {}
    for name, column in columns.items():
        made[name] = np.concatenate([column, changed[name][new]])
        made[name][at[known]] = changed[name][known]
    return _sorted(made)


def _sorted(columns: Columns) -> Columns:
    key = columns["key"]
    if (np.diff(key) > 0).all():
        return columns
    order = np.argsort(key, kind="stable")
    return {name: column[order] for name, column in columns.items()}
