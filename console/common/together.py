"""Several statements in one message to the database, where it is the messages that take the time."""

from collections.abc import Sequence
from typing import Any

from django.db import connection

Statement = tuple[str, Sequence[Any]]
"""SQL and its values"""


def run_together(statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
    """The rows that each of them answers. To the database it is as if each was sent alone: it sees what was committed before
    it began, what those before it wait for included. Belongs into a transaction: the first that fails is the last."""
    with connection.cursor() as cursor:
        cursor.execute("; ".join(sql for sql, _ in statements), [one for _, values in statements for one in values])
        found = [cursor.fetchall() if cursor.description else []]
        while cursor.nextset():
            found.append(cursor.fetchall() if cursor.description else [])
    return found
