"""`manage.py createtoken ORGANIZATION --role admin|viewer|billing [--expires 8h]` prints the token alone."""

import re
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from console.common import clock
from console.common.errors import Refusal
from console.organizations.actors import system
from console.organizations.models import Role
from console.organizations.selectors import organization_named
from console.organizations.services import token_create

UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def parse_lifetime(text: str) -> timedelta | None:
    """`90m`, `8h`, `30d`, or `never`."""
    if text == "never":
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", text)
    if not match:
        raise CommandError(f"--expires must look like 90m, 8h, 30d or never; it is {text!r}.")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


class Command(BaseCommand):
    help = "Create an API token for an organization (its slug or id) and print its secret, which is not kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organization", help="slug or id, for instance demo or cwde30")
        parser.add_argument("--role", choices=Role.values, default=Role.VIEWER.value)
        parser.add_argument("--expires", default="90d", help="90m, 8h, 30d or never (default: 90d)")
        parser.add_argument("--name", default="created on the command line")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            _, secret = token_create(
                actor=system("manage.py createtoken"),
                organization=organization_named(options["organization"]),
                name=options["name"],
                role=Role(options["role"]),
                now=clock.now(),
                lifetime=parse_lifetime(options["expires"]),
            )
        except Refusal as refusal:
            raise CommandError(refusal.message) from refusal
        self.stdout.write(secret)
