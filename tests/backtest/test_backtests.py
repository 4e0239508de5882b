"""Backtests as rows: asked for, worked on, cancelled, failed; and what is refused before anything is kept."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from console.common.leases import LeaseLost
from console.organizations.models import AuditEvent
from deployments.backtest.recorded import recorded_demand
from deployments.backtest.traces import TraceError
from deployments.backtests import services, work
from deployments.backtests.asked import Asked, Variant
from deployments.backtests.services import backtest_cancel, backtest_create, backtest_lease, read_trace
from deployments.models import Backtest, BacktestState, Deployment
from tests.backtest import demand
from tests.cast import Cast

pytestmark = pytest.mark.django_db

TRACE = b"timestamp_s,service_s\n" + b"".join(f"{at},{3}\n".encode() for at in range(0, 1200, 2))


@pytest.fixture
def one(cast: Cast) -> Deployment:
    return demand.deployment(cast)


@pytest.fixture
def end(one: Deployment) -> datetime:
    return demand.recorded(one, clock.now(), hours=2)


def last_hour(end: datetime, **more: Any) -> Asked:
    return Asked(start=end - timedelta(hours=1), end=end, **{"variants": [Variant(max=1)], **more})


def of_a_trace(**more: Any) -> Asked:
    return Asked(trace=TRACE, trace_name="noon.csv", **{"variants": [Variant(max=1)], **more})


def ask(cast: Cast, one: Deployment, asked: Asked) -> Backtest:
    return backtest_create(actor=cast.admin.actor, deployment_id=one.id, asked=asked, now=clock.now())


def works() -> bool:
    return work.backtest_pass(now=clock.now())


def of(run: Backtest) -> Backtest:
    return Backtest.objects.get(pk=run.pk)


def result(run: Backtest) -> Any:
    return of(run).result


@pytest.mark.thorough
def test_recorded_demand_is_replayed_under_what_is_set_and_each_variant(
    cast: Cast, one: Deployment, end: datetime
) -> None:
    variants = [Variant(max=1), Variant(name="fuller", concurrency=5, scale_down_s=60), Variant(gpu_count=2, slots=12)]
    run = ask(cast, one, last_hour(end, variants=variants, baselines=["knative", "clairvoyant"]))
    assert run.state == BacktestState.QUEUED
    assert works()
    done = of(run)
    assert (done.state, done.progress, done.error) == (BacktestState.DONE, 1.0, "")
    names = [side["name"] for side in done.request["sides"]]
    assert names == ["as set", "max 1", "fuller", "slots 12, 2 GPUs", "Knative KPA",
                     "clairvoyant: the least for which nobody waits"]  # fmt: skip
    found = result(run)["demand"]
    assert (found["resolution_s"], found["warm_up_s"], found["span_s"]) == (5, 3600.0, 3600.0)
    known = recorded_demand(one, end - timedelta(hours=1), end, done.created_at)
    assert found["requests"] == len(known.arrivals)
    as_set, small, _, wide, _, clairvoyant = result(run)["sides"]
    assert small["replicas_most"] == 1
    assert small["share_within_1s"] < as_set["share_within_1s"] <= clairvoyant["share_within_1s"] == 1.0
    assert small["gpu_hours"] == pytest.approx(1.0)
    assert wide["gpu_hours"] >= 2 * 1.0  # two GPUs a replica, at least one of them all the time
    assert len(result(run)["series"]["replicas"]) == len(names)
    assert {one["concurrency"] for one in result(run)["curve"]} >= {1, 6}
    assert not works()


def test_costs_are_gpu_hours_at_the_price_to_the_cent(cast: Cast, one: Deployment) -> None:
    asked = of_a_trace(variants=[Variant(max=1, usd_per_gpu_hour=Decimal("3.335")), Variant(claim_instances=2)])
    run = ask(cast, one, asked)
    works()
    _, small, claim = result(run)["sides"]
    assert small["cost"] == str(round(Decimal("3.335") * Decimal(str(small["gpu_hours"])), 2))
    held = of(run).request["sides"][2]
    assert (held["room"], held["claim_gpus"]) == (8, 8)
    hours = Decimal(str(result(run)["demand"]["span_s"])) / 3600
    assert Decimal(claim["cost"]) == round(8 * hours * Decimal(held["usd_per_gpu_hour"]), 2)


def test_the_same_request_gives_the_same_whatever_is_changed_meanwhile(cast: Cast, one: Deployment) -> None:
    first, second = ask(cast, one, of_a_trace()), ask(cast, one, of_a_trace())
    works()
    one.autoscaling.max = 2
    one.autoscaling.save()
    works()
    results = [result(run) | {"seconds": 0} for run in (first, second)]
    assert results[0] == results[1]


def test_a_trace_needs_no_records(cast: Cast, one: Deployment) -> None:
    run = ask(cast, one, Asked(trace=TRACE, trace_name="noon.csv", baselines=["static-peak"]))
    one.delete()
    assert works()
    done = of(run)
    assert (done.state, done.deployment) == (BacktestState.DONE, None)
    assert result(run)["demand"]["requests"] == 600
    assert result(run)["demand"]["resolution_s"] is None


def test_one_whose_deployment_was_deleted_says_so(cast: Cast, one: Deployment, end: datetime) -> None:
    run = ask(cast, one, last_hour(end))
    one.delete()
    works()
    assert of(run).state == BacktestState.FAILED
    assert "deleted meanwhile" in of(run).error


def test_w4_a_run_whose_worker_was_killed_begins_again(cast: Cast, one: Deployment) -> None:
    run = ask(cast, one, of_a_trace())
    killed = backtest_lease(now=clock.now())
    assert killed is not None
    assert backtest_lease(now=clock.now()) is None
    later = clock.now() + services.LEASE + timedelta(seconds=1)
    assert work.backtest_pass(now=later)
    assert of(run).state == BacktestState.DONE
    with pytest.raises(LeaseLost):
        services.backtest_finish(run=killed, result={}, now=clock.now())
    services.backtest_fail(run=killed, why="late", now=clock.now())
    assert result(run)["sides"]
    assert of(run).error == ""


def test_w4_a_run_that_ends_its_workers_is_given_up(cast: Cast, one: Deployment) -> None:
    run, now = ask(cast, one, of_a_trace()), clock.now()
    for _ in range(services.MOST_ATTEMPTS):
        assert backtest_lease(now=now)
        now += services.LEASE
    assert backtest_lease(now=now) is None
    assert of(run).state == BacktestState.FAILED
    assert "stopped before" in of(run).error


def test_a_cancelled_run_stops_at_its_next_beat(cast: Cast, one: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    run, beats = ask(cast, one, of_a_trace()), []

    def cancelled(**named: Any) -> None:
        beats.append(named["progress"])
        backtest_cancel(actor=cast.admin.actor, backtest_id=run.id, now=clock.now())
        services.backtest_beat(**named)

    monkeypatch.setattr(work, "BEAT_S", 0.0)
    monkeypatch.setattr(work, "backtest_beat", cancelled)
    assert works()
    assert len(beats) == 1
    assert (of(run).state, of(run).ended_by, of(run).result) == (BacktestState.CANCELLED, cast.admin.actor.name, None)
    assert not works()


def test_progress_is_written_while_it_runs(cast: Cast, one: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    run, seen = ask(cast, one, of_a_trace()), []

    def noted(**named: Any) -> None:
        services.backtest_beat(**named)
        seen.append(of(run).progress)

    monkeypatch.setattr(work, "BEAT_S", 0.0)
    monkeypatch.setattr(work, "backtest_beat", noted)
    works()
    assert seen == sorted(seen)
    assert seen[0] < 0.1
    assert seen[-1] == 1.0


def test_an_error_of_the_worker_is_kept_and_tried_again(
    cast: Cast, one: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ask(cast, one, of_a_trace())
    with monkeypatch.context() as patch:
        patch.setattr(work, "compare", lambda *args, **named: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            works()
    assert "ZeroDivisionError" in of(run).error
    assert not works()  # its lease goes on
    assert work.backtest_pass(now=clock.now() + 2 * services.LEASE)
    assert of(run).state == BacktestState.DONE


def variant(**changes: Any) -> Callable[[datetime], Asked]:
    return lambda end: last_hour(end, variants=[Variant(**changes)])


def trace(data: bytes, **more: Any) -> Callable[[datetime], Asked]:
    return lambda end: Asked(trace=data, variants=[Variant(max=1)], **more)


RATES = b"window_start_s,requests_per_s,burstiness_cv\n"
REFUSED: dict[str, tuple[Callable[[datetime], Asked], str, str]] = {
    "max below min": (variant(min=3, max=2), "variants[0].max", "greater than or equal to min"),
    "min above the max that is set": (variant(min=7), "variants[0].max", "which is 7"),
    "a target of 0": (variant(concurrency=0), "variants[0].concurrency", "from 1"),
    "a delay of NaN": (variant(scale_down_s=float("nan")), "variants[0].scale_down_s", "seconds"),
    "a start-up of minus one": (variant(start_up_s=-1.0), "variants[0].start_up_s", "seconds"),
    "three GPUs": (variant(gpu_count=3), "variants[0].gpu_count", "one of"),
    "a price of NaN": (variant(usd_per_gpu_hour=Decimal("NaN")), "variants[0].usd_per_gpu_hour", "from 0"),
    "an unknown type": (variant(instance_type="abacus"), "variants[0].instance_type", "'abacus'"),
    "a claim that holds none": (variant(claim_instances=1, gpu_count=8), "variants[0].claim_instances", "no replica"),
    "an unknown policy": (lambda end: last_hour(end, baselines=["magic"]), "baselines", "'magic'"),
    "a policy twice": (lambda end: last_hour(end, baselines=["hpa", "hpa"]), "baselines", "unique"),
    "nothing to compare": (lambda end: last_hour(end, variants=[]), "variants", "at least one"),
    "too much to compare": (lambda end: last_hour(end, variants=[Variant(max=1)] * 9), "variants", "at most 8"),
    "a name twice": (lambda end: last_hour(end, variants=[Variant(name="As Set", max=1)]), "variants", "of their own"),
    "no beginning": (lambda end: Asked(variants=[Variant(max=1)]), "start", "required"),
    "a minute": (lambda end: replace(last_hour(end), start=end - timedelta(minutes=1)), "start", "10 minutes"),
    "nine days": (lambda end: replace(last_hour(end), start=end - timedelta(days=9)), "start", "8 days"),
    "nothing recorded": (lambda end: Asked(start=end - timedelta(days=3), end=end - timedelta(days=2),
                                           variants=[Variant(max=1)]), "start", "No signals"),
    "nonsense": (trace(b"\x00\xff\xfe not a table"), "trace", "CSV|no column"),
    "no rows": (trace(b"timestamp_s\n"), "trace", "no row"),
    "nothing": (trace(b""), "trace", "no column"),
    "NaN in a row": (trace(b"timestamp_s\n1\nnan\n"), "trace", "Line 3"),
    "a negative row": (trace(b"timestamp_s\n1\n2\n-4\n"), "trace", "Line 4"),
    "unsorted windows": (trace(RATES + b"0,1,1\n60,1,1\n30,1,1\n"), "trace", "Line 4"),
    "too short a trace": (trace(b"timestamp_s\n1\n2\n3\n"), "trace", "10 minutes"),
    "too long a trace": (trace(b"timestamp_s\n1\n2\n900000\n"), "trace", "8 days"),
    "a scale of NaN": (trace(TRACE, scale=float("nan")), "trace", "scale"),
    "a rate without end": (trace(RATES + b"0,1e9,1\n600,1e9,1\n"), "trace", "requests"),
    "a trace and a range": (lambda end: replace(last_hour(end), trace=TRACE), "start", "own times"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_run_is_refused_before_anything_is_kept(
    case: str, cast: Cast, one: Deployment, end: datetime
) -> None:
    make, field, text = REFUSED[case]
    before = AuditEvent.objects.count()
    with pytest.raises(InvalidArgument) as refusal:
        ask(cast, one, make(end))
    said = {one.field: one.description for one in refusal.value.violations}
    assert field in said
    assert re.search(text, said[field])
    assert not Backtest.objects.exists()
    assert AuditEvent.objects.count() == before


def test_a_trace_is_refused_by_its_size_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MOST_BYTES", 100)
    with pytest.raises(TraceError, match="at most 100 are taken"):
        read_trace(b"\xff" * 101, "large", 1.0, 8.0, 0)


def test_a_trace_with_too_many_rows_is_refused_where_the_first_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MOST_ROWS", 3)
    with pytest.raises(TraceError, match="more than 3 rows"):
        read_trace(b"timestamp_s\n1\n2\n3\n4\nnonsense\n", "long", 1.0, 8.0, 0)


def test_arrivals_may_come_in_any_order(cast: Cast, one: Deployment) -> None:
    shuffled = b"timestamp_s\n" + b"".join(f"{at}\n".encode() for at in (900, 5, 700, 20, 1))
    assert ask(cast, one, Asked(trace=shuffled, baselines=["hpa"])).state == BacktestState.QUEUED


def test_only_admins_ask_and_cancel(cast: Cast, one: Deployment) -> None:
    for who in (cast.viewer, cast.billing):
        with pytest.raises(PermissionDenied):
            backtest_create(actor=who.actor, deployment_id=one.id, asked=of_a_trace(), now=clock.now())
    with pytest.raises(NotFound):
        backtest_create(actor=cast.outsider.actor, deployment_id=one.id, asked=of_a_trace(), now=clock.now())
    assert not Backtest.objects.exists()
    run = ask(cast, one, of_a_trace())
    with pytest.raises(PermissionDenied):
        backtest_cancel(actor=cast.viewer.actor, backtest_id=run.id, now=clock.now())
    with pytest.raises(NotFound):
        backtest_cancel(actor=cast.outsider.actor, backtest_id=run.id, now=clock.now())
    assert of(run).state == BacktestState.QUEUED


def test_an_organization_has_ten_under_way_at_most(cast: Cast, one: Deployment) -> None:
    for _ in range(services.MOST_WAITING):
        last = ask(cast, one, of_a_trace())
    with pytest.raises(FailedPrecondition, match="wait or run"):
        ask(cast, one, of_a_trace())
    backtest_cancel(actor=cast.admin.actor, backtest_id=last.id, now=clock.now())
    assert ask(cast, one, of_a_trace()).state == BacktestState.QUEUED


def test_what_was_asked_and_cancelled_is_in_the_audit_trail(cast: Cast, one: Deployment) -> None:
    run = ask(cast, one, of_a_trace())
    for _ in range(2):
        backtest_cancel(actor=cast.admin.actor, backtest_id=run.id, now=clock.now())
    events = AuditEvent.objects.filter(object_id=str(run.id)).order_by("id")
    assert [event.action for event in events] == ["backtest.create", "backtest.cancel"]
    created: Any = events[0].after
    assert created["compared"] == "as set, max 1"
