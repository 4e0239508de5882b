"""Bodies that no client of JSON sends, to everything that takes one: the right refusal, and nothing stored."""

import gzip
import json
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from django.apps import apps

from console.dashboard.api_description import api_schema
from tests.api.test_generated import things
from tests.cast import Cast

pytestmark = pytest.mark.django_db

JSON = "application/json"
OURS = ("claims", "deployments", "organizations", "notifications", "dashboard")
# What is wrong, its media type, the status it is answered with, and headers that go with it.
BODIES: list[tuple[bytes, str, int, dict[str, str]]] = [
    (b'{"name": "\xff\xfe"}', JSON, 400, {}),
    (b'{"name": "cut', JSON, 400, {}),
    (b"", JSON, 400, {}),
    (b"[]", JSON, 400, {}),
    (b"null", JSON, 400, {}),
    (b'"text"', JSON, 400, {}),
    (b"[" * 90_000, JSON, 400, {}),
    (b'{"name": ' + b"[" * 40 + b"]" * 40 + b"}", JSON, 400, {}),
    (b'{"name": "nul\\u0000", "role": "nul\\u0000", "amount": "nul\\u0000", "reason": "\\u0000"}', JSON, 400, {}),
    (b'{"name": "\\ud800", "amount": "\\ud800", "role": "\\ud800"}', JSON, 400, {}),
    (b'{"amount": NaN, "instanceCount": NaN, "wanted": 1e400}', JSON, 400, {}),
    (gzip.compress(b"{}"), JSON, 415, {"content-encoding": "gzip"}),
    (gzip.compress(bytes(10**7))[:-9], JSON, 415, {"content-encoding": "gzip"}),
    (b'{"name": "' + b"x" * 2**20 + b'"}', JSON, 413, {}),
    (b"{}", JSON, 415, {"content-encoding": "br"}),
    (b"{}", "text/plain", 415, {}),
    (b"name=x", "application/x-www-form-urlencoded", 415, {}),
    (b"\x0a\x00", "application/proto", 415, {}),
]


def taking_bodies(known: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Method and address of every operation that needs a body, with ids of things that are there."""
    for path, item in api_schema()["paths"].items():
        words = path.split("/")
        for before, word in pairwise(path.split("/")):
            if word.startswith("{"):
                words[words.index(word)] = known[before][0] if before in known else "viewer"
        for method, operation in item.items():
            if operation.get("requestBody"):
                yield method.upper(), "/".join(words)


def stored() -> dict[str, list[str]]:
    """Every row of our own tables; a token's last use is no change."""
    found = {}
    for model in (one for label in OURS for one in apps.get_app_config(label).get_models()):
        names = [field.attname for field in model._meta.concrete_fields if field.attname != "last_used_at"]
        found[model.__name__] = sorted(map(repr, model._default_manager.values_list(*names)))
    return found


@pytest.mark.thorough
def test_no_operation_takes_a_body_that_is_none(cast: Cast) -> None:
    operations = list(taking_bodies(things(cast)))
    assert len(operations) > 15
    api, before = cast.admin.api(), stored()
    for method, path in operations:
        for body, type, status, headers in BODIES:
            answer = api.generic(method, path, body, type, headers=headers)
            said = (method, path, body[:40], type, answer.status_code, answer.content[:300])
            # What has nothing that must be given may find nothing wrong with it, but then it changes nothing.
            assert answer.status_code == status or (status == 400 and answer.status_code in (200, 412)), said
            if answer.status_code >= 400:
                assert answer.json().keys() == {"code", "message", "details"}, said
    after = stored()
    assert [name for name in before if before[name] != after[name]] == []


def test_verbs_and_addresses_that_are_not_there_change_nothing(cast: Cast) -> None:
    api, before = cast.admin.api(), stored()
    for path in api_schema()["paths"]:
        there = re.sub(r"\{\w+\}", "x", path)
        for method in ("TRACE", "PROPFIND", "PUT" if "put" not in api_schema()["paths"][path] else "TRACE"):
            answer = api.generic(method, there, json.dumps({}), JSON)
            assert (answer.status_code, answer.json()["code"]) == (405, 12), (method, path)
    assert stored() == before
