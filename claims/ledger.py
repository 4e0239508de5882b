"""The usage ledger: intervals are opened and closed here, in the transaction of the change they record (B4)."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db.models import Value
from django.db.models.functions import Greatest

from claims.models import CapacityClaim, Instance, UsageInterval, UsageKind


def whole_second(at: datetime) -> datetime:
    """Ledger times are whole seconds, cut off: an end and the next beginning of one moment stay equal."""
    return at.replace(microsecond=0)


def open_claim_intervals(*, claim: CapacityClaim, instances: Sequence[Instance], now: datetime) -> None:
    """The claim pays for these instances from `now` on (B1); they are READY."""
    UsageInterval.objects.bulk_create(
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
            started_at=whole_second(now),
        )
        for instance in instances
    )


def close_on_demand(*, instance_keys: Sequence[int], now: datetime) -> int:
    """End what replicas pay for on these instances, which a claim takes over at this moment (C4, B8)."""
    end = Greatest("started_at", Value(whole_second(now)))
    found = UsageInterval.objects.filter(
        kind=UsageKind.REPLICA, instance_id__in=list(instance_keys), ended_at__isnull=True
    )
    return found.update(ended_at=end)


def close_intervals(*, kind: UsageKind, resource_keys: Iterable[int], now: datetime) -> int:
    """End what is open for these resources; never before it began (B4). Returns how many were open."""
    end = Greatest("started_at", Value(whole_second(now)))
    found = UsageInterval.objects.filter(kind=kind, resource_key__in=list(resource_keys), ended_at__isnull=True)
    return found.update(ended_at=end)
