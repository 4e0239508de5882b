"""Bodies as JSON that has an end: what is nested beyond reason is refused before anything works on it, and so is what is
compressed, which nothing here unpacks."""

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import JSONParser
from rest_framework.request import Request

DEEPEST = 32
TOO_DEEP = f"it is nested in more than {DEEPEST} levels"


class JsonParser(JSONParser):
    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        refuse_encoding(parser_context["request"] if parser_context else None)
        try:
            found = super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError(TOO_DEEP) from error
        if is_deep(found):
            raise ParseError(TOO_DEEP)
        return found


def refuse_encoding(request: Request | None) -> None:
    encoding = request.headers.get("Content-Encoding", "identity") if request else "identity"
    if encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType(
            encoding, "Bodies are taken as they are, not compressed: leave out Content-Encoding."
        )


def is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [inner for one in level for inner in inside(one)]
        if not level:
            return False
    return True


def inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
