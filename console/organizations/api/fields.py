"""Serializer fields with protobuf's JSON forms: integers may be strings, times are RFC 3339, text has no NUL."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from django.utils.dateparse import parse_datetime
from rest_framework import serializers
from rest_framework.request import Request

from console.common.errors import InvalidArgument
from console.organizations.api.errors import snake_case

UINT32 = 2**32 - 1
WHOLE = re.compile(r"-?[0-9]{1,20}(\.0+)?")


class UInt32Field(serializers.Field[int, Any, int, Any]):
    """A whole number of 32 bits; `"16"` and `16.0` are 16, as in protobuf's JSON."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int | float | str) or not WHOLE.fullmatch(str(data)):
            raise serializers.ValidationError("must be a whole number")
        value = int(str(data).split(".")[0])
        if not 0 <= value <= UINT32:
            raise serializers.ValidationError(f"must be from 0 to {UINT32}; it is {value}")
        return value

    def to_representation(self, value: int) -> int:
        return value


class TextField(serializers.CharField):
    """Text exactly as sent: nothing is trimmed, and a number is not text."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("trim_whitespace", False)
        kwargs.setdefault("allow_blank", True)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("must be a string")
        return super().to_internal_value(data)


class EnumField(serializers.Field[str, Any, str, Any]):
    """An enum's name, or its number; which ones are accepted is for the rules to say. `names` and `numbers` describe them."""

    def __init__(self, names: Sequence[str] = (), numbers: Sequence[int] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.names, self.numbers = tuple(names), tuple(numbers)

    def to_internal_value(self, data: Any) -> str:
        if isinstance(data, bool) or not isinstance(data, str | int) or len(str(data)) > 100:
            raise serializers.ValidationError("must be the name of an enum value")
        return str(data)

    def to_representation(self, value: str) -> str:
        return value


class FlagField(serializers.Field[bool, Any, bool, Any]):
    """True or false, and nothing that only looks like it."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("must be true or false")
        return data

    def to_representation(self, value: bool) -> bool:
        return value


def checked(serializer: Any) -> dict[str, Any]:
    """What the serializer makes of its data; its errors are InvalidArgument by the handler of exceptions."""
    serializer.is_valid(raise_exception=True)
    data: dict[str, Any] = serializer.validated_data
    return data


def rfc3339(at: datetime | None) -> str | None:
    """A time in UTC as the API writes it; null where there is none."""
    return at.isoformat().replace("+00:00", "Z") if at else None


def query_time(request: Request, name: str, default: datetime | None = None) -> datetime | None:
    """The RFC 3339 time in the query parameter `name`; InvalidArgument when it is something else."""
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        # A plus sign that was not escaped arrives as a space.
        parsed = parse_datetime(text.strip().replace(" ", "+"))
    except ValueError:
        parsed = None
    try:
        # PostgreSQL knows no offsets of more than 16 hours, RFC 3339 does.
        return parsed.astimezone(UTC) if parsed and parsed.tzinfo else refuse_time(name)
    except OverflowError:
        return refuse_time(name)


def refuse_time(name: str) -> NoReturn:
    raise InvalidArgument.of(snake_case(name), "must be a time such as 2026-11-24T10:00:00Z")
