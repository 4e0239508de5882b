"""The content of the database, kept and put back: for tests that start from the same world many times and really
commit. Sequences go back too, so that the same steps give the same keys."""

from dataclasses import dataclass

from django.db import connection

KEPT = "kept"
# Tables with their columns, but for those that the database works out itself.
_TABLES = """
    SELECT t.table_schema || '.' || t.table_name, string_agg(quote_ident(c.column_name), ', ')
    FROM information_schema.tables t JOIN information_schema.columns c USING (table_schema, table_name)
    WHERE t.table_type = 'BASE TABLE' AND t.table_schema IN ('public', 'clockwork')
      AND t.table_name <> 'django_migrations' AND c.is_generated = 'NEVER'
    GROUP BY 1 ORDER BY 1"""
_SEQUENCES = """
    SELECT format('SELECT setval(%L, %s, %L)', quote_ident(schemaname) || '.' || quote_ident(sequencename),
                  coalesce(last_value, start_value), last_value IS NOT NULL)
    FROM pg_sequences WHERE schemaname IN ('public', 'clockwork')"""


@dataclass(frozen=True)
class Kept:
    """How to put back what was kept."""

    restore_sql: str

    def restore(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(self.restore_sql)


def keep() -> Kept:
    """Remember everything as it is now; what was kept before is forgotten."""
    with connection.cursor() as cursor:
        cursor.execute(_TABLES)
        tables = cursor.fetchall()
        cursor.execute(_SEQUENCES)
        sequences = [sql for (sql,) in cursor.fetchall()]
        cursor.execute(f"DROP SCHEMA IF EXISTS {KEPT} CASCADE; CREATE SCHEMA {KEPT}")
        steps = ["SET session_replication_role = replica"]  # without triggers, which guard the ledger
        for number, (table, columns) in enumerate(tables):
            cursor.execute(f"CREATE TABLE {KEPT}.t{number} AS TABLE {table}")
            steps += [f"DELETE FROM {table}", f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {KEPT}.t{number}"]
    return Kept("; ".join([*steps, *sequences, "SET session_replication_role = DEFAULT"]))


def forget() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {KEPT} CASCADE")
