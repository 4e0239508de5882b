"""Rows written and read with SQL that is made once, for the few places where most of the work is the ORM's making of it."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache, partial
from itertools import islice
from typing import Any

from django.db import connection
from django.db.models import Field, Model
from django.db.models.expressions import DatabaseDefault
from django.db.models.fields import NOT_PROVIDED

from console.common.together import Statement, run_together

_KEYS = "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)"


@cache
def columns(**models: type[Model]) -> str:
    """All columns of the models, by the alias of their table: to be selected and handed to `row_read`."""
    named = ((alias, field) for alias, model in models.items() for field in model._meta.concrete_fields)
    return ", ".join(f"{alias}.{connection.ops.quote_name(field.column)}" for alias, field in named if field.column)


def row_read(values: Iterable[Any], *models: type[Model]) -> Iterator[Any]:
    """One of each model, as the ORM would make it of these columns, whose types PostgreSQL knows (no JSON)."""
    rest = iter(values)
    for model in models:
        names = [field.attname for field in model._meta.concrete_fields]
        yield model.from_db(connection.alias, names, list(islice(rest, len(names))))


def rows_insert(*groups: Sequence[Model], also: Sequence[Statement] = ()) -> None:
    """Store new rows, those of a group all of one model, as `bulk_create` does, each with its key afterwards: in order, and
    with whatever is `also` to be done in one message. Defaults of the database are for all of a group or for none, and so
    are keys that are known already."""
    filled = [rows for rows in groups if rows]
    if not filled:
        return
    answers = run_together([*map(_insert, filled), *also])
    for rows, keys in zip(filled, answers, strict=False):
        for row, (key,) in zip(rows, keys, strict=True):
            row.pk = key
            row._state.adding, row._state.db = False, connection.alias


def rows_copy(rows: Sequence[Model]) -> None:
    """Store many new rows of one model with COPY, each with its key afterwards: as `rows_insert`, without the SQL and the
    quoting of every value. What the database generates is not read back."""
    if not rows:
        return
    model, given = type(rows[0]), _given_in(rows)
    pk, quoted = model._meta.pk, connection.ops.quote_name
    assert pk is not None
    given = (pk, *(field for field in given if field is not pk))
    names = ", ".join(quoted(field.column) for field in given if field.column)
    with connection.wrap_database_errors, connection.cursor() as cursor:
        if rows[0].pk is None:
            cursor.execute(_KEYS, [model._meta.db_table, pk.column, len(rows)])
            for row, (key,) in zip(rows, cursor.fetchall(), strict=True):
                row.pk = key
        with cursor.copy(f"COPY {quoted(model._meta.db_table)} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row([field.get_db_prep_save(getattr(row, field.attname), connection) for field in given])
    for row in rows:
        row._state.adding, row._state.db = False, connection.alias


def _given_in(rows: Sequence[Model]) -> tuple[Field[Any, Any], ...]:
    """The fields of which some row says what they are."""
    fields = [field for field in type(rows[0])._meta.concrete_fields if not field.generated]
    return tuple(field for field in fields if any(map(partial(_given, field), rows)))


def _insert(rows: Sequence[Model]) -> Statement:
    """Columns that are NULL in every row are not named: fewer values, and psycopg remembers only statements of up to 50."""
    model = type(rows[0])
    given = _given_in(rows)
    names, values = tuple(field.column for field in given), list[Any]()
    for row in rows:
        values += [field.get_db_prep_save(getattr(row, field.attname), connection) for field in given]
    return _insert_sql(model, names, len(rows)), values


def _given(field: Field[Any, Any], row: Model) -> bool:
    value = getattr(row, field.attname)
    return not (isinstance(value, DatabaseDefault) or (value is None and field.db_default is NOT_PROVIDED))


@lru_cache(maxsize=256)
def _insert_sql(model: type[Model], names: tuple[str, ...], count: int) -> str:
    quoted, one = connection.ops.quote_name, f"({', '.join(['%s'] * len(names))})"
    pk = model._meta.pk.column if model._meta.pk else None
    assert pk is not None
    return (
        f"INSERT INTO {quoted(model._meta.db_table)} ({', '.join(map(quoted, names))}) "  # noqa: S608 - names of our own
        f"VALUES {', '.join([one] * count)} RETURNING {quoted(pk)}"
    )
