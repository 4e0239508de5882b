"""`manage.py replay_decision ID`: a recorded decision made once more, and whether it comes out the same."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from deployments.models import Decision
from deployments.replay.again import decision_replay
from deployments.replay.said import lines, replay_to

DIFFERS = 1


class Command(BaseCommand):
    help = (
        "Run a recorded decision again: stages 1 to 5 from its row, contention and placement where the pass is recorded. "
        "Says whether every number agrees, or each that does not; then the exit code is 1."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=int, metavar="ID", help="Of the decision, as pages and the API show it.")
        parser.add_argument("--json", action="store_true", help="One object instead of lines.")

    def handle(self, *args: Any, **options: Any) -> None:
        found = Decision.objects.select_related("deployment").filter(id=options["id"]).first()
        if found is None:
            raise CommandError(f"There is no decision {options['id']}.")
        replay = decision_replay(found)
        self.stdout.write(json.dumps(replay_to(replay), indent=2) if options["json"] else "\n".join(lines(replay)))
        if not replay.same:
            raise SystemExit(DIFFERS)
