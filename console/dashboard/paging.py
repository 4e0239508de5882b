"""Pages of long tables. The place in the table lives in the address, beside the filters."""

from typing import Any, TypeVar

from django.core.paginator import Page, Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest

M = TypeVar("M", bound=Model)


def paged(request: HttpRequest, rows: "QuerySet[M]", size: int) -> "Page[M]":
    """The page that `?page=` names, the nearest there is otherwise; two queries."""
    return Paginator(rows, size).get_page(request.GET.get("page"))


def with_query(request: HttpRequest, **changes: Any) -> str:
    """The address's query with these changes; None takes a key out."""
    query = request.GET.copy()
    for name, value in changes.items():
        if value is None:
            query.pop(name, None)
        else:
            query[name] = str(value)
    return "?" + query.urlencode()
