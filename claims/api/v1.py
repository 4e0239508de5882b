"""`/api/v1/quota`, `/capacity` and `/usage`: what the vendor's API has no address for."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims import metering
from claims.api import shapes
from claims.bills import REST_OF
from claims.core.rating import PriceMissing
from claims.focus.period import LONGEST
from claims.labels import labels_of_all
from claims.metering import UsageRow
from claims.models import Offering, UsageKind
from claims.quotas import unused_reserved
from claims.selectors import pools, quotas_of
from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument
from console.common.labels import KEY, key_wrong
from console.common.money import plain
from console.organizations.api.fields import query_time
from console.organizations.api.listing import Filter, Listing
from console.organizations.api.permissions import SeesMoney, request_actor
from console.organizations.models import Organization

T = TypeVar("T")
BY = ("claim", "deployment", "instanceType", "zone", "day")
LABEL = "label:"
REST = {"claim": REST_OF[UsageKind.REPLICA], "deployment": REST_OF[UsageKind.CLAIM]}

BY_PLACE = {"zone": ("zone", "instanceId"), "instanceId": ("instanceId", "zone")}
IN_PLACE = {"zone": Filter("zone", "Only of this zone."), "instanceId": Filter("instanceId", "Only of this type.")}
QUOTA = Listing({**BY_PLACE, "free": ("free", "zone", "instanceId")}, "zone", IN_PLACE)
CAPACITY = Listing({**BY_PLACE, "gpusFree": ("gpusFree", "zone", "instanceId")}, "zone", IN_PLACE)


class QuotaView(APIView):
    @extend_schema(responses=shapes.QuotaPage, operation_id="ListQuota", parameters=QUOTA.parameters)
    def get(self, request: Request) -> Response:
        """Quota of the organization by zone and instance type, in instances."""
        organization = request_actor(request).require_organization()
        rows = quotas_of(organization)
        unused = unused_reserved(organization, rows)
        return Response(QUOTA.made(request, [
            {"zone": row.zone, "instanceId": row.instance_type, "limit": row.limit, "reserved": row.reserved,
             "otherUsage": row.other_usage, "committed": row.committed, "free": row.free,
             "unusedReserved": unused[row.offering.key]}
            for row in rows
        ]))  # fmt: skip


class CapacityView(APIView):
    @extend_schema(responses=shapes.CapacityPage, operation_id="ListCapacity", parameters=CAPACITY.parameters)
    def get(self, request: Request) -> Response:
        """The managed pool of every offering; counts are instances, `gpusFree` GPUs that nobody uses or claims."""
        request_actor(request)
        return Response(CAPACITY.made(request, [
            {"zone": row.zone, "instanceId": row.instance_type, "gpusPerInstance": row.gpus_per_instance,
             "pool": {"instances": row.instances, "free": row.free, "claimed": row.claimed,
                      "onDemand": row.on_demand},
             "pendingClaims": row.pending_claims, "gpusFree": row.gpus_free}
            for row in pools()
        ]))  # fmt: skip


class UsageView(APIView):
    permission_classes = [SeesMoney]

    @extend_schema(
        responses=shapes.UsageShape,
        operation_id="GetUsage",
        parameters=[
            OpenApiParameter("start", OpenApiTypes.DATETIME, description="Default: the first of this month, UTC."),
            OpenApiParameter("end", OpenApiTypes.DATETIME, description="Default: now. At most 400 days after start."),
            OpenApiParameter(
                "by",
                {"type": "string", "pattern": f"^({'|'.join(BY)}|{LABEL}{KEY})$", "default": "claim"},
                description="What it is summed by, and by the rate: claim, deployment, instanceType, zone, day, or "
                "`label:team` for the values of a label, of claims and deployments; what has no such label is the item whose "
                "`label` is null. By claim, replicas on demand are the item whose `claim` is null; by deployment, claims the "
                "one whose `deployment` is null. So the items always add up to the total.",
            ),
        ],
    )
    def get(self, request: Request) -> Response:
        """GPU-hours and their cost, rated from the ledger; amounts are exact, as strings of decimals."""
        organization = request_actor(request).require_organization()
        now = clock.now()
        start = query_time(request, "start", metering.month_of(now))
        end = query_time(request, "end", now)
        assert start is not None
        assert end is not None
        if start >= end:
            raise InvalidArgument.of("start", "must lie before end")
        if end - start > LONGEST:  # every hour is rated
            raise InvalidArgument.of("end", f"must be at most {LONGEST.days} days after start")
        rows = priced(lambda: metering.usage(organization, start, end, now))
        by = request.query_params.get("by", "claim")
        return Response({
            "currency": "USD",
            "start": start, "end": end,
            "total": plain(metering.total(rows)),
            "items": by_label(organization, rows, by) if by.startswith(LABEL) else usage_items(rows, by),
        })  # fmt: skip


def priced(read: Callable[[], T]) -> T:
    """What `read` gives; FailedPrecondition where something has no price."""
    try:
        return read()
    except PriceMissing as missing:
        raise FailedPrecondition("PRICE_MISSING", missing.rate, metering.without_price(missing)) from missing


def usage_items(rows: list[UsageRow], by: str) -> list[dict[str, Any]]:
    """Rows summed by one dimension and the rate; together they are the total. With `by=claim` and `by=deployment` all of the
    other kind is the last item, whose claim or deployment is null."""
    offerings = Offering.objects.select_related("zone", "instance_type").in_bulk({row.offering_key for row in rows})
    dimensions: dict[str, Callable[[UsageRow], str | None]] = {
        "claim": lambda row: str(row.holder_id) if row.kind == UsageKind.CLAIM else None,
        "deployment": lambda row: str(row.holder_id) if row.kind == UsageKind.REPLICA else None,
        "instanceType": lambda row: offerings[row.offering_key].instance_type.name,
        "zone": lambda row: offerings[row.offering_key].zone.name,
        "day": lambda row: row.day.date().isoformat(),
    }
    if by not in dimensions:
        raise InvalidArgument.of("by", f"must be one of {', '.join(BY)}, or {LABEL} and a key; it is {by[:100]!r}")
    names: dict[str | None, str] = {str(row.holder_id): row.holder_name for row in rows}
    names[None] = REST.get(by, "")
    sums = metering.grouped(rows, lambda row: (dimensions[by](row), row.rate))
    return [
        {by: value, **({"name": names[value]} if by in REST else {}), "gpuHours": plain(hours(seconds)), "cost": plain(usd),
         "rate": rate}
        for (value, rate), (seconds, usd) in sorted(sums.items(), key=null_last)
    ]  # fmt: skip


def by_label(organization: Organization, rows: list[UsageRow], by: str) -> list[dict[str, Any]]:
    """Rows summed by the value of a label and the rate, what has no such label last; together they are the total."""
    key = by.removeprefix(LABEL)
    if wrong := key_wrong(key):
        raise InvalidArgument.of("by", f"{LABEL} must be followed by the key of a label: {wrong}")
    labels = labels_of_all(organization)
    sums = metering.grouped(rows, lambda row: (labels.get((row.kind, row.holder_id), {}).get(key), row.rate))
    return [
        {"label": value, "gpuHours": plain(hours(seconds)), "cost": plain(usd), "rate": rate}
        for (value, rate), (seconds, usd) in sorted(sums.items(), key=null_last)
    ]  # fmt: skip


def null_last(item: tuple[tuple[str | None, str], Any]) -> tuple[bool, str, str]:
    (value, rate), _ = item
    return value is None, value or "", rate


def hours(gpu_seconds: int) -> Decimal:
    return (Decimal(gpu_seconds) / 3600).quantize(Decimal("1e-6"))
