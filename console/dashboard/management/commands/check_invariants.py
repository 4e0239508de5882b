"""`manage.py check_invariants`: exit 0 when everything holds; exit 1 and the rows on any breach."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from console.dashboard.invariants import INVARIANTS, breaches

SHOWN = 20


class Command(BaseCommand):
    help = "Check that capacity, replicas and the ledger agree, in one snapshot of the database."

    def handle(self, *args: Any, **options: Any) -> None:
        found = breaches()
        for breach in found:
            self.stdout.write(f"BREACH: {breach.invariant}")
            for row in breach.rows[:SHOWN]:
                self.stdout.write("  " + ", ".join(f"{name}={value}" for name, value in row.items()))
            if len(breach.rows) > SHOWN:
                self.stdout.write(f"  and {len(breach.rows) - SHOWN} more")
        self.stdout.write(f"{len(INVARIANTS)} invariants, {len(found)} breaches")
        if found:
            sys.exit(1)
