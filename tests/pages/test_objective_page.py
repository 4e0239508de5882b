"""The objective on the deployment's page and on its own: set, read, removed, without JavaScript."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from deployments.models import Deployment, DeploymentObjective, ObjectiveChoice, Trigger, Why
from tests import fleet, world
from tests.cast import Cast, Member

pytestmark = pytest.mark.django_db


@pytest.fixture
def chat(cast: Cast) -> Deployment:
    return fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), world.offering(), max=8)


def chosen(one: Deployment, **changes: Any) -> ObjectiveChoice:
    fields: dict[str, Any] = {
        "deployment": one, "trigger": Trigger.SHORT, "why": Why.CHEAPEST, "objective": 0.99, "goal": 0.9943,
        "target": 9, "scale_down_delay": timedelta(seconds=900), "changed": True, "slots": 12, "min": 1, "max": 8,
        "gpu_count": 1, "startup": timedelta(seconds=100), "hours": 24, "requests": 1000, "share": 0.99481,
        "expected_share": 0.9951, "expected_gpu_hours": 31.5, "before_share": 0.981, "before_gpu_hours": 63.0,
        "reached": 0.98999, "took": timedelta(seconds=80),
    }  # fmt: skip
    return ObjectiveChoice.objects.create(**{**fields, **changes})


def page(member: Member, one: Deployment, name: str = "deployment-objective", query: str = "") -> str:
    answer = member.browser().get(reverse(name, args=[one.id]) + query)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def post(member: Member, one: Deployment, name: str = "deployment-objective", **data: Any) -> Any:
    return member.browser().post(
        reverse(name, args=[one.id]), {"in_organization": member_org(one), **data}, follow=True
    )


def member_org(one: Deployment) -> str:
    return one.organization.id


def test_it_is_set_shown_and_removed(cast: Cast, chat: Deployment) -> None:
    assert "None: sized by the settings set by hand" in page(cast.admin, chat, "deployment")
    answer = post(cast.admin, chat, percent="99", price_ceiling="31.50")
    assert "the objective is set" in answer.content.decode()
    row = DeploymentObjective.objects.get()
    assert (row.share, row.price_ceiling, row.ceiling) == (0.99, Decimal("31.50"), 3)
    text = page(cast.admin, chat, "deployment")
    assert "<b>99.00 %</b> of requests are to wait at most 1 s; too few requests were counted" in text
    assert "The preset, until enough has been seen to choose by." in text
    assert 'value="31.50"' in page(cast.admin, chat)
    post(cast.admin, chat, "deployment-objective-gone")
    assert not DeploymentObjective.objects.exists()


@pytest.mark.parametrize(
    ("data", "said"),
    [({"percent": "100"}, "less than or equal to 99.9"), ({"percent": ""}, "required"),
     ({"percent": "99", "price_ceiling": "1.00"}, "pays for 0 replicas and min is 1")],
)  # fmt: skip
def test_what_is_wrong_is_said_beside_the_field(cast: Cast, chat: Deployment, data: dict[str, str], said: str) -> None:
    answer = cast.admin.browser().post(reverse("deployment-objective", args=[chat.id]), data)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not DeploymentObjective.objects.exists()


def test_what_was_chosen_is_told_with_why_and_what_came(cast: Cast, chat: Deployment) -> None:
    post(cast.admin, chat, percent="99")
    one = chosen(chat)
    DeploymentObjective.objects.update(choice=one, due=None, due_at=None, reached=0.98999, started=1234, target=9)
    text = page(cast.viewer, chat)
    assert "Falls short" in text
    assert "<b>98.99 %</b> of the 1234 of the last hour did" in text, "99 % were not reached, nor does it look so"
    for said in ("99.43 %", "99.48 %", "99.51 %", "31.5", "63.0", "98.10 %",
                 "Over the last hour fewer requests were served in time",
                 "The cheapest setting that would have met the objective.",
                 "9 requests a replica, 15 min until it shrinks", "24 h, 1000 requests"):  # fmt: skip
        assert said in text, said
    assert "<form" not in text.split("What was chosen")[0].split("<h1")[1], "a viewer changes nothing"


def test_where_nothing_meets_it_the_page_says_what_would(cast: Cast, chat: Deployment) -> None:
    post(cast.admin, chat, percent="99")
    advice = [{"kind": "share", "share": 0.981}, {"kind": "max", "max": 12, "share": 0.9935}]
    DeploymentObjective.objects.update(choice=chosen(chat, why=Why.NEAREST, advice=advice))
    for name in ("deployment", "deployment-objective"):
        assert "A max of 12 instead of 8 would have met it: 99.35 %." in page(cast.viewer, chat, name)


def test_many_choices_are_paged_and_cost_no_more_queries(cast: Cast, chat: Deployment) -> None:
    post(cast.admin, chat, percent="99")
    made = [chosen(chat, goal=0.9901 + number / 1e4) for number in range(3)]
    browser, address = cast.admin.browser(), reverse("deployment-objective", args=[chat.id])

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            browser.get(address)
        return len(found)

    queries()
    few = queries()
    made += [chosen(chat) for _ in range(20)]
    assert queries() == few
    text = page(cast.admin, chat)
    assert f"?before={made[3].pk}" in text
    assert "99.01 %" in page(cast.admin, chat, query=f"?before={made[3].pk}")


def test_viewers_and_others_are_turned_away(cast: Cast, chat: Deployment) -> None:
    address = reverse("deployment-objective", args=[chat.id])
    assert cast.viewer.browser().post(address, {"percent": "99"}).status_code == 403
    assert cast.outsider.browser().get(address).status_code == 404
    assert not DeploymentObjective.objects.exists()
