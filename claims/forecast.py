"""What the present month is going to cost.

Method: what was used so far; plus what claims hold now, held on to the end of the month at the prices and the quota that
are set for then (claims are commitments: paid whether used or not, until somebody changes them); plus replicas on demand
at their mean of the last seven days, which has every hour of the day and every day of the week in it once. A younger
ledger is averaged over the time there is.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from django.db.models import Min, Q

from claims import metering
from claims.bills import Month
from claims.core import rating
from claims.ledger import whole_second
from claims.metering import UsageRow
from claims.models import UsageInterval, UsageKind
from console.organizations.models import Organization

LOOK_BACK = timedelta(days=7)
SECOND = timedelta(seconds=1)
Key = tuple[str, uuid.UUID, str, int]


@dataclass(frozen=True, slots=True)
class Forecast:
    """USD. `ahead` is what is still to come, by (kind, holder, its name, offering)."""

    so_far: Decimal
    ahead: dict[Key, Decimal]
    seconds_left: int

    @property
    def total(self) -> Decimal:
        return self.so_far + sum(self.ahead.values(), Decimal(0))

    @property
    def claims(self) -> Decimal:
        """What claims hold, to the end of the month."""
        return sum((usd for key, usd in self.ahead.items() if key[0] == UsageKind.CLAIM), Decimal(0))

    @property
    def on_demand(self) -> Decimal:
        """Replicas on demand, to the end of the month."""
        return sum((usd for key, usd in self.ahead.items() if key[0] == UsageKind.REPLICA), Decimal(0))


def forecast(organization: Organization, now: datetime, spent: Iterable[UsageRow] | None = None) -> Forecast:
    """Of the month that `now` is in. `spent`: its use so far, where that has been read. Raises PriceMissing."""
    at = whole_second(now)
    end = Month(metering.month_of(at)).end
    rows = metering.month_to_date(organization, now, by_holder=False) if spent is None else spent
    ahead = claims_ahead(organization, at, end)
    for key, usd in on_demand_ahead(organization, at, end).items():
        ahead[key] = ahead.get(key, Decimal(0)) + usd
    return Forecast(metering.total(rows), ahead, int((end - at).total_seconds()))


def claims_ahead(organization: Organization, at: datetime, end: datetime) -> dict[Key, Decimal]:
    """What is held by claims now costs this until then. Rates change only with prices: one look at each of those."""
    held = metering.intervals_in(organization, at, at + SECOND).filter(kind=UsageKind.CLAIM)
    rows = {row.id: row for row in held.filter(Q(ended_at__isnull=True) | Q(ended_at__gt=at))}
    if not rows:
        return {}
    intervals = [
        rating.Interval(row.id, row.offering_id, row.gpus, row.claim_kind, row.started_at, None)
        for row in rows.values()
    ]
    quotas, prices = metering.quota_points(organization), metering.price_points()
    changes = {edge for point in prices for edge in (point.start, point.end) if edge and at < edge < end}
    edges = [at, *sorted(changes), end]
    sums: dict[Key, Decimal] = defaultdict(Decimal)
    for start, until in pairwise(edges):
        seconds = int((until - start).total_seconds())
        for one in rating.rate(intervals, quotas, prices, start, start + SECOND):
            row = rows[one.interval]
            key = (row.kind, row.holder_id, row.holder_name, row.offering_id)
            sums[key] += one.gpu_seconds * one.usd_per_gpu_hour * seconds / 3600
    return dict(sums)


def on_demand_ahead(organization: Organization, at: datetime, end: datetime) -> dict[Key, Decimal]:
    """Replicas on demand go on as in the last seven days, or for as long as there has been anything."""
    first = UsageInterval.objects.filter(organization=organization).aggregate(at=Min("started_at"))["at"]
    if first is None or first >= at:
        return {}
    start = max(first, at - LOOK_BACK)
    share = Decimal(int((end - at).total_seconds())) / Decimal(int((at - start).total_seconds()))
    sums: dict[Key, Decimal] = defaultdict(Decimal)
    for row in metering.usage(organization, start, at, at):
        if row.kind == UsageKind.REPLICA:
            sums[row.kind, row.holder_id, row.holder_name, row.offering_key] += row.usd * share
    return dict(sums)
