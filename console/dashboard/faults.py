"""What an address answers that nothing serves: the API's error body below the API, a page elsewhere."""

import sys

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from console.common.errors import DATABASE_AWAY, Unavailable, body_of

API = ("/v1alpha1/", "/api/")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith(API):
        return JsonResponse(body_of(5, f"There is nothing at {request.path}."), status=404)
    return render(request, "404.html", status=404)


def fault(request: HttpRequest) -> HttpResponse:
    """What went wrong is being handled: 503 where the database could not serve the request, else 500."""
    away = isinstance(sys.exc_info()[1], OperationalError)
    if request.path.startswith(API):
        return JsonResponse(Unavailable(DATABASE_AWAY).body() if away else body_of(13, "Internal error."),
                            status=503 if away else 500)  # fmt: skip
    # Without the request: what goes around a page asks the database, which may be what is wrong.
    return HttpResponse(render_to_string("503.html" if away else "500.html"), status=503 if away else 500)
