"""Pages of backtests: the list, the form with what it refuses, the result and its charts, and what Apply leads to."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from console.common import clock, uploads
from console.dashboard import backtest_forms
from deployments.backtests import work
from deployments.backtests.asked import Asked, Variant
from deployments.backtests.services import backtest_create
from deployments.core.params import Params
from deployments.loop.snapshot import read_shard
from deployments.models import AutoscalingPolicy, Backtest, Deployment
from tests.backtest import demand
from tests.cast import Cast, Member

pytestmark = pytest.mark.django_db

TRACE = b"timestamp_s\n" + b"".join(f"{at}\n".encode() for at in range(0, 1200, 3))


@pytest.fixture
def one(cast: Cast) -> Deployment:
    return demand.deployment(cast)


def asked(cast: Cast, one: Deployment, **more: Any) -> Backtest:
    given = {"trace": TRACE, "trace_name": "noon.csv", "variants": [Variant(max=2)], "baselines": ["hpa"], **more}
    return backtest_create(actor=cast.admin.actor, deployment_id=one.id, asked=Asked(**given), now=clock.now())


def text(who: Member, address: str, status: int = 200) -> str:
    answer = who.browser().get(address)
    assert answer.status_code == status
    return " ".join(answer.content.decode().split())


def sent(who: Member, one: Deployment, **fields: Any) -> Any:
    data = {"deployment": str(one.id), "demand": "trace", "baselines": ["hpa"], "trace": upload(TRACE), **fields}
    return who.browser().post(f"{reverse('backtest-new')}?deployment={one.id}", data)


def upload(data: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile("noon.csv", data, content_type="text/csv")


def test_the_deployments_page_leads_to_its_form_filled_in(cast: Cast, one: Deployment) -> None:
    page = text(cast.admin, reverse("deployment", args=[one.id]))
    address = f"{reverse('backtest-new')}?deployment={one.id}"
    assert address in page
    assert address not in text(cast.viewer, reverse("deployment", args=[one.id]))
    form = text(cast.admin, f"{address}&v0-max=9")
    assert f'value="{one.id}" selected' in form
    assert 'name="v0-max" value="9"' in form
    assert 'placeholder="6"' in form


def test_recorded_demand_is_asked_for_by_the_form(cast: Cast, one: Deployment) -> None:
    end = demand.recorded(one, clock.now(), hours=1)
    fields = {"demand": "recorded", "start": f"{end - timedelta(hours=1):%Y-%m-%dT%H:%M}", "end": f"{end:%Y-%m-%dT%H:%M}",
              "v1-max": "2", "v1-name": "small"}  # fmt: skip
    answer = sent(cast.admin, one, **fields)
    run = Backtest.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, reverse("backtest", args=[run.id]))
    assert [side["name"] for side in run.request["sides"]] == ["as set", "small", "Kubernetes HPA"]
    assert run.request["source"]["kind"] == "history"


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nonsense": ({"trace": b"a,b\n1,2\n"}, "The first line has no column"),
    "a line that is no number": ({"trace": b"timestamp_s\n1\nnan\n"}, "Line 3"),
    "no file": ({"trace": b""}, "no column|The submitted file is empty"),
    "max below min": ({"v2-min": "5", "v2-max": "2"}, "greater than or equal to min"),
    "nothing to compare": ({"baselines": []}, "at least one variant"),
    "a policy that is none": ({"baselines": ["magic"]}, "magic is not one"),
    "a number that is none": ({"v0-concurrency": "many"}, "whole number"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_the_form_says_what_is_wrong_and_keeps_nothing(case: str, cast: Cast, one: Deployment) -> None:
    fields, said = WRONG[case]
    given = {name: upload(value) if name == "trace" else value for name, value in fields.items()}
    answer = sent(cast.admin, one, **given)
    assert answer.status_code == 422
    assert any(part in answer.content.decode() for part in said.split("|"))
    assert not Backtest.objects.exists()


def test_a_file_is_refused_by_its_size_before_it_is_read(
    cast: Cast, one: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backtest_forms, "MOST_BYTES", 1000)
    assert "at most 1,000 are taken" in sent(cast.admin, one).content.decode()
    monkeypatch.setattr(uploads, "MOST_BODY", 1000)
    answer = sent(cast.admin, one)
    assert answer.status_code == 422
    assert "It is too large" in answer.content.decode()
    assert not Backtest.objects.exists()


def test_the_page_follows_a_run_and_then_shows_its_result(cast: Cast, one: Deployment) -> None:
    run = asked(cast, one)
    address, part = reverse("backtest", args=[run.id]), reverse("backtest-progress", args=[run.id])
    page = text(cast.viewer, address)
    assert "Queued" in page
    assert part in page
    assert "Cancel" not in page
    assert "Cancel" in text(cast.admin, address)
    asking = {"HX-Request": "true", "X-Organization": cast.organization.id}
    assert cast.viewer.browser().get(part, headers=asking).headers.get("HX-Refresh") is None
    work.backtest_pass(now=clock.now())
    assert cast.viewer.browser().get(part, headers=asking).headers["HX-Refresh"] == "true"
    assert cast.viewer.browser().get(part)["Location"] == address
    done = text(cast.admin, address)
    for said in ("Done", "noon.csv", "max 2", "Kubernetes HPA", "GPU-hours", "Cost", "does not depend on load"):
        assert said in done
    assert "Cost" not in text(cast.viewer, address)
    assert f"{reverse('deployment', args=[one.id])}?max=2#autoscaling" in done
    assert "?max=2" not in text(cast.viewer, address)


def test_apply_fills_in_the_form_that_previews_the_change(cast: Cast, one: Deployment) -> None:
    run = asked(cast, one, variants=[Variant(max=2, concurrency=5)])
    work.backtest_pass(now=clock.now())
    page = text(cast.admin, f"{reverse('deployment', args=[one.id])}?max=2&concurrency=5")
    assert f"{reverse('deployment', args=[one.id])}?max=2&amp;concurrency=5#autoscaling" in text(
        cast.admin, reverse("backtest", args=[run.id])
    )
    assert 'name="max" value="2"' in page
    assert 'name="concurrency" value="5"' in page


def test_apply_takes_the_scale_down_delay_along_to_the_loop(cast: Cast, one: Deployment) -> None:
    run = asked(cast, one, variants=[Variant(scale_down_s=90)])
    work.backtest_pass(now=clock.now())
    form = f"{reverse('deployment', args=[one.id])}?scale_down_s=90"
    assert f"{form}#autoscaling" in text(cast.admin, reverse("backtest", args=[run.id]))
    assert 'name="scale_down_s" value="90"' in text(cast.admin, form)
    browser, address = cast.admin.browser(), reverse("deployment-autoscaling", args=[one.id])
    fields = {"min": "1", "max": "6", "concurrency": "4", "priority": "", "classes": ""}
    preview = " ".join(browser.post(address, {**fields, "scale_down_s": "90"}).content.decode().split())
    assert "300 s (unset)" in preview
    assert "90 s" in preview
    assert AutoscalingPolicy.objects.get().scale_down_delay is None
    assert browser.post(address, {**fields, "scale_down_s": "-1", "confirmed": "1"}).status_code == 422
    browser.post(address, {**fields, "scale_down_s": "90", "confirmed": "1"})
    assert AutoscalingPolicy.objects.get().scale_down_delay == timedelta(seconds=90)
    shard = read_shard(one.instance_type, Params(), clock.now())
    assert shard.snapshot.deployments.scale_down_s.tolist() == [90.0]
    browser.post(address, {**fields, "max": "5", "confirmed": "1"})
    assert "<dt>Scale-down delay</dt> <dd> 90 s </dd>" in text(cast.viewer, reverse("deployment", args=[one.id]))
    assert AutoscalingPolicy.objects.get().scale_down_delay == timedelta(seconds=90), "what is not sent stays"
    browser.post(address, {**fields, "scale_down_s": "", "confirmed": "1"})
    assert AutoscalingPolicy.objects.get().scale_down_delay is None


def test_charts_have_a_series_for_each_side_on_one_axis(cast: Cast, one: Deployment) -> None:
    run = asked(cast, one)
    empty = cast.viewer.browser().get(reverse("chart-backtest-replicas", args=[run.id])).json()
    assert empty["series"] == []
    work.backtest_pass(now=clock.now())
    replicas, requests, curve = (
        cast.viewer.browser().get(reverse(f"chart-backtest-{kind}", args=[run.id])).json()
        for kind in ("replicas", "requests", "curve")
    )
    assert [one["name"] for one in replicas["series"]] == ["as set", "max 2", "Kubernetes HPA"]
    assert [one["name"] for one in requests["series"]] == [
        "Would run if nobody waited",
        "as set",
        "max 2",
        "Kubernetes HPA",
    ]
    assert (replicas["from"], replicas["to"], replicas["since"]) == (requests["from"], requests["to"], True)
    assert all(len(one["points"]) <= 600 for one in replicas["series"])
    assert len(curve["sides"]) == 3


def test_cancel_on_the_page(cast: Cast, one: Deployment) -> None:
    run = asked(cast, one)
    address = reverse("backtest-cancel", args=[run.id])
    assert cast.viewer.browser().post(address).status_code == 403
    assert cast.outsider.browser().post(address).status_code == 404
    assert cast.admin.browser().post(address).status_code == 302
    assert "Cancelled" in text(cast.viewer, reverse("backtest", args=[run.id]))


def test_one_of_another_organization_is_not_found(cast: Cast, one: Deployment) -> None:
    run = asked(cast, one)
    for name in ("backtest", "backtest-progress"):
        text(cast.outsider, reverse(name, args=[run.id]), 404)
    text(cast.outsider, f"{reverse('backtest-new')}?deployment={one.id}", 404)
    text(cast.viewer, reverse("backtest-new"), 403)


def test_a_result_outlives_its_deployment(cast: Cast, one: Deployment) -> None:
    run = asked(cast, one)
    work.backtest_pass(now=clock.now())
    one.delete()
    page = text(cast.admin, reverse("backtest", args=[run.id]))
    assert "which is deleted" in page
    assert "#autoscaling" not in page
    assert "(deleted)" in text(cast.admin, reverse("backtests"))


def test_queries_of_the_list_do_not_grow(cast: Cast, one: Deployment) -> None:
    def count() -> int:
        client = cast.viewer.browser()
        client.get(reverse("backtests"))
        with CaptureQueriesContext(connection) as queries:
            assert client.get(reverse("backtests")).status_code == 200
        return len(queries)

    asked(cast, one)
    first = count()
    for _ in range(4):
        asked(cast, one)
    assert count() == first
