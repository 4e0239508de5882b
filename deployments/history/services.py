"""Writes of histories: asked for, cancelled, and the steps of the work on them (W4).

Work belongs to who holds the lease. Every write of it is conditional on that, so a worker that was taken for dead
changes nothing when it comes back.
"""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction
from django.db.models import QuerySet

from claims.core.conditions import timestamp
from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument, NotFound
from console.common.ids import new_id
from console.common.leases import LeaseLost, unleased, what_failed
from console.common.notify import publish
from console.common.wake import wake_on_commit
from console.organizations.actors import Actor
from console.organizations.models import Organization
from console.organizations.services import audit_record
from deployments.history import chunks
from deployments.history.description import describe
from deployments.history.make import Made
from deployments.loop.tick import PARAMS
from deployments.models import UNDER_WAY, Decision, Deployment, HistoryRun, HistoryState

TASK, QUEUE = "deployments.tasks.history", "bulk"
LENGTH = timedelta(hours=24)
LEASE = timedelta(seconds=30)
# Times that an hour is tried: a worker that is killed by its work does not try for ever.
MOST_ATTEMPTS = 10
# What pages listen to: progress comes often and concerns one line, hours change every chart.
PROGRESS_TOPIC, HOURS_TOPIC = "history-progress", "history"


def history_request(
    *, actor: Actor, deployments: Sequence[Deployment], now: datetime, length: timedelta = LENGTH
) -> HistoryRun:
    """Ask for the time before the deployments existed. Refuses with PermissionDenied, InvalidArgument (none of them
    has simulated requests), FailedPrecondition (one has such a history already)."""
    actor.require_write()
    organization = actor.require_organization()
    with transaction.atomic():
        world = describe(deployments, now)
        keys = [key for shard in world["shards"] for key in shard["deployments"]["key"]]
        if not keys:
            raise InvalidArgument.of("deployments", "have no simulated requests to make a history from")
        known = HistoryRun.objects.filter(deployments__in=keys).first()
        if known is not None:
            raise FailedPrecondition("HISTORY", str(known.id), "One of the deployments has such a history already.")
        begun = min(one.created_at for one in deployments if one.key in set(keys))
        # Between two passes, so that a point is of the time before or of the time after.
        end = datetime.fromtimestamp(begun.timestamp() // PARAMS.sample_s * PARAMS.sample_s, UTC)
        passes = int(length.total_seconds() / PARAMS.sample_s) + 1
        run = HistoryRun.objects.create(
            organization=organization, starts_at=end - length, ends_at=end, made_from=end, world=world,
            first_decision=_decision_ids(passes * len(keys)), created_at=now,
        )  # fmt: skip
        run.deployments.set(keys)
        audit_record(actor=actor, action="history.request", obj_type="HistoryRun", obj_id=str(run.id),
                     obj_name="simulated history", after=_described(run))  # fmt: skip
        wake_on_commit(TASK, QUEUE)
    return run


def _decision_ids(count: int) -> int:
    """The first of so many ids below those of all decisions to come: everybody takes the highest id for the newest."""
    table = connection.ops.quote_name(Decision._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")  # nobody takes one of them meanwhile
        cursor.execute(
            "SELECT setval(s.name, nextval(s.name) + %s) - %s "
            "FROM (SELECT pg_get_serial_sequence(%s, 'id')::regclass AS name) AS s",
            [count - 1, count - 1, Decision._meta.db_table],
        )
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def history_cancel(*, actor: Actor, run_id: uuid.UUID) -> HistoryRun:
    """Make no more of it; what is made stays. One that is over already stays as it is."""
    actor.require_write()
    organization = actor.require_organization()
    with transaction.atomic():
        run = _locked(HistoryRun.objects.filter(id=run_id, organization=organization))
        if run is None:
            raise NotFound("HistoryRun", run_id)
        if run.state in UNDER_WAY:
            before = _described(run)
            _end(run, HistoryState.CANCELLED, actor.name)
            audit_record(actor=actor, action="history.cancel", obj_type="HistoryRun", obj_id=str(run.id),
                         obj_name="simulated history", before=before, after=_described(run))  # fmt: skip
    return run


def history_lease(*, now: datetime) -> HistoryRun | None:
    """Take up the oldest history that nobody works on; None where there is none."""
    due = HistoryRun.objects.filter(unleased(now), state__in=UNDER_WAY)
    for key in due.order_by("created_at", "id").values_list("pk", flat=True):
        with transaction.atomic():
            run = _locked(due.filter(pk=key), skip_locked=True)
            if run is None:
                continue
            if run.attempts >= MOST_ATTEMPTS:
                run.last_error = run.last_error or "The worker ended each time that it made an hour."
                _end(run, HistoryState.FAILED, "the worker")
                continue
            run.state, run.lease, run.leased_until = HistoryState.WORKING, new_id(), now + LEASE
            run.attempts += 1
            run.save(update_fields=["state", "lease", "leased_until", "attempts"])
            return run
    return None


def history_beat(*, run: HistoryRun, progress: float, now: datetime) -> None:
    """Say that the work goes on and how far it is. Raises LeaseLost."""
    mine = HistoryRun.objects.filter(pk=run.pk, lease=run.lease, state=HistoryState.WORKING)
    if not mine.update(leased_until=now + LEASE, progress=progress):
        raise LeaseLost
    publish(PROGRESS_TOPIC, _organizations(run))


def history_hour_store(*, run: HistoryRun, made: Made, progress: float, now: datetime) -> None:
    """Keep an hour, all of it or nothing. Raises LeaseLost.

    The row says which hours are made, and moves on in the same transaction: so each is kept once.
    """
    begins = datetime.fromtimestamp(made.hour.start, UTC)
    with transaction.atomic():
        mine = _locked(HistoryRun.objects.filter(pk=run.pk, lease=run.lease, state=HistoryState.WORKING))
        if mine is None or begins >= mine.made_from:
            raise LeaseLost
        there = dict(mine.deployments.values_list("pk", "organization"))  # one may have been deleted since
        chunks.store(made, set(there))
        Decision.objects.bulk_create(_decisions(run, made, there), batch_size=200)
        mine.made_from, mine.progress, mine.attempts, mine.leased_until = begins, progress, 0, now + LEASE
        mine.save(update_fields=["made_from", "progress", "attempts", "leased_until"])
        if mine.made_from <= mine.starts_at:
            _end(mine, HistoryState.DONE, "")
        publish(HOURS_TOPIC, _organizations(mine))
    run.made_from, run.progress, run.state = mine.made_from, mine.progress, mine.state


def history_give_back(*, run: HistoryRun, error: Exception, now: datetime) -> None:
    """It failed here: somebody tries again when the lease has run out."""
    mine = HistoryRun.objects.filter(pk=run.pk, lease=run.lease)
    mine.update(last_error=what_failed(error), leased_until=now + LEASE)


def _decisions(run: HistoryRun, made: Made, there: dict[int, int]) -> list[Decision]:
    """In the order of time their ids rise, below all ids of the time after."""
    ranks = {key: rank for rank, key in enumerate(_keys(run))}
    first = int(run.starts_at.timestamp() // PARAMS.sample_s)
    return [
        Decision(
            id=run.first_decision + (int(one.at // PARAMS.sample_s) - first) * len(ranks) + ranks[one.deployment],
            deployment_id=one.deployment, organization_id=there[one.deployment],
            at=datetime.fromtimestamp(one.at, UTC), current=one.current, wanted=one.wanted, granted=one.granted, bound=one.bound, record=one.record, made_afterwards=True,
        )
        for one in made.decisions
        if one.deployment in there
    ]  # fmt: skip


def _keys(run: HistoryRun) -> list[int]:
    return sorted(key for shard in run.world["shards"] for key in shard["deployments"]["key"])


def _locked(found: QuerySet[HistoryRun], *, skip_locked: bool = False) -> HistoryRun | None:
    return found.select_for_update(no_key=True, skip_locked=skip_locked).first()


def _end(run: HistoryRun, state: HistoryState, by: str) -> None:
    run.state, run.ended_by, run.lease, run.leased_until = state, by[:150], None, None
    run.ended_at = clock.now()
    run.save(update_fields=["state", "ended_by", "ended_at", "lease", "leased_until", "last_error"])
    publish(HOURS_TOPIC, _organizations(run))


def _organizations(run: HistoryRun) -> list[int]:
    return list(Organization.objects.filter(deployments__history_runs=run).distinct().values_list("pk", flat=True))


def _described(run: HistoryRun) -> dict[str, str]:
    return {"state": run.state, "from": timestamp(run.starts_at), "to": timestamp(run.ends_at),
            "made from": timestamp(run.made_from)}  # fmt: skip
