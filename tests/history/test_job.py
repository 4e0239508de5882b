"""The work on a history: asked for once, made once, whoever is killed on the way (W4)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from claims.models import UsageInterval
from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from console.organizations.models import AuditEvent
from deployments.core.explain import rerun
from deployments.history import chunks, services, work
from deployments.history.hours import Hour
from deployments.history.make import Made, make
from deployments.history.services import (
    LEASE,
    MOST_ATTEMPTS,
    history_cancel,
    history_hour_store,
    history_lease,
    history_request,
)
from deployments.history.work import history_pass
from deployments.loop.points import Points
from deployments.models import Decision, HistoryRun, HistoryState, SignalChunk
from tests import fleet
from tests.cast import Cast
from tests.history import worlds

pytestmark = pytest.mark.django_db


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours that were simulated once come out the same (test_make): they are taken from there, after the beats."""
    known = dict[tuple[Hour, ...], list[Made]]()

    def recalled(description: Any, hours: list[Hour], beat: Callable[[float], None]) -> list[Made]:
        beat(0.5)
        if tuple(hours) not in known:
            known[tuple(hours)] = make(description, hours, beat)
        return known[tuple(hours)]

    monkeypatch.setattr(work, "make", recalled)


class Killed(BaseException):
    """As good as kill -9: nothing that handles errors sees it."""


def everything() -> tuple[Any, ...]:
    """What a history leaves: all chunks and decisions, byte by byte."""
    chunks = SignalChunk.objects.order_by("deployment", "starts_at").values_list(
        "deployment", "starts_at", "until", "payload"
    )
    decisions = Decision.objects.order_by("id").values_list(
        "id", "deployment", "at", "wanted", "granted", "bound", "record"
    )
    return [(*row[:3], bytes(row[3])) for row in chunks], list(decisions)


def forgotten() -> None:
    """The world as it was before anything was made."""
    SignalChunk.objects.all().delete()
    Decision.objects.all().delete()
    HistoryRun.objects.update(state="QUEUED", progress=0, attempts=0, lease=None, leased_until=None, ended_at=None)
    for run in HistoryRun.objects.all():
        HistoryRun.objects.filter(pk=run.pk).update(made_from=run.ends_at)


def later() -> Any:
    return clock.now() + LEASE + timedelta(seconds=1)


def test_a_history_is_made_whole(cast: Cast) -> None:
    run = worlds.asked(cast)
    assert history_pass(now=clock.now())
    run.refresh_from_db()
    assert (run.state, run.progress, run.made_from) == (HistoryState.DONE, 1.0, run.starts_at)
    assert run.ended_at is not None
    for key in run.deployments.values_list("key", flat=True):
        at = [at for chunk in SignalChunk.objects.filter(deployment=key).order_by("starts_at")
              for at in Points.from_bytes(chunk.payload).at.tolist()]  # fmt: skip
        first = int(run.starts_at.timestamp())
        assert at == list(range(first - first % 5, int(run.ends_at.timestamp()), 5)), "each pass once, none missing"
        decisions = Decision.objects.filter(deployment=key)
        assert decisions.exists()
        assert not decisions.exclude(made_afterwards=True, at__gte=run.starts_at, at__lt=run.ends_at).exists()
        assert all(rerun(one.record).same for one in decisions)
    assert not history_pass(now=later()), "there is no more work"


@pytest.mark.thorough
def test_a_history_costs_nothing(cast: Cast) -> None:
    worlds.asked(cast)
    history_pass(now=clock.now())
    assert not UsageInterval.objects.exists()


@pytest.mark.thorough
def test_decisions_made_afterwards_are_older_than_all_that_follow(cast: Cast) -> None:
    """Everybody takes the highest id for the newest."""
    run = worlds.asked(cast)
    one = run.deployments.order_by("key").first()
    assert one is not None
    fleet.tick(one.instance_type)
    history_pass(now=clock.now())
    ids = list(Decision.objects.order_by("at", "deployment").values_list("id", flat=True))
    assert ids == sorted(ids)
    newest = Decision.objects.filter(deployment=one).order_by("-id")[0]
    assert not newest.made_afterwards


@pytest.mark.thorough
def test_w4_killed_at_any_step_it_goes_on_where_it_was(
    cast: Cast, remembered: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    worlds.asked(cast)
    history_pass(now=clock.now())
    whole = everything()
    steps: list[tuple[Any, str]] = [
        (work, "history_beat"), (work, "history_hour_store"), (chunks, "store"), (Decision.objects, "bulk_create"),
        (services, "publish"), (work, "make"),
    ]  # fmt: skip
    for where, name in steps:
        for after in (False, True):
            for number in (1, 2):
                forgotten()
                with monkeypatch.context() as patched:
                    patched.setattr(where, name, killing(getattr(where, name), number, after=after))
                    with pytest.raises(Killed):
                        history_pass(now=clock.now())
                assert not history_pass(now=clock.now()), "the dead worker's lease holds"
                assert history_pass(now=later())
                assert everything() == whole, (name, after, number)
                assert HistoryRun.objects.get().state == HistoryState.DONE


def killing(inner: Callable[..., Any], number: int, *, after: bool) -> Callable[..., Any]:
    """Dies in the call of that number, before or after it did its work."""
    calls = [0]

    def call(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == number and not after:
            raise Killed
        result = inner(*args, **kwargs)
        if calls[0] == number:
            raise Killed
        return result

    return call


@pytest.mark.thorough
def test_w4_a_worker_that_was_taken_for_dead_changes_nothing_more(
    cast: Cast, remembered: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second takes over while the first is about to keep an hour; the first comes back and stops."""
    worlds.asked(cast)
    history_pass(now=clock.now())
    whole = everything()
    forgotten()
    took_over: list[bool] = []

    def store(**given: Any) -> None:
        if not took_over:
            took_over.append(True)
            assert history_pass(now=later())
        history_hour_store(**given)

    monkeypatch.setattr(work, "history_hour_store", store)
    assert history_pass(now=clock.now())
    assert everything() == whole
    assert HistoryRun.objects.get().state == HistoryState.DONE


@pytest.mark.thorough
def test_cancelled_it_stops_at_the_next_step_and_keeps_what_is_made(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = worlds.asked(cast)

    def store(*, made: Made, **given: Any) -> None:
        history_hour_store(made=made, **given)
        if HistoryRun.objects.get().state == HistoryState.WORKING:
            history_cancel(actor=cast.admin.actor, run_id=run.id)

    monkeypatch.setattr(work, "history_hour_store", store)
    assert history_pass(now=clock.now())
    run.refresh_from_db()
    assert run.state == HistoryState.CANCELLED
    assert run.ended_by == cast.admin.actor.name
    assert run.starts_at < run.made_from < run.ends_at
    assert {one.starts_at for one in SignalChunk.objects.all()} == {run.made_from.replace(minute=0, second=0)}
    assert not history_pass(now=later())
    event = AuditEvent.objects.get(action="history.cancel")
    assert event.before is not None
    assert event.before["state"] == "WORKING"
    again = history_cancel(actor=cast.admin.actor, run_id=run.id)
    assert (again.state, AuditEvent.objects.filter(action="history.cancel").count()) == (HistoryState.CANCELLED, 1)


def test_who_may_cancel(cast: Cast) -> None:
    run = worlds.asked(cast)
    for actor, refusal in ((cast.viewer.actor, PermissionDenied), (cast.outsider.actor, NotFound)):
        with pytest.raises(refusal):
            history_cancel(actor=actor, run_id=run.id)
    run.refresh_from_db()
    assert run.state == HistoryState.QUEUED
    assert not AuditEvent.objects.filter(action="history.cancel").exists()


def test_a_worker_that_dies_of_its_work_does_not_try_for_ever(cast: Cast) -> None:
    worlds.asked(cast)
    now = clock.now()
    for _ in range(MOST_ATTEMPTS):
        assert history_lease(now=now) is not None
        now += LEASE + timedelta(seconds=1)
    assert history_lease(now=now) is None
    run = HistoryRun.objects.get()
    assert run.state == HistoryState.FAILED
    assert "ended each time" in run.last_error


@pytest.mark.thorough
def test_an_error_is_kept_and_tried_again(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    worlds.asked(cast)

    def broken(*args: Any) -> Any:
        raise RuntimeError("no room on the device")

    with monkeypatch.context() as patched:
        patched.setattr(work, "make", broken)
        with pytest.raises(RuntimeError):
            history_pass(now=clock.now())
    run = HistoryRun.objects.get()
    assert (run.state, run.last_error) == (HistoryState.WORKING, "RuntimeError: no room on the device")
    assert history_pass(now=later())
    assert HistoryRun.objects.get().state == HistoryState.DONE


def test_what_cannot_be_asked_for_is_refused(cast: Cast) -> None:
    run = worlds.asked(cast)
    mine = list(run.deployments.all())
    with pytest.raises(FailedPrecondition):
        history_request(actor=cast.admin.actor, deployments=mine, now=clock.now())
    with pytest.raises(PermissionDenied):
        history_request(actor=cast.viewer.actor, deployments=mine, now=clock.now())
    with pytest.raises(InvalidArgument):
        history_request(actor=cast.admin.actor, deployments=[], now=clock.now())
    assert HistoryRun.objects.count() == 1


@pytest.mark.thorough
def test_a_deployment_deleted_meanwhile_is_left_out(cast: Cast) -> None:
    run = worlds.asked(cast)
    gone = run.deployments.order_by("key").last()
    assert gone is not None
    gone.delete()
    history_pass(now=clock.now())
    assert set(SignalChunk.objects.values_list("deployment", flat=True)) == set(
        run.deployments.values_list("key", flat=True)
    )
    assert HistoryRun.objects.get().state == HistoryState.DONE
