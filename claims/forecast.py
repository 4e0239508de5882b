"""What the present month is going to cost.

Method: what was used so far; plus what claims hold now, held on to the end of the month at the prices and the quota that
are set for then (claims are commitments: paid whether used or not, until somebody changes them); plus replicas on demand
at their mean of the last seven days, which has every hour of the day and every day of the week in it once. A younger
ledger is averaged over the time there is.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from django.db.models import Min

from claims import metering
from claims.bills import Month
from claims.core import rating
from claims.ledger import whole_second
from claims.metering import Holder, Terms, UsageRow
from claims.models import UsageInterval, UsageKind
from console.common.money import SECONDS_PER_HOUR
from console.organizations.models import Organization

LOOK_BACK = timedelta(days=7)
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Forecast:
    """USD. `ahead` is what is still to come."""

    so_far: Decimal
    ahead: dict[Holder, Decimal]
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


def forecast(
    organization: Organization,
    now: datetime,
    spent: Iterable[UsageRow] | None = None,
    *,
    by_holder: bool = True,
    terms: Terms | None = None,
) -> Forecast:
    """Of the month that `now` is in. `spent`, `terms`: its use so far and what it is rated by, where these have been
    read. Not `by_holder`: as in `metering.usage`, for who needs no more than the sums. Raises PriceMissing."""
    at, by = whole_second(now), terms or metering.terms_of(organization)
    end = Month(metering.month_of(at)).end
    rows = metering.month_to_date(organization, now, by_holder=False, terms=by) if spent is None else spent
    ahead = claims_ahead(organization, at, end, by, by_holder)
    for key, usd in on_demand_ahead(organization, at, end, by, by_holder).items():
        ahead[key] = ahead.get(key, Decimal(0)) + usd
    return Forecast(metering.total(rows), ahead, int((end - at).total_seconds()))


def claims_ahead(
    organization: Organization, at: datetime, end: datetime, terms: Terms, by_holder: bool
) -> dict[Holder, Decimal]:
    """What is held by claims now costs this until then. Rates change only with prices: one look at each of those."""
    holders, held = metering.held(organization, at, at + SECOND, by_holder)
    intervals = [replace(one, ended=None) for one in held if holders[one.id][0] == UsageKind.CLAIM]
    if not intervals:
        return {}
    changes = {edge for point in terms.prices for edge in (point.start, point.end) if edge and at < edge < end}
    edges = [at, *sorted(changes), end]
    sums: dict[Holder, Decimal] = defaultdict(Decimal)
    for start, until in pairwise(edges):
        seconds = int((until - start).total_seconds())
        for one in rating.rate(intervals, terms.quotas, terms.prices, start, start + SECOND):
            sums[holders[one.interval]] += one.gpu_seconds * one.usd_per_gpu_hour * seconds / SECONDS_PER_HOUR
    return dict(sums)


def on_demand_ahead(
    organization: Organization, at: datetime, end: datetime, terms: Terms, by_holder: bool
) -> dict[Holder, Decimal]:
    """Replicas on demand go on as in the last seven days, or for as long as there has been anything."""
    first = UsageInterval.objects.filter(organization=organization).aggregate(at=Min("started_at"))["at"]
    if first is None or first >= at:
        return {}
    start = max(first, at - LOOK_BACK)
    share = Decimal(int((end - at).total_seconds())) / Decimal(int((at - start).total_seconds()))
    sums: dict[Holder, Decimal] = defaultdict(Decimal)
    for row in metering.usage(organization, start, at, at, by_holder=by_holder, terms=terms):
        if row.kind == UsageKind.REPLICA:
            sums[row.kind, row.holder_id, row.holder_name, row.offering_key] += row.usd * share
    return dict(sums)
