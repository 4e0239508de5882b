"""Every request has an id: the caller's `X-Request-ID` when it is sane, else a new one. Logs and audit carry it."""

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from console.common.ids import new_id

SANE = re.compile(r"[A-Za-z0-9._-]{8,100}")


class RequestIdMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.request_id = request_id_of(request)  # type: ignore[attr-defined]
        response = self.get_response(request)
        response["X-Request-ID"] = request.request_id  # type: ignore[attr-defined]
        return response


def request_id_of(request: HttpRequest) -> str:
    return sane_request_id(request.headers.get("X-Request-ID", ""))


def sane_request_id(given: str) -> str:
    """The caller's own when it is sane, else a new one."""
    return given if SANE.fullmatch(given) else str(new_id())
