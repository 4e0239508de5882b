"""The description of both APIs: whole, valid, and served."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.urls import reverse
from drf_spectacular.validation import validate_schema

from console.dashboard.api_description import api_schema, groups
from tests.api.addresses import api_views
from tests.cast import Cast

ALWAYS = {"401", "403", "429", "500", "503"}
BODIES = {"post", "put", "patch"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in api_schema()["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


@pytest.mark.parametrize(
    ("path", "method", "operation"), list(operations()), ids=lambda one: one if isinstance(one, str) else ""
)
def test_every_operation_is_described(path: str, method: str, operation: dict[str, Any]) -> None:
    assert len(operation["description"]) >= 10
    assert not [one["name"] for one in operation.get("parameters", []) if len(one.get("description", "")) < 5]
    responses = operation["responses"]
    expected = set(ALWAYS)
    expected |= {"404"} if "{" in path else set()
    expected |= {"400", "413", "415"} if method in BODIES else set()
    expected |= {"412"} if method != "get" else set()
    expected |= {"400"} if any(one["in"] == "query" for one in operation.get("parameters", [])) else set()
    assert expected <= set(responses)
    assert [code for code in responses if code < "300"], "it says what a success is"
    for code, response in responses.items():
        if code >= "400":
            content = response["content"]["application/json"]
            assert content["schema"] == {"$ref": "#/components/schemas/ErrorShape"}
            example = next(iter(content["examples"].values()))["value"]
            assert example.keys() == {"code", "message", "details"}
            assert response["description"]
    assert operation["security"] == [{"token": []}, {"session": []}]


@pytest.mark.parametrize(
    ("path", "method", "operation"), list(operations()), ids=lambda one: one if isinstance(one, str) else ""
)
def test_every_body_and_answer_has_a_shape_and_every_body_an_example(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    if body := operation.get("requestBody"):
        content = body["content"]["application/json"]
        assert content["examples"]
        assert "$ref" in content["schema"]
    for code, response in operation["responses"].items():
        for content in response.get("content", {}).values() if code < "300" else ():
            assert content["schema"].keys() & {"$ref", "oneOf"} or content["schema"] == {"type": "string"}


def test_every_address_and_verb_is_described_and_nothing_else() -> None:
    verbs = {
        ("/" + path.replace("<str:", "{").replace(">", "}"), verb)
        for path, view in api_views()
        for verb in ("get", "post", "put", "patch", "delete")
        if hasattr(view, verb)
    }
    assert verbs == {(path, method) for path, method, _ in operations()}
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))


@pytest.mark.thorough
def test_the_generator_has_nothing_to_complain_about(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    call_command("spectacular", file=str(tmp_path / "schema.yml"), fail_on_warn=True, validate=True)
    said = capsys.readouterr()
    assert "Warning" not in said.err
    assert "Error" not in said.err


@pytest.mark.thorough
def test_it_is_valid_openapi_3_1() -> None:
    assert api_schema()["openapi"].startswith("3.1")
    validate_schema(api_schema())  # type: ignore[no-untyped-call]


@pytest.mark.django_db
def test_it_is_served_to_everybody_and_costs_nothing_the_second_time(cast: Cast) -> None:
    client = cast.outsider.browser()
    client.logout()
    answer = client.get(reverse("schema"))
    assert answer["Content-Type"] == "application/json"
    assert answer.json() == api_schema()
    assert client.get(reverse("schema"), headers={"if-none-match": answer["ETag"]}).status_code == 304


@pytest.mark.django_db
def test_the_page_shows_every_operation_and_needs_nothing_from_elsewhere(cast: Cast) -> None:
    text = cast.viewer.browser().get(reverse("api-docs")).content.decode()
    assert not [name for _, _, one in operations() if f'id="{(name := one["operationId"])}"' not in text]
    assert "style=" not in text
    assert "//cdn" not in text
    shown = [one for group in groups() for one in group.operations]
    claim = next(one for one in shown if one.id == "CreateCapacityClaim")
    assert "resources.instanceCount" in [field.name for field in claim.body]
    assert claim.example
    assert {"400", "429"} <= {one.status for one in claim.refusals}


@pytest.mark.django_db
@pytest.mark.parametrize("accept", ["text/html", "application/xml", "nonsense", "*/*;q=0"])
def test_an_answer_is_json_whatever_is_asked_for(cast: Cast, accept: str) -> None:
    answer = cast.viewer.api().get("/api/v1/quota", headers={"accept": accept})
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT"])
def test_a_verb_that_is_not_there_is_refused_in_the_same_words(cast: Cast, method: str) -> None:
    answer = cast.admin.api().generic(method, "/api/v1/quota")
    assert (answer.status_code, answer.json()["code"]) == (405, 12)
    assert "GET" in answer["Allow"]
