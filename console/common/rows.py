"""Rows written and read with SQL that is made once, for the few places where most of the work is the ORM's making of it."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Model
from django.db.models.expressions import DatabaseDefault

M = TypeVar("M", bound=Model)


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


def rows_insert(rows: Sequence[M]) -> None:
    """Store new rows of one model, as `bulk_create` does, each with its key afterwards. Defaults of the database are for
    all of them or for none."""
    if not rows:
        return
    model = type(rows[0])
    given = tuple(
        field for field in model._meta.concrete_fields
        if not field.primary_key and not isinstance(getattr(rows[0], field.attname), DatabaseDefault)
    )  # fmt: skip
    names, values = tuple(field.column for field in given), list[Any]()
    for row in rows:
        values += [field.get_db_prep_save(getattr(row, field.attname), connection) for field in given]
    with connection.cursor() as cursor:
        cursor.execute(_insert(model, names, len(rows)), values)
        keys = cursor.fetchall()
    for row, (key,) in zip(rows, keys, strict=True):
        row.pk = key
        row._state.adding, row._state.db = False, connection.alias


@lru_cache(maxsize=256)
def _insert(model: type[Model], names: tuple[str, ...], count: int) -> str:
    quoted, one = connection.ops.quote_name, f"({', '.join(['%s'] * len(names))})"
    pk = model._meta.pk.column if model._meta.pk else None
    assert pk is not None
    return (
        f"INSERT INTO {quoted(model._meta.db_table)} ({', '.join(map(quoted, names))}) "  # noqa: S608 - names of our own
        f"VALUES {', '.join([one] * count)} RETURNING {quoted(pk)}"
    )
