"""`/api/v1/deployments/{id}/objective`: set, read, removed, and what was chosen, page by page."""

from datetime import timedelta
from typing import Any

import pytest

from console.organizations.models import AuditEvent
from deployments.models import Deployment, DeploymentObjective, ObjectiveChoice, Trigger, Unavailable, Why
from deployments.objective.words import LACKS, TRIGGERS, WHYS, advice_in_words
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def chat(cast: Cast) -> Deployment:
    return fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), world.offering(), max=8)


def address(one: Deployment, more: str = "") -> str:
    return f"/api/v1/deployments/{one.id}/objective{more}"


def chosen(one: Deployment, **changes: Any) -> ObjectiveChoice:
    fields: dict[str, Any] = {
        "deployment": one, "trigger": Trigger.DAILY, "why": Why.CHEAPEST, "objective": 0.99, "goal": 0.992,
        "target": 9, "scale_down_delay": timedelta(seconds=900), "changed": True, "slots": 12, "min": 1, "max": 8,
        "gpu_count": 1, "startup": timedelta(seconds=100), "hours": 24, "requests": 1000, "share": 0.9941,
        "expected_share": 0.995, "expected_gpu_hours": 31.5, "took": timedelta(seconds=80),
    }  # fmt: skip
    return ObjectiveChoice.objects.create(**{**fields, **changes})


def test_it_is_set_read_and_removed(cast: Cast, chat: Deployment) -> None:
    api = cast.admin.api()
    assert api.send("GET", address(chat)).status_code == 404
    body = {"share": 0.99, "longestWaitSeconds": 1, "priceCeiling": "31.50"}
    set_ = api.send("PUT", address(chat), body)
    assert set_.status_code == 200, set_.content
    found = set_.json()["objective"]
    assert (found["share"], found["priceCeiling"], found["ceiling"], found["choosing"]) == (0.99, "31.50", 3, True)
    assert found["setting"] == {"targetConcurrency": 12, "scaleDownDelaySeconds": 300.0, "floorShare": 0.0, "floor": 0,
                                "lookAhead": 0.99}  # fmt: skip
    assert found["choice"] is None
    assert api.send("GET", address(chat)).json() == set_.json()
    assert api.send("DELETE", address(chat)).status_code == 204
    assert api.send("DELETE", address(chat)).status_code == 204
    assert api.send("GET", address(chat)).status_code == 404


def test_money_is_for_those_who_see_it(cast: Cast, chat: Deployment) -> None:
    cast.admin.api().send("PUT", address(chat), {"share": 0.95, "priceCeiling": 42})
    assert cast.billing.api().send("GET", address(chat)).json()["objective"]["priceCeiling"] == "42.00"
    assert "priceCeiling" not in cast.viewer.api().send("GET", address(chat)).json()["objective"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "share"), ({"share": "0.99"}, "share"), ({"share": True}, "share"), ({"share": 1.5}, "share"),
        ({"share": 0.99, "longestWaitSeconds": 5}, "longest_wait"), ([], "share"),
        ({"share": 0.99, "priceCeiling": "much"}, "price_ceiling"), ({"share": 0.99, "priceCeiling": -1}, "price_ceiling"),
        ({"share": 0.99, "priceCeiling": True}, "price_ceiling"), ({"share": 0.99, "priceCeiling": "NaN"}, "price_ceiling"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_and_changes_nothing(cast: Cast, chat: Deployment, body: Any, field: str) -> None:
    answer = cast.admin.api().send("PUT", address(chat), body)
    assert answer.status_code == 400, answer.content
    assert f'"{field}"' in answer.content.decode()
    assert not DeploymentObjective.objects.exists()
    assert not AuditEvent.objects.filter(action="objective.set").exists()


def test_viewers_read_and_do_not_set_and_others_find_nothing(cast: Cast, chat: Deployment) -> None:
    assert cast.viewer.api().send("PUT", address(chat), {"share": 0.99}).status_code == 403
    assert cast.outsider.api().send("PUT", address(chat), {"share": 0.99}).status_code == 404
    cast.admin.api().send("PUT", address(chat), {"share": 0.99})
    assert cast.viewer.api().send("GET", address(chat)).status_code == 200
    assert cast.viewer.api().send("DELETE", address(chat)).status_code == 403
    for more in ("", "/choices"):
        assert cast.outsider.api().send("GET", address(chat, more)).status_code == 404
    assert DeploymentObjective.objects.count() == 1


def test_choices_are_paged_newest_first_and_say_why(cast: Cast, chat: Deployment) -> None:
    advice = [{"kind": "share", "share": 0.981}, {"kind": "max", "max": 12, "share": 0.9935},
              {"kind": "startup", "seconds": 25.0, "share": 0.9921}, {"kind": "capacity", "hours": 3.5}]  # fmt: skip
    made = [chosen(chat), chosen(chat, why=Why.NEAREST, advice=advice),
            chosen(chat, why=Why.PRESET, lacks="COUNTERS", share=None, expected_share=None, startup=None)]  # fmt: skip
    api = cast.viewer.api()
    first = api.send("GET", address(chat, "/choices?limit=2")).json()
    assert [one["id"] for one in first["items"]] == [made[2].pk, made[1].pk]
    second = api.send("GET", address(chat, f"/choices?limit=2&after={first['nextCursor']}")).json()
    assert ([one["id"] for one in second["items"]], second["nextCursor"]) == ([made[0].pk], None)
    (oldest,) = second["items"]
    assert oldest["expected"] == {"share": 0.995, "gpuHoursADay": 31.5}
    assert (oldest["why"], oldest["trigger"], oldest["before"]) == ("CHEAPEST", "DAILY", None)
    assert first["items"][0]["lacks"] == "COUNTERS"
    assert [one["text"] for one in first["items"][1]["advice"]] == [
        "Under min 1 and max 8 no setting reaches more than 98.10 %.",
        "A max of 12 instead of 8 would have met it: 99.35 %.",
        "Start-ups of 25 s instead of 100 s would have met it: 99.21 %.",
        "For 3.5 h of the last day no GPUs were to be had: settings do not help against that.",
    ]


def test_every_code_has_its_sentence() -> None:
    assert set(TRIGGERS) == set(Trigger)
    assert set(WHYS) == set(Why)
    assert set(LACKS) == set(Unavailable) - {Unavailable.NONE}
    assert advice_in_words(ObjectiveChoice(advice=[])) == []
