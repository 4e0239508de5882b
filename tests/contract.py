"""Every answer of both APIs that a test sees is what the description says: its status, and its body member by member."""

import re
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from console.dashboard.api_description import api_schema
from tests.api.addresses import ROOTS


def conforms(method: str, path: str, answer: Any) -> None:
    """Fails where the answer is not described; addresses that are nothing are left alone."""
    found = operations_at(path) if path.startswith(tuple("/" + root for root in ROOTS)) else None
    if found is None or method in ("OPTIONS", "HEAD"):
        return
    template, operations = found
    said = f"{method} {template} -> {answer.status_code}"
    if method.lower() not in operations:
        assert answer.status_code in (401, 405), f"{said}, which is not described"
        return
    responses = operations[method.lower()]["responses"]
    assert str(answer.status_code) in responses, f"{said}, which is not described: {answer.content[:500]!r}"
    content = responses[str(answer.status_code)].get("content", {})
    if not content:
        assert answer.content == b"", f"{said} has a body, which is not described"
        return
    assert answer["Content-Type"].split(";")[0] in content, f"{said} is {answer['Content-Type']}"
    if "application/json" in content:
        wrong = list(validator(template, method.lower(), str(answer.status_code)).iter_errors(answer.json()))
        assert not wrong, f"{said}: {[(error.json_path, error.message[:300]) for error in wrong[:3]]}"


@cache
def templates() -> list[tuple[re.Pattern[str], str]]:
    """Addresses as patterns; a literal word wins over one in braces."""
    paths = sorted(api_schema()["paths"], key=lambda path: (path.count("{"), path))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in paths]


def operations_at(path: str) -> tuple[str, dict[str, Any]] | None:
    for pattern, template in templates():
        if pattern.fullmatch(path):
            return template, api_schema()["paths"][template]
    return None


@cache
def validator(template: str, method: str, status: str) -> Draft202012Validator:
    content = api_schema()["paths"][template][method]["responses"][status]["content"]
    schema = content["application/json"]["schema"]
    return Draft202012Validator({**closed(schema), "components": closed(api_schema()["components"])})


def closed(schema: Any) -> Any:
    """The same, with no room for members that are not described."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {name: closed(one) for name, one in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        inside.setdefault("additionalProperties", False)
    return inside
