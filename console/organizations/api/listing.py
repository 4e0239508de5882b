"""Lists of /api/v1: how all of them are filtered, sorted, paged and cut down to some members.

A page ends with the place of its last item, by value, so that what comes or goes meanwhile neither repeats nor hides others.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce
from itertools import islice
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import F, Field, Model, Q, QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request

from console.common.errors import InvalidArgument
from console.common.ids import parse_uuid
from console.common.paging import decode_cursor, encode_cursor, page, parse_limit, refuse_cursor
from console.organizations.api.errors import snake_case
from console.organizations.api.fields import query_time
from console.organizations.api.schema import PAGING

Item = dict[str, Any]


@dataclass(frozen=True)
class Filter:
    """A query parameter that leaves items out. `where` is a lookup of the database, or of made items their member."""

    where: str
    description: str
    one_of: Sequence[str] = ()
    type: Any = OpenApiTypes.STR

    def parameter(self, name: str) -> OpenApiParameter:
        return OpenApiParameter(name, self.type, enum=list(self.one_of) or None, description=self.description)

    def value(self, request: Request, name: str) -> Any:
        """What was asked for; None where nothing was."""
        text = request.query_params.get(name)
        if text is None:
            return None
        if self.type is OpenApiTypes.DATETIME:
            return query_time(request, name)
        if self.type is OpenApiTypes.UUID:
            return uuid_in(name, text)
        return chosen(request, name, self.one_of, text) if self.one_of else plain_text(name, text)


def chosen(request: Request, name: str, values: Sequence[str], default: str) -> str:
    """One of some words in the query parameter `name`."""
    text = request.query_params.get(name, default)
    if text not in values:
        raise InvalidArgument.of(snake_case(name), f"must be one of {', '.join(values)}; it is {text[:100]!r}")
    return text


def plain_text(name: str, text: str) -> str:
    if "\0" in text or not text.isprintable() or len(text) > 200:
        raise InvalidArgument.of(snake_case(name), "must have at most 200 printable characters")
    return text


def uuid_in(name: str, text: str) -> UUID:
    found = parse_uuid(text)
    if found is None:
        raise InvalidArgument.of(snake_case(name), "value must be a valid UUID")
    return found


@dataclass(frozen=True)
class Listing:
    """One list. `sorts` are the members that it may be sorted by and what they are: columns that are never null, of made
    items their members; the last of them is different for every item. `sort` is the order where none is asked for, the
    members of `shape` those that may be chosen with `fields`."""

    sorts: Mapping[str, Sequence[str]]
    sort: str
    filters: Mapping[str, Filter] = field(default_factory=dict)
    shape: type[serializers.Serializer[Any]] | None = None

    @property
    def orders(self) -> list[str]:
        return [sign + name for name in self.sorts for sign in ("", "-")]

    @property
    def parameters(self) -> list[OpenApiParameter]:
        found = [one.parameter(name) for name, one in self.filters.items()]
        found.append(OpenApiParameter("sort", enum=self.orders, default=self.sort,
                                      description="What it is sorted by; with a minus, the last first."))  # fmt: skip
        if self.shape:
            found.append(FIELDS(self.shape))
        return [*found, *PAGING]

    def order(self, request: Request) -> str:
        return chosen(request, "sort", self.orders, self.sort)

    def stored(self, request: Request, found: "QuerySet[Any]", to: Callable[[Any], Item]) -> Item:
        """The page of these rows."""
        return self.stored_with(request, found, lambda rows: [to(row) for row in rows])

    def stored_with(
        self, request: Request, found: "QuerySet[Any]", to: Callable[[Sequence[Any]], Sequence[Item]]
    ) -> Item:
        """The page of these rows, where what an item needs is read for all of them at once."""
        order, limit = self.order(request), parse_limit(request.query_params.get("limit"))
        columns, down = self.sorts[order.removeprefix("-")], order.startswith("-")
        for name, one in self.filters.items():
            if one.where and (value := one.value(request, name)) is not None:
                found = found.filter(**{one.where: value})
        if after := self._after(request, order):
            found = found.filter(beyond(found.model, columns, after, down))
        by = [F(column).desc() if down else F(column).asc() for column in columns]
        rows = list(found.order_by(*by)[: limit + 1])
        more = cursor(order, [along(rows[limit - 1], column) for column in columns]) if len(rows) > limit else None
        return page(self.chosen(request, to(rows[:limit])), more)

    def made(self, request: Request, items: Iterable[Item]) -> Item:
        """The page of items that are all there already; few, and not of the database as they are."""
        order, limit = self.order(request), parse_limit(request.query_params.get("limit"))
        names, down = self.sorts[order.removeprefix("-")], order.startswith("-")
        wanted = {one.where: value.casefold() for name, one in self.filters.items()
                  if (value := one.value(request, name)) is not None}  # fmt: skip
        found = sorted(
            (one for one in items if all(str(one[name]).casefold() == value for name, value in wanted.items())),
            key=lambda one: [one[name] for name in names], reverse=down,
        )  # fmt: skip
        if after := self._after(request, order):
            found = list(later(found, names, after, down))
        rows = list(islice(found, limit))
        more = cursor(order, [rows[-1][name] for name in names]) if len(found) > limit else None
        return page(self.chosen(request, rows), more)

    def chosen(self, request: Request, items: Iterable[Item]) -> list[Item]:
        """The items, with the members that were asked for."""
        return only(fields_in(request, self.shape), items)

    def _after(self, request: Request, order: str) -> list[Any] | None:
        text = request.query_params.get("after")
        if not text:
            return None
        given, *values = decode_cursor(text) or refuse_cursor()
        if given != order or len(values) != len(self.sorts[order.removeprefix("-")]):
            raise InvalidArgument.of("after", "is not a cursor that this list gave out in this order")
        return values


def FIELDS(shape: type[serializers.Serializer[Any]]) -> OpenApiParameter:  # noqa: N802
    return OpenApiParameter("fields", enum=list(shape().fields), many=True, explode=False,
                            description="Only these members of each item, separated by commas.")  # fmt: skip


def fields_in(request: Request, shape: type[serializers.Serializer[Any]] | None) -> list[str] | None:
    """The members that were asked for; None: all of them."""
    text = request.query_params.get("fields")
    if text is None or shape is None:
        return None
    names, known = list(dict.fromkeys(text.split(","))), shape().fields
    if wrong := [name for name in names if name not in known]:
        raise InvalidArgument.of("fields", f"must be some of {', '.join(known)}; {wrong[0][:100]!r} is none of them")
    return names


def only(names: list[str] | None, items: Iterable[Item]) -> list[Item]:
    return list(items) if names is None else [{name: one[name] for name in names if name in one} for one in items]


def sparse(shape: type[serializers.Serializer[Any]]) -> type[serializers.Serializer[Any]]:
    """The shape of items whose members may be chosen: any of them may be missing."""
    members: dict[str, Any] = {name: deepcopy(one) for name, one in shape._declared_fields.items()}
    for one in members.values():
        one._kwargs = {**one._kwargs, "required": False}  # DRF makes the field anew from these
    return type(f"Some{shape.__name__}", (shape,), {"__doc__": shape.__doc__, **members})


def cursor(order: str, values: Sequence[Any]) -> str:
    return encode_cursor([order, *(_plain(value) for value in values)])


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, int | float | str) else str(value)


def along(row: Any, column: str) -> Any:
    return reduce(getattr, column.split("__"), row)


def beyond(model: type[Model], columns: Sequence[str], values: Sequence[Any], down: bool) -> Q:
    """Rows that come after the place: later in one column, and the same in those before it."""
    places = [read(column_of(model, column), value) for column, value in zip(columns, values, strict=True)]
    found, same = Q(), Q()
    for column, place in zip(columns, places, strict=True):
        found |= same & Q(**{f"{column}__{'lt' if down else 'gt'}": place})
        same &= Q(**{column: place})
    return found


def column_of(model: type[Model], path: str) -> "Field[Any, Any]":
    *before, name = path.split("__")
    for step in before:
        model = model._meta.get_field(step).related_model  # type: ignore[assignment]
    meta = model._meta
    return meta.pk if name == "pk" else meta.get_field(name)  # type: ignore[return-value]


def read(column: "Field[Any, Any]", value: Any) -> Any:
    """The value of a cursor as the column has it."""
    try:
        found = column.to_python(value) if isinstance(value, int | float | str) else refuse_cursor()
        return found.astimezone(UTC) if isinstance(found, datetime) and found.tzinfo else _aware(found)
    except (ValidationError, ValueError, TypeError, OverflowError):
        refuse_cursor()


def _aware(value: Any) -> Any:
    return refuse_cursor() if isinstance(value, datetime) or value is None else value


def later(items: Iterable[Item], names: Sequence[str], after: Sequence[Any], down: bool) -> Iterable[Item]:
    try:
        for one in items:
            place = [one[name] for name in names]
            if (place < list(after)) if down else (place > list(after)):
                yield one
    except TypeError:
        refuse_cursor()
