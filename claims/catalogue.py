"""The shapes, zones and prices that the demo offers.

Shapes are the vendor's; on-demand prices are its list prices for a GPU-hour in US dollars (November 2026). The
reserved rate is invented: 60 % of the on-demand price.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from django.db import transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from claims.models import InstanceType, Offering, Price, PriceKind, Zone

RESERVED_SHARE = Decimal("0.60")
VALID_FROM = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Shape:
    name: str
    gpus: int
    gpu_model: str
    gpu_memory_gib: int
    usd_per_gpu_hour: Decimal


SHAPES = [
    Shape("gb200-4x", 4, "NVIDIA GB200", 186, Decimal("10.50")),
    Shape("b200-8x", 8, "NVIDIA B200", 180, Decimal("8.60")),
    Shape("gd-8xh200ib-i128", 8, "NVIDIA H200", 141, Decimal("6.31")),
    Shape("gd-8xh100ib-i128", 8, "NVIDIA H100", 80, Decimal("6.16")),
    Shape("gd-8xl40s-i128", 8, "NVIDIA L40S", 48, Decimal("2.25")),
    Shape("gd-1xgh200", 1, "NVIDIA GH200", 96, Decimal("6.50")),
]
ZONES = ["US-WEST-04A", "US-EAST-01A", "RNO2A"]


def catalogue_load() -> None:
    """Zones, types, offerings of every type in every zone, prices. Safe to repeat: what is there stays."""
    with transaction.atomic():
        zones = [Zone.objects.get_or_create(name=name)[0] for name in ZONES]
        for shape in SHAPES:
            fields = {
                "gpus": shape.gpus,
                "gpu_model": shape.gpu_model,
                "gpu_memory_gib": shape.gpu_memory_gib,
            }
            type_, _ = InstanceType.objects.get_or_create(name=shape.name, defaults=fields)
            price_ensure(type_, PriceKind.ON_DEMAND, shape.usd_per_gpu_hour)
            price_ensure(type_, PriceKind.RESERVED, shape.usd_per_gpu_hour * RESERVED_SHARE)
            for zone in zones:
                Offering.objects.get_or_create(zone=zone, instance_type=type_)


def price_ensure(instance_type: InstanceType, kind: PriceKind, usd: Decimal) -> None:
    if not Price.objects.filter(instance_type=instance_type, zone=None, kind=kind).exists():
        Price.objects.create(
            instance_type=instance_type,
            kind=kind,
            usd_per_gpu_hour=usd,
            valid=DateTimeTZRange(VALID_FROM, None),
        )
