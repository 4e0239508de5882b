"""The one clock: PostgreSQL's, so that machines whose clocks differ agree on the order of things.

Read once per request or pass and handed down; nothing else in the project asks what time it is.
"""

from datetime import UTC, datetime

from django.db import connection


def now() -> datetime:
    """The database's wall clock, timezone-aware UTC, advancing inside a transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row = cursor.fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment.astimezone(UTC)


def at(seconds: float) -> datetime:
    """The moment so many seconds after 1970 began, to the microsecond, as `extract(epoch FROM ...)::float8` counts them.

    By the thousand, times are read several times faster so than as timestamps.
    """
    return datetime.fromtimestamp(seconds, UTC)
