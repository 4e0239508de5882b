"""Prices: ranges of time, changed from a moment on; the platform's alone. What is rated keeps the price of its time."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import Q

from claims import locks
from claims.ledger import whole_second
from claims.models import InstanceType, Price, PriceKind, RatedSlice, Zone
from console.common.errors import FieldViolation, InvalidArgument, PermissionDenied
from console.organizations.actors import Actor
from console.organizations.services import audit_record

MOST_USD, PLACES = Decimal(1_000_000), Decimal("1e-6")


def price_set(
    *, actor: Actor, instance_type: InstanceType, zone: Zone | None, kind: PriceKind, usd: Decimal, starts: datetime
) -> Price:
    """USD for a GPU-hour from `starts` on, until the next price that is known already; the one before ends there.

    `zone` None: in all zones that have no price of their own. Refuses with InvalidArgument a time of which something
    was rated already: that was paid by the price there was (B5).
    """
    if not actor.is_platform:
        raise PermissionDenied("Only the platform's staff may change prices.")
    starts = whole_second(starts)
    wrong = []
    if not usd.is_finite() or not 0 <= usd <= MOST_USD or usd != usd.quantize(PLACES):
        wrong.append(FieldViolation("usd_per_gpu_hour", f"must be from 0 to {MOST_USD}, of at most 6 decimals"))
    if kind not in PriceKind.values:
        wrong.append(FieldViolation("kind", f"must be one of {', '.join(PriceKind.values)}"))
    if wrong:
        raise InvalidArgument(wrong)
    with transaction.atomic():
        locks.prices_changing_lock()
        _refuse_what_is_rated(instance_type, zone, kind, starts)
        price, before = _placed(instance_type, zone, kind, usd, starts)
        audit_record(actor=actor, action="price.set", obj_type="Price", obj_id=str(price.pk), obj_name=str(price),
                     before=before, after=_described(price))  # fmt: skip
    return price


def _refuse_what_is_rated(instance_type: InstanceType, zone: Zone | None, kind: PriceKind, starts: datetime) -> None:
    rated = RatedSlice.objects.filter(rate=kind, ended_at__gt=starts, interval__offering__instance_type=instance_type)
    if zone is not None:
        rated = rated.filter(interval__offering__zone=zone)
    else:
        own = Price.objects.filter(instance_type=instance_type, kind=kind, zone__isnull=False)
        rated = rated.exclude(interval__offering__zone__in=own.values("zone"))
    last = rated.order_by("-ended_at").values_list("ended_at", flat=True).first()
    if last is not None:
        raise InvalidArgument.of("starts", f"use until {last:%Y-%m-%d %H:%M} UTC is rated already; begin then or later")


def _placed(
    instance_type: InstanceType, zone: Zone | None, kind: PriceKind, usd: Decimal, starts: datetime
) -> tuple[Price, dict[str, Any] | None]:
    """The price among its neighbours, and the one that there was at that moment before."""
    same = Price.objects.filter(instance_type=instance_type, zone=zone, kind=kind)
    current = same.filter(valid__contains=starts).first()
    before = _described(current) if current is not None else None
    if current is not None and current.valid.lower == starts:
        current.usd_per_gpu_hour = usd
        current.save(update_fields=["usd_per_gpu_hour"])
        return current, before
    ends = same.filter(Q(valid__startswith__gt=starts)).order_by("valid").values_list("valid", flat=True).first()
    if current is not None:
        current.valid = DateTimeTZRange(current.valid.lower, starts)
        current.save(update_fields=["valid"])
    made = Price.objects.create(
        instance_type=instance_type, zone=zone, kind=kind, usd_per_gpu_hour=usd,
        valid=DateTimeTZRange(starts, ends.lower if ends else None),
    )  # fmt: skip
    return made, before


def _described(price: Price) -> dict[str, Any]:
    return {"usdPerGpuHour": str(price.usd_per_gpu_hour), "zone": price.zone.name if price.zone else None,
            "starts": price.valid.lower.isoformat()}  # fmt: skip
