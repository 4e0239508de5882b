"""`manage.py stack`: the whole of Headroom with one command, on embedded PostgreSQL and Valkey unless told otherwise."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from console.stack.postgres import PostgresError
from console.stack.state import StateError
from console.stack.supervisor import StackError, StackSettings, Supervisor
from console.stack.valkey import ValkeyError


class Command(BaseCommand):
    help = __doc__
    requires_system_checks: list[str] = []  # the children check; here it would only cost start-up time

    def handle(self, *args: Any, **options: Any) -> None:
        embedded_database = settings.DATABASE_URL == settings.EMBEDDED_DATABASE_URL
        embedded_broker = settings.CELERY_BROKER_URL == settings.EMBEDDED_BROKER_URL
        supervisor = Supervisor(
            StackSettings(
                folder=settings.STATE_DIR,
                bind=settings.BIND,
                port=settings.PORT,
                host=settings.ALLOWED_HOSTS[0].lstrip(".").replace("*", "localhost"),
                database_url="" if embedded_database else settings.DATABASE_URL,
                broker_url="" if embedded_broker else settings.CELERY_BROKER_URL,
                demo=settings.DEMO,
                web_processes=settings.WEB_PROCESSES,
            )
        )
        try:
            supervisor.run()
        except (StackError, StateError, PostgresError, ValkeyError) as error:
            raise CommandError(str(error)) from error
