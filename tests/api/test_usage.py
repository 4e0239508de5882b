"""`/api/v1/usage`: how long a range may be, and what it is summed by."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from claims import metering
from claims.models import Labels, UsageInterval
from console.common import clock
from console.common.ids import new_id
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db
START = datetime(2026, 3, 10, 9, 0, 0, tzinfo=UTC)


def test_usage_of_centuries_is_refused_before_it_is_rated(cast: Cast) -> None:
    api = cast.admin.api()
    for start, status in (("1210-11-28T17:47:32Z", 400), ("2025-01-01T00:00:00Z", 400), ("2026-01-01T00:00:00Z", 200)):
        answer = api.get("/api/v1/usage", {"start": start, "end": "2026-12-01T00:00:00Z"})
        assert answer.status_code == status, answer.content
        if status == 400:
            assert [one["field"] for one in answer.json()["details"][0]["fieldViolations"]] == ["end"]


@pytest.fixture
def used(cast: Cast) -> Cast:
    """Ten GPU-hours of a claim of search, five of another of the same team, three of a deployment without labels, one of a
    deployment that is called like the claim."""
    for kind, name, hours, labels in (
        ("CLAIM", "first", 10, {"team": "search", "env": "prod"}), ("CLAIM", "second", 5, {"team": "search"}),
        ("REPLICA", "chat", 3, {}), ("REPLICA", "first", 1, {"team": "", "env": "prod"}),
    ):  # fmt: skip
        id, place = new_id(), world.offering()
        UsageInterval.objects.create(
            kind=kind, resource_key=hours, organization=cast.organization, offering=place, instance=world.gone(place),
            gpus=1, claim_kind="SERVERLESS" if kind == "CLAIM" else "", holder_id=id, holder_name=name,
            started_at=START, ended_at=START + timedelta(hours=hours),
        )  # fmt: skip
        Labels.objects.create(organization=cast.organization, kind=kind, holder_id=id, labels=labels)
        Labels.objects.create(organization=cast.other, kind=kind, holder_id=id, labels={"team": "theirs"})
    return cast


@pytest.mark.parametrize("rated", [False, True])
@pytest.mark.parametrize(("key", "hours"), [
    ("team", {"": 1, "search": 15, None: 3}), ("env", {"prod": 11, None: 8}), ("example.com/none", {None: 19}),
])  # fmt: skip
def test_usage_is_summed_by_a_label_and_what_has_none_is_an_item(
    used: Cast, key: str, hours: dict[str | None, int], rated: bool
) -> None:
    if rated:
        metering.meter_pass(clock.now())
    asked = {"start": "2026-03-01T00:00:00Z", "end": "2026-04-01T00:00:00Z", "by": f"label:{key}"}
    found = used.billing.api().get("/api/v1/usage", asked).json()
    assert [(one["label"], float(one["gpuHours"])) for one in found["items"]] == list(hours.items())
    assert sum(Decimal(one["cost"]) for one in found["items"]) == Decimal(found["total"]) > 0
    assert used.viewer.api().get("/api/v1/usage", asked).status_code == 403


@pytest.mark.parametrize(("by", "names"), [
    ("claim", {"first": 10, "second": 5, "on demand, no claim": 4}),
    ("deployment", {"chat": 3, "first": 1, "claims, whoever runs on them": 15}),
    ("zone", {"US-WEST-04A": 19}), ("instanceType", {"gb200-4x": 19}), ("day", {"2026-03-10": 19}),
])  # fmt: skip
def test_usage_by_anything_adds_up_to_the_total(used: Cast, by: str, names: dict[str, float]) -> None:
    asked = {"start": "2026-03-01T00:00:00Z", "end": "2026-04-01T00:00:00Z", "by": by}
    found = used.billing.api().get("/api/v1/usage", asked).json()
    assert {one.get("name", one[by]): float(one["gpuHours"]) for one in found["items"]} == names
    assert [one[by] is None for one in found["items"]][-1] == (by in ("claim", "deployment"))
    assert sum(Decimal(one["cost"]) for one in found["items"]) == Decimal(found["total"]) > 0


@pytest.mark.parametrize(
    "by", ["", "label", "label:", "label:a b", "label:-", "team", "label:a/b/c", "label:" + "x" * 64]
)
def test_usage_by_what_is_no_dimension_is_refused(cast: Cast, by: str) -> None:
    answer = cast.admin.api().get("/api/v1/usage", {"by": by})
    assert answer.status_code == 400
    assert [one["field"] for one in answer.json()["details"][0]["fieldViolations"]] == ["by"]
