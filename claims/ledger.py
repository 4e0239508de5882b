"""The usage ledger: intervals are opened and closed here, in the transaction of the change they record (B4).

A change is entered with the time at which its pass or request began, in whole seconds, cut off. By then others may have
entered later times, and the meter may have gone on. So, whatever the clocks say, nothing is entered before the moment
up to which the meter has closed the organization's books (B5), and no tenure of an instance begins before what was paid
for there has ended (B8).
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from django.db.models import Max, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Greatest

from claims import locks
from claims.models import CapacityClaim, Instance, MeterCursor, UsageInterval, UsageKind
from console.common.rows import rows_copy


def whole_second(at: datetime) -> datetime:
    """Ledger times are whole seconds, cut off: an end and the next beginning of one moment stay equal."""
    return at.replace(microsecond=0)


def open_claim_intervals(*, claim: CapacityClaim, instances: Sequence[Instance], now: datetime) -> None:
    """The claim pays for these instances from `now` on (B1); they are READY."""
    rows = [
        UsageInterval(
            kind=UsageKind.CLAIM,
            resource_key=instance.key,
            organization_id=claim.organization_id,
            offering_id=instance.offering_id,
            instance_id=instance.key,
            gpus=instance.gpus,
            claim_kind=claim.kind,
            holder_id=claim.id,
            holder_name=claim.name,
        )
        for instance in instances
    ]
    open_intervals(rows=rows, before=UsageInterval.objects.all(), now=now)


def open_intervals(*, rows: Sequence[UsageInterval], before: QuerySet[UsageInterval], now: datetime) -> None:
    """Enter these, from `now` on, but not before those of `before` on the same instance have ended."""
    if not rows:
        return
    at = whole_second(now)
    closed = books_closed({row.organization_id for row in rows})
    later = before.filter(instance__in={row.instance_id for row in rows}, ended_at__gt=at)
    ends = dict(later.order_by().values_list("instance_id").annotate(Max("ended_at")))
    for row in rows:
        row.started_at = max(at, closed.get(row.organization_id, at), ends.get(row.instance_id, at))
    rows_copy(rows)


def close_on_demand(*, instance_keys: Sequence[int], now: datetime) -> int:
    """End what replicas pay for on these instances, which a claim takes over at this moment (C4, B8)."""
    return _close(UsageInterval.objects.filter(kind=UsageKind.REPLICA, instance__in=list(instance_keys)), now)


def close_intervals(*, kind: UsageKind, resource_keys: Iterable[int], now: datetime) -> int:
    """End what is open for these resources; never before it began (B4). Returns how many were open."""
    return _close(UsageInterval.objects.filter(kind=kind, resource_key__in=list(resource_keys)), now)


def _close(rows: QuerySet[UsageInterval], now: datetime) -> int:
    found = rows.filter(ended_at__isnull=True)
    organizations = set(found.order_by().values_list("organization_id", flat=True).distinct())
    if not organizations:
        return 0
    locks.books_lock(organizations)
    closed = MeterCursor.objects.filter(organization=OuterRef("organization")).values("closed_until")
    return found.update(ended_at=Greatest("started_at", Value(whole_second(now)), Subquery(closed)))


def books_closed(organization_keys: Collection[int]) -> dict[int, datetime]:
    """Up to when the books of these organizations are closed, where they are. They stay so until the transaction ends:
    what it enters must not be earlier."""
    locks.books_lock(organization_keys)
    cursors = MeterCursor.objects.filter(organization__in=organization_keys)
    return dict(cursors.values_list("organization_id", "closed_until"))
