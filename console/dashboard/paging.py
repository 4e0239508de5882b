"""Pages of long tables. The place in the table lives in the address, beside the filters."""

from typing import TypeVar

from django.core.paginator import Page, Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest

M = TypeVar("M", bound=Model)


def paged(request: HttpRequest, rows: "QuerySet[M]", size: int) -> "Page[M]":
    """The page that `?page=` names, the nearest there is otherwise; two queries."""
    return Paginator(rows, size).get_page(request.GET.get("page"))
