"""What an address answers that nothing serves: the API's error body below the API, a page elsewhere."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from console.common.errors import body_of

API = ("/v1alpha1/", "/api/")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith(API):
        return JsonResponse(body_of(5, f"There is nothing at {request.path}."), status=404)
    return render(request, "404.html", status=404)


def fault(request: HttpRequest) -> HttpResponse:
    if request.path.startswith(API):
        return JsonResponse(body_of(13, "Internal error."), status=500)
    # Without the request: what goes around a page asks the database, which may be what is wrong.
    return HttpResponse(render_to_string("500.html"), status=500)
