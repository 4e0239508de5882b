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
        Zone.objects.bulk_create((Zone(name=name) for name in ZONES), ignore_conflicts=True)
        InstanceType.objects.bulk_create(
            (
                InstanceType(
                    name=shape.name, gpus=shape.gpus, gpu_model=shape.gpu_model, gpu_memory_gib=shape.gpu_memory_gib
                )
                for shape in SHAPES
            ),
            ignore_conflicts=True,
        )
        zones = {zone.name: zone for zone in Zone.objects.filter(name__in=ZONES)}
        types = {type_.name: type_ for type_ in InstanceType.objects.filter(name__in=[one.name for one in SHAPES])}
        Offering.objects.bulk_create(
            (Offering(zone=zones[zone], instance_type=types[shape.name]) for shape in SHAPES for zone in ZONES),
            ignore_conflicts=True,
        )
        priced = set(Price.objects.filter(zone=None).values_list("instance_type", "kind"))
        Price.objects.bulk_create(
            price
            for shape in SHAPES
            for price in prices_of(types[shape.name], shape.usd_per_gpu_hour)
            if (price.instance_type_id, price.kind) not in priced
        )


def prices_of(instance_type: InstanceType, usd: Decimal) -> list[Price]:
    """The list price of a GPU-hour, and the reserved rate."""
    rates = {PriceKind.ON_DEMAND: usd, PriceKind.RESERVED: usd * RESERVED_SHARE}
    return [
        Price(instance_type=instance_type, kind=kind, usd_per_gpu_hour=rate, valid=DateTimeTZRange(VALID_FROM, None))
        for kind, rate in rates.items()
    ]
