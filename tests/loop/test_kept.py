"""Rows kept between passes are those of the database, whatever was written, by whom, and when it was committed."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from django.db import connection, transaction

from deployments.loop.columns import read_columns
from deployments.loop.kept import Columns, KeptRows

pytestmark = pytest.mark.django_db(transaction=True)

KINDS = {"key": "bigint", "size": "int"}
QUERY = "SELECT key, size FROM kept_things WHERE shard = %s"


@pytest.fixture(autouse=True)
def things() -> Iterator[None]:
    write("CREATE TABLE kept_things (key bigint PRIMARY KEY, shard int, size int)")
    write("INSERT INTO kept_things SELECT n, n % 2, n FROM generate_series(1, 100) n")
    yield
    write("DROP TABLE kept_things")


@pytest.fixture
def other() -> Iterator["psycopg.Connection[Any]"]:
    with psycopg.connect(**connection.get_connection_params()) as made:
        yield made
        made.rollback()


def write(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def looked_young(kept: "Seen") -> int:
    """Rows of the last read that were sent again because a transaction older than they ran on, in whatever database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM kept_things WHERE shard = 1 AND age(xmin) <= age(%s::text::xid)",
                       [str(kept.since[-1] % 2**32)])  # fmt: skip
        return int(cursor.fetchone()[0])


class Seen(KeptRows):
    """With how many rows were sent."""

    def __init__(self, **more: Any) -> None:
        super().__init__(QUERY.replace("FROM", ", age(xmin) AS age FROM"), KINDS, **more)
        self.sent: list[int] = []
        self.since: list[int] = []

    def _ask(self, shard: int, since: int | None) -> Any:
        answer = super()._ask(shard, since)
        self.since.append(since or 0)
        self.sent.append(len(answer.columns["key"]))
        return answer


def same(kept: KeptRows, gone: tuple[int, ...] = ()) -> None:
    found = kept.read(1, np.array(gone, np.int64))
    whole = read_columns(f"{QUERY} ORDER BY key", KINDS, [1])
    assert {name: column.tolist() for name, column in found.items()} == {
        name: column.tolist() for name, column in whole.items()
    }


def test_what_did_not_change_is_not_sent_again() -> None:
    kept = Seen()
    same(kept)
    assert kept.sent == [50]
    write("UPDATE kept_things SET size = -1 WHERE key IN (7, 8)")
    write("INSERT INTO kept_things VALUES (-5, 1, 0), (301, 1, 0), (302, 0, 0)")
    same(kept)
    assert 3 <= kept.sent[1] == looked_young(kept)
    write("DELETE FROM kept_things WHERE key IN (9, 11)")
    same(kept, gone=(9, 11, 12, 999))
    assert kept.sent[2:] == [looked_young(kept)], "read once, and not whole"


def test_what_is_gone_unknown_to_the_caller_or_moves_is_found() -> None:
    kept = Seen()
    same(kept)
    write("DELETE FROM kept_things WHERE key = 9")
    same(kept)
    write("UPDATE kept_things SET shard = 1 - shard WHERE key IN (1, 2)")
    same(kept)
    write("DELETE FROM kept_things WHERE key = 13")
    write("INSERT INTO kept_things VALUES (500, 1, 0)")
    same(kept, gone=(15,))
    same(kept)


def test_what_began_before_and_commits_after_a_read_is_seen(other: "psycopg.Connection[Any]") -> None:
    kept = Seen()
    other.execute("UPDATE kept_things SET size = -2 WHERE key = 3")
    same(kept)
    write("UPDATE kept_things SET size = -3 WHERE key = 5")  # younger, and committed first
    same(kept)
    other.execute("INSERT INTO kept_things VALUES (700, 1, 1)")
    same(kept)
    other.commit()
    same(kept)
    assert 0 not in kept.since[1:], "never read as a whole"


def test_within_one_snapshot_it_is_what_the_snapshot_sees(other: "psycopg.Connection[Any]") -> None:
    kept = Seen()
    same(kept)
    with transaction.atomic():
        write("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        same(kept)
        other.execute("UPDATE kept_things SET size = -2 WHERE key = 3")
        other.commit()
        same(kept)
    same(kept)
    assert kept.read(1)["size"][1] == -2


def test_rows_that_are_taken_back_are_forgotten() -> None:
    kept = Seen()
    same(kept)
    with transaction.atomic():
        write("UPDATE kept_things SET size = -9 WHERE key = 3")
        write("INSERT INTO kept_things VALUES (800, 1, 1)")
        same(kept)
        transaction.set_rollback(True)
    same(kept)
    with transaction.atomic():
        with transaction.atomic():
            write("UPDATE kept_things SET size = -9 WHERE key = 3")
            same(kept)
            transaction.set_rollback(True)
        same(kept)
    same(kept)


def test_over_another_connection_all_is_read() -> None:
    kept = Seen()
    same(kept)
    connection.close()
    same(kept)
    assert kept.sent == [50, 50]


def test_a_part_that_goes_is_found_by_a_sum_that_changes() -> None:
    kept = KeptRows(
        f"{QUERY.replace('size', '1 + (size > 1000)::int AS size, 2147483647 AS age')}", KINDS, also=["size"]
    )
    same_sizes(kept, [1] * 50)
    write("UPDATE kept_things SET size = 2000 WHERE key = 1")  # which `age` does not tell
    same_sizes(kept, [2] + [1] * 49)


def same_sizes(kept: KeptRows, sizes: list[int]) -> None:
    assert kept.read(1)["size"].tolist() == sizes


def test_a_row_with_null_is_refused_not_lost() -> None:
    kept = Seen()
    same(kept)
    write("INSERT INTO kept_things VALUES (900, 1, NULL)")
    with pytest.raises(ValueError, match="1 rows hold NULL"):
        kept.read(1)


def test_shards_are_kept_apart_and_nobody_may_write_to_what_is_kept() -> None:
    kept = Seen()
    columns: Columns = kept.read(1)
    assert kept.read(0)["key"].tolist() == list(range(2, 101, 2))
    with pytest.raises(ValueError, match="read-only"):
        columns["size"][0] = 5
    same(kept)


def test_transactions_are_numbered_on_beyond_what_rows_can_say() -> None:
    """A row has the last 32 bits of its number, a snapshot all 64."""
    kept = Seen()
    same(kept)
    before = kept._kept[1]
    kept._kept[1] = type(before)(before.connection, before.since + 2**32, before.columns, before.series)
    write("UPDATE kept_things SET size = -1 WHERE key = 7")
    same(kept)
