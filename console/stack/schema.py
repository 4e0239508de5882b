"""The database's tables. An empty database gets them straight from the models, in a fraction of the time of replaying
every migration; a test holds both ways against each other.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pgtrigger
from django.apps import apps
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

EXTENSIONS = ("btree_gist",)


def bring_up_to_date() -> None:
    """Make or migrate the tables. Safe to repeat, and to interrupt: an empty database is filled all at once or not."""
    with alone():
        if not connection.introspection.table_names():
            build()
        call_command("migrate", interactive=False, verbosity=0)


@contextmanager
def alone() -> Iterator[None]:
    """Two that prepare one database at once wait for each other."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext('schema'))")
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(hashtext('schema'))")


@transaction.atomic
def build() -> None:
    """Fill an empty database: tables with their constraints, triggers, and every migration noted as applied."""
    with connection.cursor() as cursor:
        for name in EXTENSIONS:
            cursor.execute(f"CREATE EXTENSION IF NOT EXISTS {name}")
    with connection.schema_editor() as editor:
        for model in apps.get_models(include_auto_created=False):
            if model._meta.can_migrate(connection):
                editor.create_model(model)
    pgtrigger.install()
    recorder = MigrationRecorder(connection)
    recorder.ensure_schema()
    for app, name in MigrationLoader(connection).graph.nodes:
        recorder.record_applied(app, name)
