"""A clock that goes on when a test says so, for everything that asks PostgreSQL what time it is.

A schema that comes before pg_catalog in the search path has its own `clock_timestamp()` and `statement_timestamp()`:
`console.common.clock`, Django's `Now()` and the defaults of columns are told the same time in every connection, and
no code knows of it. Each question moves the clock on by a millisecond, so that no two moments are equal and the same
steps are told the same times. For tests that really commit (`django_db(transaction=True)`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.backends.signals import connection_created

SCHEMA = "clockwork"
PATH = f"SET search_path = {SCHEMA}, pg_catalog, public"
START = datetime(2026, 11, 30, 21, 29, 40, tzinfo=UTC)  # hour, day and month end soon after
_MAKE = f"""
    CREATE SCHEMA {SCHEMA};
    CREATE TABLE {SCHEMA}.moved (at timestamptz NOT NULL);
    CREATE SEQUENCE {SCHEMA}.asked MINVALUE 0;
    CREATE FUNCTION {SCHEMA}.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
        $$ SELECT at + nextval('{SCHEMA}.asked') * interval '1 millisecond' FROM {SCHEMA}.moved $$;
    CREATE FUNCTION {SCHEMA}.statement_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
        $$ SELECT {SCHEMA}.clock_timestamp() $$"""
_DEFAULTS = """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND column_default ~ 'statement_timestamp\\(\\)$'"""


@contextmanager
def clockwork(start: datetime = START) -> Iterator[None]:
    """The database's clock is ours inside."""
    with connection.cursor() as cursor:
        cursor.execute(_MAKE)
        cursor.execute(f"INSERT INTO {SCHEMA}.moved VALUES (%s)", [start])
        columns = _defaults_ask(cursor, SCHEMA)
        cursor.execute(PATH)
    follow()
    try:
        yield
    finally:
        connection_created.disconnect(dispatch_uid=SCHEMA)
        connection.close()  # whatever state the test left it in
        with connection.cursor() as cursor:
            _defaults_ask(cursor, "pg_catalog", columns)
            cursor.execute(f"DROP SCHEMA {SCHEMA} CASCADE")


def advance(by: timedelta) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {SCHEMA}.moved SET at = at + make_interval(secs => %s)", [by.total_seconds()])


def follow() -> None:
    """Every connection that this process opens from now on asks the test's clock."""
    connection_created.connect(_connected, dispatch_uid=SCHEMA)


def _connected(connection: Any, **kwargs: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(PATH)


def _defaults_ask(cursor: Any, schema: str, columns: list[tuple[str, str]] | None = None) -> list[tuple[str, str]]:
    """Let columns that default to the present time ask the clock of the schema; which columns those are."""
    if columns is None:
        cursor.execute(_DEFAULTS)
        columns = cursor.fetchall()
    for table, column in columns:
        cursor.execute(f"ALTER TABLE public.{table} ALTER {column} SET DEFAULT {schema}.statement_timestamp()")
    return columns
