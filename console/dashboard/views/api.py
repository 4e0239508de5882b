"""The description of both APIs: for programs, and as a page that needs nothing from elsewhere."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import etag, require_safe

from console.dashboard.access import member_page
from console.dashboard.api_description import groups, schema_text


@require_safe
@etag(lambda request: schema_text()[1])
def schema(request: HttpRequest) -> HttpResponse:
    """OpenAPI 3.1 as JSON. For everybody: it says what there is, and nothing of what is in it."""
    return HttpResponse(schema_text()[0], content_type="application/json")


@require_safe
@member_page
def docs(request: HttpRequest) -> HttpResponse:
    return render(request, "api.html", {"groups": groups()})
