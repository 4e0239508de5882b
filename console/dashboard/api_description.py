"""The description of both APIs (OpenAPI 3.1), and the same for people."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

from drf_spectacular.generators import SchemaGenerator

Schema = Mapping[str, Any]
DEEPEST = 4  # members of members that are shown


@dataclass(frozen=True)
class Field:
    """A parameter, or a member of a body by its path: `resources.zones[]`."""

    name: str
    type: str
    required: bool
    text: str
    place: str = ""


@dataclass(frozen=True)
class Answer:
    status: str
    text: str
    fields: list[Field]
    example: str


@dataclass(frozen=True)
class Operation:
    id: str
    method: str
    path: str
    text: str
    parameters: list[Field]
    body: list[Field]
    example: str
    answers: list[Answer]
    refusals: list[Answer]


@dataclass(frozen=True)
class Group:
    title: str
    operations: list[Operation]


@cache
def api_schema() -> dict[str, Any]:
    """Made once a process: the code does not change under it."""
    found: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return found


@cache
def schema_text() -> tuple[str, str]:
    """The description as JSON, and its ETag."""
    text = json.dumps(api_schema())
    return text, f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


@cache
def groups() -> list[Group]:
    """What the page shows: the vendor's API first, each by the first word of its addresses."""
    found = [
        (operation["tags"][0], operation_of(path, method, operation))
        for path, item in api_schema()["paths"].items()
        for method, operation in item.items()
    ]
    found.sort(key=lambda pair: (not pair[0].startswith("Inference"), pair[0]))
    return [Group(tag, [one for _, one in rows]) for tag, rows in groupby(found, key=lambda pair: pair[0])]


def operation_of(path: str, method: str, operation: Schema) -> Operation:
    content: Schema = next(iter(operation.get("requestBody", {}).get("content", {}).values()), {})
    answers = [answer_of(status, one) for status, one in operation["responses"].items()]
    return Operation(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        text=operation["description"],
        parameters=[parameter_of(one) for one in operation.get("parameters", [])],
        body=list(fields_of(content.get("schema", {}))),
        example=example_of(content),
        answers=[one for one in answers if one.status < "300"],
        refusals=[one for one in answers if one.status >= "300"],
    )


def answer_of(status: str, response: Schema) -> Answer:
    content: Schema = next(iter(response.get("content", {}).values()), {})
    shown = list(fields_of(content.get("schema", {}))) if status < "300" else []
    return Answer(status, response.get("description", ""), shown, example_of(content))


def parameter_of(one: Schema) -> Field:
    schema = one["schema"]
    return Field(one["name"], type_of(schema), one.get("required", False), one.get("description", ""), one["in"])


def example_of(content: Schema) -> str:
    for one in content.get("examples", {}).values():
        return json.dumps(one["value"], indent=2, ensure_ascii=False)
    return ""


def fields_of(schema: Schema, path: str = "", depth: int = 0) -> Iterator[Field]:
    """The members of an object and of what is in it, each with its path."""
    shape = resolved(schema)
    for member in (one for name in ("oneOf", "anyOf", "allOf") for one in shape.get(name, ())):
        yield from fields_of(member, path, depth)
    if shape.get("type") == "array":
        yield from fields_of(shape["items"], path + "[]", depth)
    if depth == DEEPEST:
        return
    needed = shape.get("required", ())
    for name, inner in shape.get("properties", {}).items():
        named = f"{path}.{name}" if path else name
        yield Field(named, type_of(inner), name in needed, inner.get("description", ""))
        yield from fields_of(inner, named, depth + 1)


def resolved(schema: Schema) -> Schema:
    if "$ref" not in schema:
        return schema
    found: Schema = api_schema()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def type_of(schema: Schema) -> str:
    """In a few words: `integer`, `one of A, B`, `list of string`."""
    if "enum" in schema:
        return "one of " + ", ".join("null" if one is None else str(one) for one in schema["enum"])
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(type_of(one) for one in choices))
    shape = resolved(schema.get("allOf", [schema])[0])
    kind = shape.get("type", "anything")
    names = [kind] if isinstance(kind, str) else list(kind)
    if "array" in names:
        return f"list of {type_of(shape['items'])}"
    return " or ".join(shape.get("format", name) if name == "string" else name for name in names)
