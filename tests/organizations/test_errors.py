import pytest

from console.common.errors import FailedPrecondition, FieldViolation, InvalidArgument, NotFound, QuotaNumbers
from console.organizations.api.errors import snake_case, violations_of


def test_violations_get_snake_case_paths() -> None:
    detail = {
        "name": ["is required"],
        "resources": {"instanceCount": ["is not a number"], "zones": [{}, ["is unknown"]]},
        "engineEnv": {"nonFieldErrors": ["x"]},
    }
    assert violations_of(detail) == [
        FieldViolation("name", "is required"),
        FieldViolation("resources.instance_count", "is not a number"),
        FieldViolation("resources.zones[1]", "is unknown"),
        FieldViolation("engine_env.non_field_errors", "x"),
    ]


@pytest.mark.parametrize(
    ("camel", "snake"), [("instanceId", "instance_id"), ("name", "name"), ("gpuCount", "gpu_count")]
)
def test_snake_case(camel: str, snake: str) -> None:
    assert snake_case(camel) == snake


def test_a_refused_quota_names_the_precondition_first_and_the_quota_after() -> None:
    numbers = QuotaNumbers("gb200-4x in US-WEST-04A", requested=10, limit=16, other_usage=4, committed=3)
    body = FailedPrecondition("QUOTA", numbers.subject, "10 asked for, 9 free", numbers).body()
    assert numbers.free == 9
    assert body["code"] == 9
    assert [row["@type"].rsplit(".", 1)[1] for row in body["details"]] == [
        "PreconditionFailure",
        "QuotaFailure",
    ]


def test_every_field_violation_is_in_the_body() -> None:
    refusal = InvalidArgument([FieldViolation("a", "one"), FieldViolation("b", "two")])
    assert refusal.body()["details"][0]["fieldViolations"] == [
        {"field": "a", "description": "one"}, {"field": "b", "description": "two"},
    ]  # fmt: skip
    assert NotFound("Gateway", "g-1").http_status == 404
