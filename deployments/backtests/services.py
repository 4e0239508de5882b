"""Writes of backtests: asked for, cancelled, and the steps of the work on them (W4).

Work belongs to who holds the lease, and every write of it is conditional on that: a worker that was taken for dead, or
whose run was cancelled, changes nothing.
"""

import io
import uuid
import zlib
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from console.common.errors import FailedPrecondition, InvalidArgument, NotFound
from console.common.ids import new_id
from console.common.leases import MOST_TOLD, LeaseLost, unleased, what_failed
from console.common.notify import publish
from console.common.wake import wake_on_commit
from console.organizations.actors import Actor
from console.organizations.services import audit_record
from deployments.backtest.recorded import NoDemandError, recorded_at_all
from deployments.backtest.traces import TraceError, Traffic, traffic_in
from deployments.backtests.asked import LONGEST, SHORTEST, Asked, resolved
from deployments.models import BACKTEST_UNDER_WAY, Backtest, BacktestState, Deployment
from deployments.selectors import deployment_get

TASK, QUEUE, TOPIC = "deployments.tasks.backtests", "bulk", "backtests"
LEASE = timedelta(seconds=60)
MOST_ATTEMPTS = 3  # a worker that is killed by its work does not try for ever
MOST_WAITING = 10  # of an organization at once
MOST_BYTES, MOST_ROWS, MOST_REQUESTS = 16 * 1024 * 1024, 500_000, 20_000_000  # of an uploaded trace


def backtest_create(*, actor: Actor, deployment_id: uuid.UUID, asked: Asked, now: datetime) -> Backtest:
    """Ask for a backtest; a worker begins within seconds. Refuses with PermissionDenied, NotFound, InvalidArgument (what
    cannot be compared, a trace that cannot be read, a time of which nothing is recorded), FailedPrecondition (too many
    wait already)."""
    actor.require_write()
    organization = actor.require_organization()
    deployment = deployment_get(organization, deployment_id)
    request = resolved(deployment, asked, now)
    _check_demand(deployment, asked, now)
    with transaction.atomic():
        waiting = Backtest.objects.filter(organization=organization, state__in=BACKTEST_UNDER_WAY).count()
        if waiting >= MOST_WAITING:
            text = f"{waiting} backtests of the organization wait or run; cancel one, or wait until one is done."
            raise FailedPrecondition("BACKTESTS", organization.id, text)
        run = Backtest.objects.create(
            organization=organization, deployment=deployment, deployment_name=deployment.name, request=request,
            trace=zlib.compress(asked.trace, 6) if asked.trace is not None else None,
            created_at=now, created_by=actor.name[:150],
        )  # fmt: skip
        audit_record(actor=actor, action="backtest.create", obj_type="Backtest", obj_id=str(run.id),
                     obj_name=deployment.name, after=_described(run))  # fmt: skip
        publish(TOPIC, [organization.key])
        wake_on_commit(TASK, QUEUE)
    return run


def backtest_cancel(*, actor: Actor, backtest_id: uuid.UUID, now: datetime) -> Backtest:
    """End it; its worker sees that within two seconds. One that is over already stays as it is."""
    actor.require_write()
    organization = actor.require_organization()
    with transaction.atomic():
        run = _locked(Backtest.objects.filter(id=backtest_id, organization=organization))
        if run is None:
            raise NotFound("Backtest", backtest_id)
        if run.state in BACKTEST_UNDER_WAY:
            before = _described(run)
            _end(run, BacktestState.CANCELLED, actor.name, now)
            audit_record(actor=actor, action="backtest.cancel", obj_type="Backtest", obj_id=str(run.id),
                         obj_name=run.deployment_name, before=before, after=_described(run))  # fmt: skip
    return run


def backtest_lock(run: Backtest) -> None:
    """Hold it until the transaction ends: nobody ends it meanwhile."""
    _locked(Backtest.objects.filter(pk=run.pk))


def backtest_lease(*, now: datetime) -> Backtest | None:
    """Take up the oldest backtest that nobody works on; None where there is none."""
    due = Backtest.objects.filter(unleased(now), state__in=BACKTEST_UNDER_WAY)
    for key in due.order_by("created_at", "id").values_list("pk", flat=True):
        with transaction.atomic():
            run = _locked(due.filter(pk=key), skip_locked=True)
            if run is None:
                continue
            if run.attempts >= MOST_ATTEMPTS:
                run.error = run.error or "Each worker that began it was stopped before it was done."
                _end(run, BacktestState.FAILED, "the worker", now)
                continue
            run.state, run.lease, run.leased_until = BacktestState.RUNNING, new_id(), now + LEASE
            run.attempts, run.progress, run.started_at = run.attempts + 1, 0.0, now
            run.save(update_fields=["state", "lease", "leased_until", "attempts", "progress", "started_at"])
            publish(TOPIC, [run.organization_id])
            return run
    return None


def backtest_beat(*, run: Backtest, progress: float, now: datetime) -> None:
    """Say that the work goes on and how far it is. Raises LeaseLost."""
    if not _mine(run).update(leased_until=now + LEASE, progress=progress):
        raise LeaseLost
    publish(TOPIC, [run.organization_id])


def backtest_finish(*, run: Backtest, result: dict[str, Any], now: datetime) -> None:
    """Keep what came of it. Raises LeaseLost."""
    with transaction.atomic():
        mine = _locked(_mine(run))
        if mine is None:
            raise LeaseLost
        mine.result, mine.progress = result, 1.0
        _end(mine, BacktestState.DONE, "", now)


def backtest_fail(*, run: Backtest, why: str, now: datetime) -> None:
    """It cannot be done, and why; nobody tries again."""
    with transaction.atomic():
        mine = _locked(_mine(run))
        if mine is not None:
            mine.error = why[:MOST_TOLD]
            _end(mine, BacktestState.FAILED, "the worker", now)


def backtest_give_back(*, run: Backtest, error: Exception, now: datetime) -> None:
    """It failed here: somebody tries again when the lease has run out."""
    _mine(run).update(error=what_failed(error), leased_until=now + LEASE)


def trace_of(run: Backtest) -> Traffic:
    """The uploaded trace. Raises TraceError."""
    assert run.trace is not None
    source = run.request["source"]
    return read_trace(zlib.decompress(run.trace), source["name"], source["scale"], source["mean_service_s"],
                      run.request["seed"])  # fmt: skip


def read_trace(trace: bytes, name: str, scale: float, mean_service_s: float, seed: int) -> Traffic:
    """Bounded in bytes, rows, requests and time. Raises TraceError, which names the line."""
    if len(trace) > MOST_BYTES:
        raise TraceError(f"It has {len(trace):,} bytes; at most {MOST_BYTES:,} are taken.")
    text = io.TextIOWrapper(io.BytesIO(trace), encoding="utf-8-sig", newline="")
    found = traffic_in(text, name, scale=scale, mean_service_s=mean_service_s, seed=seed, most_rows=MOST_ROWS,
                       most_requests=MOST_REQUESTS)  # fmt: skip
    if not SHORTEST.total_seconds() <= found.span_s <= LONGEST.total_seconds():
        raise TraceError(f"It is {found.span_s:,.0f} s long; 10 minutes to {LONGEST.days} days can be replayed.")
    return found


def _check_demand(deployment: Deployment, asked: Asked, now: datetime) -> None:
    try:
        if asked.trace is not None:
            read_trace(asked.trace, asked.trace_name, asked.scale, asked.mean_service_s, asked.seed)
        elif asked.start:
            recorded_at_all(deployment, asked.start, min(asked.end or now, now), now)
    except TraceError as error:
        raise InvalidArgument.of("trace", str(error)) from error
    except NoDemandError as error:
        raise InvalidArgument.of("start", str(error)) from error


def _mine(run: Backtest) -> QuerySet[Backtest]:
    return Backtest.objects.filter(pk=run.pk, lease=run.lease, state=BacktestState.RUNNING)


def _locked(found: QuerySet[Backtest], *, skip_locked: bool = False) -> Backtest | None:
    """Without the trace, which is large and read by who needs it."""
    return found.defer("trace").select_for_update(no_key=True, skip_locked=skip_locked).first()


def _end(run: Backtest, state: BacktestState, by: str, now: datetime) -> None:
    run.state, run.ended_by, run.ended_at, run.lease, run.leased_until = state, by[:150], now, None, None
    run.save(update_fields=["state", "ended_by", "ended_at", "lease", "leased_until", "error", "result", "progress"])
    publish(TOPIC, [run.organization_id])


def _described(run: Backtest) -> dict[str, Any]:
    source = run.request["source"]
    demand = source["name"] if source["kind"] == "trace" else f"{source['start']} to {source['end']}"
    return {"state": run.state, "demand": demand, "compared": ", ".join(side["name"] for side in run.request["sides"])}
