"""One handler turns every refusal, of the domain or of the framework, into API.md's error body."""

import logging
import re
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import RequestDataTooBig
from django.db import OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from console.common.errors import (
    DATABASE_AWAY,
    FieldViolation,
    InvalidArgument,
    Refusal,
    ResourceExhausted,
    Unavailable,
    body_of,
)

log = logging.getLogger(__name__)

# Where no refusal of the domain stands behind an answer: HTTP status -> gRPC code (API.md "Errors").
CODES = {
    400: 3,
    401: 16,
    403: 7,
    404: 5,
    405: 12,
    406: 3,
    409: 6,
    412: 9,
    413: 3,
    415: 3,
    429: 8,
    501: 12,
    503: 14,
}


def refusal_of(error: Exception) -> Refusal | None:
    """What the caller is told, whatever the protocol; None where no refusal stands behind the error."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, exceptions.ValidationError):
        return InvalidArgument(list(violations_of(error.detail)))
    if isinstance(error, exceptions.ParseError):
        return InvalidArgument.of("body", f"cannot be read: {error.detail}")
    if isinstance(error, OperationalError):
        log.error("the database could not serve a request", exc_info=error)
        return Unavailable(DATABASE_AWAY)
    return None


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response:
    """The answer to anything that went wrong while a request was served."""
    refusal = refusal_of(error)
    if refusal is None:
        return framework_answer(error) or fault(error, context)
    set_rollback()
    response = Response(refusal.body(), status=refusal.http_status)
    if refusal.http_status == 401:
        response["WWW-Authenticate"] = "Bearer"
    if isinstance(refusal, ResourceExhausted):
        response["Retry-After"] = str(refusal.whole_seconds)
    return response


class TooLarge(exceptions.APIException):
    status_code = 413
    default_detail = "The body has more than 1 MiB."


def framework_answer(error: Exception) -> Response | None:
    if isinstance(error, Http404):
        error = exceptions.NotFound("There is nothing at this address.")
    elif isinstance(error, RequestDataTooBig):
        error = TooLarge()
    elif isinstance(error, DjangoPermissionDenied):
        error = exceptions.PermissionDenied()
    if not isinstance(error, exceptions.APIException):
        return None
    set_rollback()
    response = Response(body_of(CODES.get(error.status_code, 2), str(error.detail)), status=error.status_code)
    if error.status_code == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def fault(error: Exception, context: Mapping[str, Any]) -> Response:
    """A defect of ours: the log gets everything, the client a number to report."""
    request_id = getattr(context.get("request"), "request_id", "unknown")
    log.error("request %s failed", request_id, exc_info=error)
    set_rollback()
    return Response(body_of(13, f"Internal error; report it with request id {request_id}."), status=500)


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match[1].lower(), name)


def violations_of(detail: Any, path: str = "") -> list[FieldViolation]:
    """Field violations with snake_case paths (`resources.zones[0]`) from a serializer's nested errors."""
    if isinstance(detail, Mapping):
        return [row for name, inner in detail.items() for row in violations_of(inner, joined(path, str(name)))]
    if isinstance(detail, list) and any(isinstance(inner, Mapping | list) for inner in detail):
        return [row for i, inner in enumerate(detail) if inner for row in violations_of(inner, f"{path}[{i}]")]
    texts = detail if isinstance(detail, list) else [detail]
    return [FieldViolation(path or "body", str(text)) for text in texts]


def joined(path: str, name: str) -> str:
    if name == "non_field_errors":
        return path
    if name.isdigit():
        return f"{path}[{name}]"
    return f"{path}.{snake_case(name)}" if path else snake_case(name)
