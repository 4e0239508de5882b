"""`manage.py recount [--from 2026-11-01 --to 2026-12-01]`: exit 0 where everything agrees, 1 with each difference."""

import sys
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction

from claims.recount.count import HOUR, recount

SHOWN = 100


def second_in(text: str) -> int:
    """A day or a time in UTC, a whole hour."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{text!r} is no day or time such as 2026-11-01 or 2026-11-01T06:00") from error
    second = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    if second % HOUR:
        raise CommandError(f"{text!r} is no whole hour")
    return second


class Command(BaseCommand):
    help = "Count money again, second by second, and compare it with what was rated and stated."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="start", metavar="DAY", help="Begin there; default: the first use.")
        parser.add_argument("--to", dest="end", metavar="DAY", help="End there; default: the last rated hour.")

    def handle(self, *args: Any, **options: Any) -> None:
        start, end = (second_in(options[name]) if options[name] else None for name in ("start", "end"))
        if start is not None and end is not None and start >= end:
            raise CommandError("--from must lie before --to")
        nested = connection.in_atomic_block
        with transaction.atomic():
            if not nested:
                connection.cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            found = recount(start, end)
        for one in found.differences[:SHOWN]:
            self.stdout.write(f"DIFFERENCE: {one}")
        if len(found.differences) > SHOWN:
            self.stdout.write(f"  and {len(found.differences) - SHOWN} more")
        self.stdout.write(found.summary)
        if found.differences:
            sys.exit(1)
