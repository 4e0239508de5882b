"""Replicas that are given up (R8): they load for too long, crash, or are gone from the runtime.

Their GPUs are released, and a new one is tried after a while, on another instance. The wait doubles from one attempt
to the attempt that followed it: replicas that fail side by side wait equally long.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction

from claims.services import GpuRelease
from console.common.notify import publish
from deployments.backends.base import Observation, RuntimeState
from deployments.core.states import HOLDING, ReplicaState
from deployments.loop.transitions import deployments_locked, let_go
from deployments.models import Replica

CRASHES = 3
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=10), timedelta(minutes=10)
# An attempt that began this long after the wait before it, or served this long, is no sequel of that failure.
SEQUEL, PROVEN = timedelta(hours=1), timedelta(minutes=10)
MEASURED = 100  # newest start-ups of a model
LONGEST_ERROR = 2000


@dataclass(frozen=True, slots=True)
class Failure:
    """A replica that is given up, with a code and what is known of why."""

    replica: Replica
    reason: str
    error: str


def given_up(replicas: Iterable[Replica], seen: Mapping[int, Observation], now: datetime) -> list[Failure]:
    """Those of the starting and ready replicas that are not waited for any longer."""
    found, loading = [], []
    for one in replicas:
        at = seen.get(one.key, Observation(RuntimeState.GONE))
        if at.state == RuntimeState.GONE:
            found.append(Failure(one, "VANISHED", "The runtime no longer has it."))
        elif at.state == RuntimeState.FAILED:
            found.append(Failure(one, "FAILED", at.error or "The runtime says that it failed."))
        elif at.crashes >= CRASHES:
            found.append(Failure(one, "CRASHED", f"Crashed {at.crashes} times. {at.error}".rstrip()))
        elif at.state == RuntimeState.LOADING and (since := _loads_since(one, at)) is not None:
            loading.append((one, at, since))
    return found + _too_long(loading, now)


def _loads_since(replica: Replica, at: Observation) -> datetime | None:
    """A replica that starts loads from its start on, whatever happens; one that was ready from its last crash on."""
    return replica.loading_at if replica.state == ReplicaState.STARTING else at.since


def _too_long(loading: Sequence[tuple[Replica, Observation, datetime]], now: datetime) -> list[Failure]:
    least = timedelta(seconds=settings.LOADING_LIMIT_S)
    late = [(one, at, now - since) for one, at, since in loading if now - since > least]
    usual = start_ups({one.deployment_id for one, _, _ in late}) if late else {}
    found = []
    for one, at, took in late:
        limit = max(least, 3 * usual.get(one.deployment_id, timedelta()))
        if took > limit:
            text = f"Not ready {_minutes(took)} after it began to load; {_minutes(limit)} are allowed. {at.error}"
            found.append(Failure(one, "LOADING_TOO_LONG", text.rstrip()))
    return found


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.1f} min"


def start_ups(deployments: Iterable[int]) -> dict[int, timedelta]:
    """90th percentile of how long the model of each deployment loaded lately on its instance type."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT d.key, percentile_disc(0.9) WITHIN GROUP (ORDER BY t.took) FROM deployments_deployment d
            CROSS JOIN LATERAL (
                SELECT r.ready_at - r.loading_at AS took FROM deployments_replica r
                JOIN deployments_deployment o ON o.key = r.deployment_id
                WHERE o.organization_id = d.organization_id AND o.model_bucket = d.model_bucket
                  AND o.model_path = d.model_path AND r.instance_type_id = d.instance_type_id
                  AND r.ready_at IS NOT NULL AND r.loading_at IS NOT NULL
                ORDER BY r.ready_at DESC LIMIT %s
            ) t WHERE d.key = ANY(%s) GROUP BY d.key""",
            [MEASURED, sorted(deployments)],
        )
        return dict(cursor.fetchall())


def replicas_fail(failures: Sequence[Failure]) -> int:
    """STARTING and READY become FAILED, where they still are; GPUs, billing, place, back-off and the deployment's count
    in one transaction. Returns how many failed."""
    if not failures:
        return 0
    by_key = {one.replica.key: one for one in failures}
    with transaction.atomic():
        ended = let_go(sorted(by_key), ReplicaState.FAILED)
        _note_end([by_key[key] for key in ended.keys], ended.held, ended.now)
        _count(ended.keys)
        publish("deployments", {one.replica.deployment.organization_id for one in failures})
    return len(ended.keys)


def _count(keys: Sequence[int]) -> None:
    """Failures of each deployment since one of its replicas became ready."""
    deployments_locked(Replica.objects.filter(key__in=keys))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE deployments_deployment AS d SET failures = d.failures + n.count FROM ("
            "SELECT deployment_id, count(*) FROM deployments_replica WHERE key = ANY(%s) GROUP BY 1"
            ") AS n WHERE d.key = n.deployment_id",
            [list(keys)],
        )


def _note_end(failures: Sequence[Failure], held: Iterable[GpuRelease], now: datetime) -> None:
    on: dict[int, int] = {}
    for release in held:
        on[release.replica_key] = min(on.get(release.replica_key, release.instance_key), release.instance_key)
    keys = [one.replica.key for one in failures]
    waits = _waits(keys, now)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE deployments_replica AS r SET reason = n.reason, last_error = n.error, ended_on = n.instance, "
            "retry_at = n.retry_at FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::timestamptz[]) "
            "AS n (key, reason, error, instance, retry_at) WHERE r.key = n.key",
            [
                keys,
                [one.reason for one in failures],
                [one.error[:LONGEST_ERROR] for one in failures],
                [on.get(key) for key in keys],
                [now + waits[key] for key in keys],
            ],
        )


def _waits(keys: Sequence[int], now: datetime) -> dict[int, timedelta]:
    """How long each waits before it is tried again: twice as long as the failure that it was a sequel of."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT r.key, max(f.retry_at - f.stopped_at) FROM deployments_replica r
            JOIN deployments_replica f ON f.deployment_id = r.deployment_id AND f.state = %s
             AND f.stopped_at <= r.created_at AND f.retry_at > r.created_at - make_interval(secs => %s)
            WHERE r.key = ANY(%s) AND (r.ready_at IS NULL OR r.ready_at > %s) GROUP BY r.key""",
            [ReplicaState.FAILED, SEQUEL.total_seconds(), list(keys), now - PROVEN],
        )
        before: dict[int, timedelta] = dict(cursor.fetchall())
    return {key: min(2 * before[key], LONGEST_WAIT) if key in before else FIRST_WAIT for key in keys}


def note_observed(replicas: Iterable[Replica], seen: Mapping[int, Observation]) -> None:
    """Keep the crashes and errors that the runtime tells of, where they are news."""
    news = [(one.key, at.crashes, at.error[:LONGEST_ERROR] or one.last_error) for one in replicas
            if (at := seen.get(one.key)) is not None
            and (at.crashes, at.error[:LONGEST_ERROR] or one.last_error) != (one.crashes, one.last_error)]  # fmt: skip
    if not news:
        return
    keys, crashes, errors = (list(column) for column in zip(*news, strict=True))
    with transaction.atomic(), connection.cursor() as cursor:
        held = Replica.objects.select_for_update(no_key=True).filter(key__in=keys, state__in=sorted(HOLDING))
        list(held.order_by("key").values_list("key"))
        cursor.execute(
            "UPDATE deployments_replica AS r SET crashes = n.crashes, last_error = n.error "
            "FROM unnest(%s::bigint[], %s::int[], %s::text[]) AS n (key, crashes, error) "
            "WHERE r.key = n.key AND r.state = ANY(%s)",
            [keys, crashes, errors, sorted(HOLDING)],
        )
