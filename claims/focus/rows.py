"""Charges as rows of FOCUS 1.2. Amounts are exact; nothing is rounded but endless fractions, to 15 places."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from claims.core.rating import HOUR, ON_DEMAND
from claims.focus.charges import Charge
from claims.models import UsageKind
from console.common.labels import OWN_PREFIX
from console.common.money import SECONDS_PER_HOUR, plain
from console.organizations.models import Organization

VERSION = "1.2"
NAME, UNIT, USD = "Headroom", "GPU-Hours", "USD"
PLACES = Decimal("1e-15")
Column = Callable[[Charge, Organization], str]


def time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def quantity(charge: Charge) -> str:
    return plain((charge.gpu_seconds / SECONDS_PER_HOUR).quantize(PLACES))


def list_cost(charge: Charge) -> str:
    """What the quantity costs at the list price; exactly the cost where that is the price paid."""
    if charge.key.list_usd_per_gpu_hour == charge.key.usd_per_gpu_hour:
        return cost(charge)
    return plain((charge.gpu_seconds * charge.key.list_usd_per_gpu_hour / SECONDS_PER_HOUR).quantize(Decimal("1e-12")))


def cost(charge: Charge) -> str:
    return plain(charge.usd)


def price(charge: Charge) -> str:
    return plain(charge.key.usd_per_gpu_hour)


def list_price(charge: Charge) -> str:
    return plain(charge.key.list_usd_per_gpu_hour)


def is_claim(charge: Charge) -> bool:
    return charge.key.kind == UsageKind.CLAIM


def zone(charge: Charge) -> str:
    return charge.offering.zone.name


def region(charge: Charge) -> str:
    """A zone without its last letters: US-WEST-04A lies in US-WEST-04."""
    return re.sub(r"[A-Z]+$", "", zone(charge))


def instance_type(charge: Charge) -> str:
    return charge.offering.instance_type.name


def reservation_status(charge: Charge) -> str:
    if not is_claim(charge):
        return ""
    return "Unused" if charge.unused else "Used"


def sku_details(charge: Charge) -> str:
    kind = charge.offering.instance_type
    return json.dumps({"InstanceType": kind.name, "GpuCount": kind.gpus, "x_GpuModel": kind.gpu_model})


def tags(charge: Charge, organization: Organization) -> str:
    """Labels as they are, beside our own tags, whose prefix no label has."""
    own = {f"{OWN_PREFIX}/organization": organization.slug, f"{OWN_PREFIX}/kind": charge.key.kind.lower()}
    return json.dumps(own | dict(sorted(charge.labels.items())))


COLUMNS: dict[str, Column] = {
    "AvailabilityZone": lambda one, _: zone(one),
    "BilledCost": lambda one, _: cost(one),
    "BillingAccountId": lambda _, of: of.id,
    "BillingAccountName": lambda _, of: of.name,
    "BillingAccountType": lambda *_: "Organization",
    "BillingCurrency": lambda *_: USD,
    "BillingPeriodEnd": lambda one, _: time(one.billed_in.end),
    "BillingPeriodStart": lambda one, _: time(one.billed_in.start),
    "CapacityReservationId": lambda one, _: str(one.key.holder_id) if is_claim(one) else "",
    "CapacityReservationStatus": lambda one, _: reservation_status(one),
    "ChargeCategory": lambda *_: "Usage",
    "ChargeClass": lambda one, _: "Correction" if one.is_correction else "",
    "ChargeDescription": lambda one, _: one.description,
    "ChargeFrequency": lambda *_: "Usage-Based",
    "ChargePeriodEnd": lambda one, _: time(one.key.hour + HOUR),
    "ChargePeriodStart": lambda one, _: time(one.key.hour),
    "CommitmentDiscountStatus": lambda *_: "",
    "ConsumedQuantity": lambda one, _: quantity(one),
    "ConsumedUnit": lambda *_: UNIT,
    "ContractedCost": lambda one, _: cost(one),
    "ContractedUnitPrice": lambda one, _: price(one),
    "EffectiveCost": lambda one, _: cost(one),
    "InvoiceId": lambda one, _: str(one.statement or ""),
    "InvoiceIssuerName": lambda *_: NAME,
    "ListCost": lambda one, _: list_cost(one),
    "ListUnitPrice": lambda one, _: list_price(one),
    "PricingCategory": lambda one, _: "Standard" if one.key.rate == ON_DEMAND else "Committed",
    "PricingCurrency": lambda *_: USD,
    "PricingCurrencyContractedUnitPrice": lambda one, _: price(one),
    "PricingCurrencyEffectiveCost": lambda one, _: cost(one),
    "PricingCurrencyListUnitPrice": lambda one, _: list_price(one),
    "PricingQuantity": lambda one, _: quantity(one),
    "PricingUnit": lambda *_: UNIT,
    "ProviderName": lambda *_: NAME,
    "PublisherName": lambda *_: NAME,
    "RegionId": lambda one, _: region(one).lower(),
    "RegionName": lambda one, _: region(one),
    "ResourceId": lambda one, _: str(one.key.holder_id),
    "ResourceName": lambda one, _: one.key.holder_name,
    "ResourceType": lambda one, _: "Capacity claim" if is_claim(one) else "Deployment",
    "ServiceCategory": lambda *_: "AI and Machine Learning",
    "ServiceName": lambda *_: "GPU capacity",
    "ServiceSubcategory": lambda *_: "AI Platforms",
    "SkuId": lambda one, _: f"gpu-hour/{instance_type(one)}/{zone(one)}",
    "SkuMeter": lambda *_: "GPU time",
    "SkuPriceDetails": lambda one, _: sku_details(one),
    "SkuPriceId": lambda one, _: f"gpu-hour/{instance_type(one)}/{zone(one)}/{one.key.rate.lower()}/{price(one)}",
    "SubAccountId": lambda _, of: of.id,
    "SubAccountName": lambda _, of: of.name,
    "SubAccountType": lambda *_: "Organization",
    "Tags": tags,
}


def row(charge: Charge, organization: Organization) -> list[str]:
    return [column(charge, organization) for column in COLUMNS.values()]
