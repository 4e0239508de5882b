"""Every address of both APIs, with its view."""

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

ROOTS = ("v1alpha1/inference/", "api/v1/")


def api_views() -> Iterator[tuple[str, Any]]:
    for path, pattern in patterns(get_resolver().url_patterns):
        if path.startswith(ROOTS):
            yield path, pattern.callback.view_class  # type: ignore[attr-defined]


def patterns(entries: list[Any], before: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in entries:
        path = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from patterns(entry.url_patterns, path)
        else:
            yield path, entry
