"""Refusals of the domain, each with its gRPC code, HTTP status and typed details (API.md "Errors").

A service raises one of these before it has changed anything; one handler per protocol turns it into an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar

TYPE = "type.googleapis.com/google.rpc."


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that cannot be accepted: its snake_case path (`resources.instance_count`) and why."""

    field: str
    description: str


class Refusal(Exception):
    """Base of everything a caller can be told. `retryable` says whether the same request may succeed later."""

    code: ClassVar[int] = 2
    name: ClassVar[str] = "UNKNOWN"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def details(self) -> list[dict[str, Any]]:
        return []

    def body(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "details": self.details()}


class InvalidArgument(Refusal):
    """The request itself is wrong, whatever the state of the system."""

    code, name, http_status = 3, "INVALID_ARGUMENT", 400

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in self.violations))

    @classmethod
    def of(cls, field: str, description: str) -> InvalidArgument:
        return cls([FieldViolation(field, description)])

    def details(self) -> list[dict[str, Any]]:
        rows = [{"field": v.field, "description": v.description} for v in self.violations]
        return [{"@type": TYPE + "BadRequest", "fieldViolations": rows}]


class Unauthenticated(Refusal):
    code, name, http_status = 16, "UNAUTHENTICATED", 401


class PermissionDenied(Refusal):
    code, name, http_status = 7, "PERMISSION_DENIED", 403


class _ResourceRefusal(Refusal):
    def __init__(self, resource_type: str, resource_name: str, message: str) -> None:
        super().__init__(message)
        self.resource_type, self.resource_name = resource_type, resource_name

    def details(self) -> list[dict[str, Any]]:
        info = {
            "resourceType": self.resource_type,
            "resourceName": self.resource_name,
            "description": self.message,
        }
        return [{"@type": TYPE + "ResourceInfo", **info}]


class NotFound(_ResourceRefusal):
    """Also the answer for an object of another organization."""

    code, name, http_status = 5, "NOT_FOUND", 404

    def __init__(self, resource_type: str, resource_name: object) -> None:
        super().__init__(resource_type, str(resource_name), f"{resource_type} {resource_name} was not found.")


class AlreadyExists(_ResourceRefusal):
    code, name, http_status = 6, "ALREADY_EXISTS", 409

    def __init__(self, resource_type: str, resource_name: object, what: str = "id") -> None:
        text = f"A {resource_type} with {what} {resource_name} exists already; choose another {what}."
        super().__init__(resource_type, str(resource_name), text)


@dataclass(frozen=True, slots=True)
class QuotaNumbers:
    """The numbers of a quota refusal: the subject (`gb200-4x in US-WEST-04A`) and the counts, in instances."""

    subject: str
    requested: int
    limit: int
    other_usage: int
    committed: int

    @property
    def free(self) -> int:
        return max(0, self.limit - self.other_usage - self.committed)


class FailedPrecondition(Refusal):
    """Right in itself, refused by the present state; the same request may succeed once that has changed."""

    code, name, http_status, retryable = 9, "FAILED_PRECONDITION", 412, True

    def __init__(self, kind: str, subject: str, description: str, quota: QuotaNumbers | None = None) -> None:
        super().__init__(description)
        self.kind, self.subject, self.quota = kind, subject, quota

    def details(self) -> list[dict[str, Any]]:
        violation = {"type": self.kind, "subject": self.subject, "description": self.message}
        rows: list[dict[str, Any]] = [{"@type": TYPE + "PreconditionFailure", "violations": [violation]}]
        if self.quota:
            quota = {"subject": self.quota.subject, "description": self.message}
            rows.append({"@type": TYPE + "QuotaFailure", "violations": [quota]})
        return rows


class ResourceExhausted(Refusal):
    """Rate limits only: clients repeat it up to ten times, so nothing a user must mend may use it."""

    code, name, http_status, retryable = 8, "RESOURCE_EXHAUSTED", 429, True

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    @property
    def whole_seconds(self) -> int:
        """What `Retry-After` says."""
        return max(1, ceil(self.retry_after_s))

    def details(self) -> list[dict[str, Any]]:
        return [{"@type": TYPE + "RetryInfo", "retryDelay": f"{self.retry_after_s:.3f}s"}]


class Unavailable(Refusal):
    code, name, http_status, retryable = 14, "UNAVAILABLE", 503, True


DATABASE_AWAY = "The database could not serve this request; try again in a moment."


def body_of(code: int, message: str, details: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """An error body where no refusal of the domain stands behind it (a verb not allowed, a fault)."""
    return {"code": code, "message": message, "details": list(details)}
