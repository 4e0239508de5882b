"""How both APIs are described as OpenAPI: who may call, what every endpoint can be refused with, and the parameters that
many share.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from console.common.errors import TYPE
from console.organizations.api.fields import UINT32, EnumField, FlagField, UInt32Field
from console.organizations.api.idempotency import HEADER

AFTER = OpenApiParameter("after", description="`nextCursor` of the page before.")
LIMIT = OpenApiParameter(
    "limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}, description="Most items of a page."
)
PAGING = [AFTER, LIMIT]
KEY = OpenApiParameter(
    HEADER, {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[ -~]+$"}, OpenApiParameter.HEADER,
    description="Makes the request safe to send again: for 24 hours the same key of the same token is answered as the "
                "first time, with `Idempotency-Replayed: true`, and nothing is done. With another request it is refused.",
)  # fmt: skip
IF_MATCH = OpenApiParameter(
    "If-Match", {"type": "string", "pattern": r'^(\*|(W/)?"[!#-~]*"(\s*,\s*(W/)?"[!#-~]*")*)$'}, OpenApiParameter.HEADER,
    description="The `ETag` that was read, or `*`. Where the thing is another by now, nothing is changed: 412, with the type "
                "ETAG in its PreconditionFailure.",
)  # fmt: skip
ETAG = OpenApiParameter(
    "ETag", OpenApiTypes.STR, OpenApiParameter.HEADER, response=[200, 202],
    description="Stands for all that can be changed, and not for what is computed beside it. For `If-Match`.",
)  # fmt: skip
WRITES = {"POST", "PUT", "PATCH", "DELETE"}
BODIES = {"POST", "PUT", "PATCH"}
# What stands in the addresses after these words.
IN_PATHS = {
    "capacityclaims": (OpenApiTypes.UUID, "Id of the capacity claim."),
    "claims": (OpenApiTypes.UUID, "Id of the capacity claim."),
    "deployments": (OpenApiTypes.UUID, "Id of the deployment."),
    "gateways": (OpenApiTypes.UUID, "Id of the gateway."),
    "backtests": (OpenApiTypes.UUID, "Id of the backtest."),
    "holds": (OpenApiTypes.UUID, "Id of the hold."),
    "windows": (OpenApiTypes.UUID, "Id of the window."),
    "webhooks": (OpenApiTypes.UUID, "Id of the webhook."),
    "notifications": (OpenApiTypes.UUID, "Id of the notification."),
    "quota-requests": (OpenApiTypes.UUID, "Id of the request."),
    "tokens": (OpenApiTypes.UUID, "Id of the token."),
    "members": (OpenApiTypes.STR, "Sign-in name of the member."),
    "schedules": (OpenApiTypes.UUID, "Id of the schedule window."),
    "decisions": (OpenApiTypes.INT64, "Id of the decision."),
    "deliveries": (OpenApiTypes.INT64, "Id of the delivery."),
    "replicas": (OpenApiTypes.INT64, "Id of the replica."),
    "statements": (OpenApiTypes.STR, "A month such as 2026-11."),
    "instances": (OpenApiTypes.STR, "Name of the instance."),
    "capacity": (OpenApiTypes.STR, "Name of the zone, in any case of letters."),
}


class Shape(serializers.Serializer):  # type: ignore[type-arg]
    """What an answer looks like; it only describes."""


class Page(Shape):
    """A page of a list; subclasses say `items`."""

    nextCursor = serializers.CharField(allow_null=True, help_text="`after` of the next page; null: this is the last.")


class DetailsField(serializers.ListField):
    """`details` of an error; each names its type."""


class DetailsFieldSchema(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = DetailsField

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        one = {"type": "object", "properties": {"@type": {"type": "string"}}, "required": ["@type"],
               "additionalProperties": {}}  # fmt: skip
        return {"type": "array", "items": one}


class ErrorShape(Shape):
    """What every refusal says."""

    code = serializers.IntegerField(help_text="Number of the gRPC code.")
    message = serializers.CharField(help_text="For people.")
    details = DetailsField(help_text="For programs: objects of google.rpc, each with its `@type`.")


@dataclass(frozen=True)
class Refused:
    """One way to be refused: its code of gRPC, what it means, and an example of its message and details."""

    code: int
    why: str
    message: str
    details: tuple[Mapping[str, Any], ...] = ()

    def response(self) -> OpenApiResponse:
        value = {"code": self.code, "message": self.message, "details": list(self.details)}
        return OpenApiResponse(
            ErrorShape, description=self.why, examples=[OpenApiExample("Refused", value, response_only=True)]
        )


def detail(name: str, **members: Any) -> dict[str, Any]:
    return {"@type": TYPE + name, **members}


_QUOTA = "gb200-4x in US-WEST-04A: 3 more instances were asked for and 1 is free."
_CLAIM = "CapacityClaim 0198c0de-0000-7000-8000-000000000000"
REFUSED = {
    400: Refused(3, "INVALID_ARGUMENT: the request is wrong, whatever the state of the system.",
                 "resources.instance_count: must be at least 1",
                 (detail("BadRequest", fieldViolations=[
                     {"field": "resources.instance_count", "description": "must be at least 1"}]),)),
    401: Refused(16, "UNAUTHENTICATED: no token, or one that is unknown, expired or revoked.",
                 "The token is unknown, expired or revoked."),
    403: Refused(7, "PERMISSION_DENIED: the role does not allow it.", "This needs the role admin; token ci has viewer."),
    404: Refused(5, "NOT_FOUND: there is no such thing, or it is another organization's.", f"{_CLAIM} was not found.",
                 (detail("ResourceInfo", resourceType="CapacityClaim", resourceName=_CLAIM.split()[1],
                         description=f"{_CLAIM} was not found."),)),
    409: Refused(6, "ALREADY_EXISTS: the id or the name is taken.", "A Gateway with name edge exists already.",
                 (detail("ResourceInfo", resourceType="Gateway", resourceName="edge",
                         description="A Gateway with name edge exists already."),)),
    412: Refused(9, "FAILED_PRECONDITION: the present state forbids it; it may succeed later. A lack of quota names it.",
                 _QUOTA,
                 (detail("PreconditionFailure", violations=[
                     {"type": "QUOTA", "subject": "gb200-4x in US-WEST-04A", "description": _QUOTA}]),
                  detail("QuotaFailure", violations=[{"subject": "gb200-4x in US-WEST-04A", "description": _QUOTA}]))),
    413: Refused(3, "INVALID_ARGUMENT: the body has more than 1 MiB.", "The body has more than 1 MiB."),
    415: Refused(3, "INVALID_ARGUMENT: the body is not `application/json`, or it is compressed.",
                 'Unsupported media type "text/plain" in request.'),
    429: Refused(8, "RESOURCE_EXHAUSTED: the token calls too often; `Retry-After` says in how many seconds to call again. "
                    "Nothing else is a 429.",
                 "This token may call 500 times a second; call again in a moment.",
                 (detail("RetryInfo", retryDelay="0.002s"),)),
    500: Refused(13, "INTERNAL: a defect of the server, to be reported with the request id.",
                 "Internal error; report it with request id 0198c0de-0000-7000-8000-000000000000."),
    503: Refused(14, "UNAVAILABLE: the database is away for a moment; try again.",
                 "The database could not serve this request; try again in a moment."),
}  # fmt: skip


class ApiSchema(AutoSchema):
    """One operation, with what all have in common. Endpoints say the rest with `extend_schema`."""

    def get_tags(self) -> list[str]:
        """The first word of the address: `capacityclaims`, `usage`."""
        words = [word for word in self.path.split("/") if word]
        return ["Inference API: " + words[2] if words[0] == "v1alpha1" else words[2]]

    def get_override_parameters(self) -> list[Any]:
        own = [KEY] if self.method == "POST" else []
        own += [IF_MATCH] if self._is("heeds_if_match") else []
        own += [ETAG] if self._is("shows_tag") or (self._is("heeds_if_match") and self.method != "DELETE") else []
        return [*own, *self._in_path()]

    def _is(self, what: str) -> bool:
        return hasattr(getattr(self.view, self.method.lower()), what)

    def _in_path(self) -> list[OpenApiParameter]:
        found = []
        for before, word in pairwise(self.path.split("/")):
            if word.startswith("{") and before in IN_PATHS:
                type_, text = IN_PATHS[before]
                found.append(OpenApiParameter(word.strip("{}"), type_, OpenApiParameter.PATH, description=text))
        return found

    def _get_response_bodies(self, direction: str = "response") -> dict[str, Any]:
        """What is not said to be a 201 or a 204 is a 200, a DELETE too; and every refusal there can be."""
        given = self.get_response_serializers()
        answers: dict[Any, Any] = dict(given) if isinstance(given, dict) else {200: given}
        answers |= {code: REFUSED[code].response() for code in self._refusals() if code not in answers}
        found = {}
        for code, serializer in answers.items():
            status, *media_types = code if isinstance(code, tuple) else (code,)
            found[str(status)] = self._get_response_for_code(  # type: ignore[no-untyped-call]
                serializer, str(status), media_types=media_types or None, direction=direction
            )
        return found

    def _refusals(self) -> list[int]:
        parameters = self._process_override_parameters()  # type: ignore[no-untyped-call]
        queried = any(one["in"] == "query" for one in parameters.values() if one)
        asked = queried or self.method in BODIES or "{" in self.path or self._is("heeds_if_match")
        found = {
            400: asked, 401: True, 403: True, 404: "{" in self.path or self.operation_id in NAME_OTHERS, 409: self.operation_id in CHOOSE_IDS,
            412: self.method in WRITES or self.operation_id in NEED_PRICES, 413: self.method in BODIES,
            415: self.method in BODIES, 429: True, 500: True, 503: True,
        }  # fmt: skip
        return [code for code, possible in found.items() if possible]

    @property
    def operation_id(self) -> str:
        return self.get_operation_id()


# Creations of what has an id that the client may choose, or a name that is taken.
CHOOSE_IDS = {"CreateCapacityClaim", "CreateClaim", "CreateDeployment", "CreateGateway"}
# Creations whose body names something else, which may not be there.
NAME_OTHERS = {"CreateHold", "CreateBacktest"}
# Reads that are refused where something used has no price.
NEED_PRICES = {"GetUsage", "ListStatements", "GetStatement", "ExportFocus"}


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "console.organizations.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A token of the console's page API tokens or "
                "of `manage.py createtoken`."}  # fmt: skip


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "console.organizations.api.authentication.MemberAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "The console's own pages: a signed-in "
                "person; what writes needs the CSRF token as well."}  # fmt: skip


class UInt32Schema(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """A number; in a request also a string of digits, as in protobuf's JSON."""

    target_class = UInt32Field

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        number = {"type": "integer", "minimum": 0, "maximum": UINT32}
        if direction == "response":
            return number
        return {"anyOf": [number, {"type": "string", "pattern": r"^[0-9]{1,10}(\.0+)?$"}]}


class FlagSchema(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = FlagField

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return {"type": "boolean"}


class EnumSchema(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """The name of a value; in a request also its number."""

    target_class = EnumField

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        names = {"type": "string", "enum": list(self.target.names)} if self.target.names else {"type": "string"}
        numbers = self.target.numbers
        if direction == "response" or not numbers:
            return names
        return {"anyOf": [names, {"type": "integer", "enum": list(numbers)},
                          {"type": "string", "enum": [str(one) for one in numbers]}]}  # fmt: skip


def both_apis(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """What the description is of, in order of address."""
    return [one for one in endpoints if one[0].startswith(("/v1alpha1/inference/", "/api/v1/"))]
