"""`/api/v1/backtests`: asked for, followed, cancelled; who may, and whose they are. Every answer is held to the description."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from claims.core.conditions import timestamp
from console.common import clock
from deployments.backtests import work
from deployments.models import Backtest, Deployment
from tests.backtest import demand
from tests.cast import Cast, Member

pytestmark = pytest.mark.django_db

ADDRESS = "/api/v1/backtests"
TRACE = "timestamp_s\n" + "".join(f"{at}\n" for at in range(0, 1200, 3))


@pytest.fixture
def one(cast: Cast) -> Deployment:
    return demand.deployment(cast)


@pytest.fixture
def end(one: Deployment) -> datetime:
    return demand.recorded(one, clock.now(), hours=1)


def body(one: Deployment, end: datetime, **more: Any) -> dict[str, Any]:
    return {"deploymentId": str(one.id), "start": timestamp(end - timedelta(hours=1)), "end": timestamp(end),
            "variants": [{"max": 2, "usdPerGpuHour": "4.5"}], "baselines": ["knative"], **more}  # fmt: skip


def of_a_trace(one: Deployment) -> dict[str, Any]:
    return {"deploymentId": str(one.id), "trace": {"csv": TRACE, "scale": 2.0}, "baselines": ["static-mean"]}


def made(who: Member, sent: dict[str, Any], **extra: Any) -> Any:
    answer = who.api().send("POST", ADDRESS, sent, **extra)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_a_backtest_is_asked_for_and_followed(cast: Cast, one: Deployment, end: datetime) -> None:
    run = made(cast.admin, body(one, end))
    assert (run["state"], run["progress"], run["result"]) == ("QUEUED", 0.0, None)
    assert [side["name"] for side in run["sides"]] == ["as set", "max 2", "Knative KPA"]
    assert run["sides"][1]["usdPerGpuHour"] == "4.5"
    assert work.backtest_pass(now=clock.now())
    done = cast.viewer.api().get(f"{ADDRESS}/{run['id']}").json()
    assert (done["state"], done["progress"]) == ("DONE", 1.0)
    assert len(done["result"]["measures"]) == len(done["result"]["series"]["queued"]) == 3
    assert done["result"]["measures"][0]["requests"] == 720 * 5 + 239 * 10
    assert done["result"]["demand"]["resolutionSeconds"] == 5
    assert 0 < done["result"]["curve"][0]["utilisation"] < 1


def test_a_trace_comes_with_the_request(cast: Cast, one: Deployment) -> None:
    run = made(cast.admin, of_a_trace(one))
    assert run["replays"]["kind"] == "trace"
    work.backtest_pass(now=clock.now())
    found = cast.admin.api().get(f"{ADDRESS}/{run['id']}").json()
    assert found["result"]["measures"][0]["requests"] == 800
    assert found["result"]["demand"]["start"] is None


def test_costs_are_for_roles_that_see_money(cast: Cast, one: Deployment) -> None:
    run = made(cast.admin, of_a_trace(one))
    work.backtest_pass(now=clock.now())
    for who, sees in ((cast.admin, True), (cast.billing, True), (cast.viewer, False)):
        found = who.api().get(f"{ADDRESS}/{run['id']}").json()
        assert ("cost" in found["result"]["measures"][0]) is sees
        assert ("cost" in found["result"]["curve"][0]) is sees
        assert ("usdPerGpuHour" in found["sides"][0]) is sees


def test_the_list_is_newest_first_a_page_at_a_time(cast: Cast, one: Deployment, end: datetime) -> None:
    ids = [made(cast.admin, body(one, end))["id"] for _ in range(3)]
    first = cast.viewer.api().get(f"{ADDRESS}?limit=2").json()
    assert [item["id"] for item in first["items"]] == [ids[2], ids[1]]
    rest = cast.viewer.api().get(f"{ADDRESS}?limit=2&after={first['nextCursor']}").json()
    assert [item["id"] for item in rest["items"]] == [ids[0]]
    assert rest["nextCursor"] is None
    of_it = cast.viewer.api().get(f"{ADDRESS}?deploymentId={one.id}").json()
    assert len(of_it["items"]) == 3
    nobody = cast.viewer.api().get(f"{ADDRESS}?deploymentId=0198c0de-0000-7000-8000-000000000000").json()
    assert nobody["items"] == []
    for wrong in ("deploymentId=x", "after=x", "limit=0"):
        assert cast.viewer.api().get(f"{ADDRESS}?{wrong}").status_code == 400
    assert cast.outsider.api().get(ADDRESS).json()["items"] == []


def test_a_key_makes_it_once(cast: Cast, one: Deployment, end: datetime) -> None:
    twice = [made(cast.admin, body(one, end), headers={"Idempotency-Key": "once"})["id"] for _ in range(2)]
    assert twice[0] == twice[1]
    assert Backtest.objects.count() == 1


def test_cancelling_ends_it_and_again_changes_nothing(cast: Cast, one: Deployment, end: datetime) -> None:
    run = made(cast.admin, body(one, end))
    for _ in range(2):
        answer = cast.admin.api().send("POST", f"{ADDRESS}/{run['id']}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (200, "CANCELLED")
    assert not work.backtest_pass(now=clock.now())


def test_roles_and_other_organizations(cast: Cast, one: Deployment, end: datetime) -> None:
    run = made(cast.admin, body(one, end))
    address = f"{ADDRESS}/{run['id']}"
    for who in (cast.viewer, cast.billing):
        assert who.api().send("POST", ADDRESS, body(one, end)).status_code == 403
        assert who.api().send("POST", f"{address}/cancel").status_code == 403
    assert cast.outsider.api().get(address).status_code == 404
    assert cast.outsider.api().send("POST", f"{address}/cancel").status_code == 404
    assert cast.outsider.api().send("POST", ADDRESS, body(one, end)).status_code == 404
    assert cast.admin.api().get(f"{ADDRESS}/nothing").status_code == 404
    assert Backtest.objects.get().state == "QUEUED"


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "max below min": ({"variants": [{"min": 4, "max": 2}]}, "variants[0].max"),
    "an unknown policy": ({"baselines": ["magic"]}, "baselines"),
    "an unknown field of a variant": ({"variants": [{"max": "many"}]}, "variants"),
    "a time to come": ({"start": "2099-01-01T00:00:00Z", "end": "2099-01-02T00:00:00Z"}, "start"),
    "nonsense as a trace": ({"start": None, "end": None, "trace": {"csv": "a,b\n1,2\n"}}, "trace"),
    "no deployment": ({"deploymentId": "x"}, "deployment_id"),
}


@pytest.mark.parametrize("case", BAD)
def test_refusals_name_the_field_and_keep_nothing(case: str, cast: Cast, one: Deployment, end: datetime) -> None:
    changes, field = BAD[case]
    sent = {name: value for name, value in (body(one, end) | changes).items() if value is not None}
    answer = cast.admin.api().send("POST", ADDRESS, sent)
    assert answer.status_code == 400
    (detail,) = answer.json()["details"]
    assert any(one["field"].startswith(field) for one in detail["fieldViolations"]), detail
    assert not Backtest.objects.exists()


def test_a_body_of_more_than_a_mebibyte_is_refused_unread(cast: Cast, one: Deployment) -> None:
    sent = {"deploymentId": str(one.id), "trace": {"csv": "timestamp_s\n" + "1\n" * 600_000}}
    assert cast.admin.api().send("POST", ADDRESS, sent).status_code == 413
    assert not Backtest.objects.exists()
