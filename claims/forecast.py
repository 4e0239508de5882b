"""What the present month is going to cost.

Method: what was used so far; plus what claims hold now, held on to the end of the month at the prices and the quota that
are set for then (claims are commitments: paid whether used or not, until somebody changes them), with what their windows
add and give back; plus replicas on demand at their mean since midnight UTC seven days ago, so that every hour of the day
and every day of the week counts. A younger ledger is averaged over the time there is. Midnight, because whole days are
added up already (`RatedDay`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from django.db.models import Min

from claims import metering
from claims.bills import Month
from claims.core import rating
from claims.ledger import whole_second
from claims.metering import SECOND, Held, Holder, Terms, UsageRow
from claims.models import UsageInterval, UsageKind
from claims.windows_ahead import Varying, held_then, varying
from console.common.money import SECONDS_PER_HOUR
from console.organizations.models import Organization

LOOK_BACK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Forecast:
    """USD. `rows` is the month's use so far, `per_hour` what is held now costs an hour, `ahead` is still to come."""

    rows: Sequence[UsageRow]
    per_hour: Decimal
    ahead: Mapping[Holder, Decimal]
    seconds_left: int

    @property
    def so_far(self) -> Decimal:
        return metering.total(self.rows)

    @property
    def total(self) -> Decimal:
        return self.so_far + sum(self.ahead.values(), Decimal(0))

    @property
    def claims(self) -> Decimal:
        """What claims hold, to the end of the month."""
        return self._ahead_of(UsageKind.CLAIM)

    @property
    def on_demand(self) -> Decimal:
        """Replicas on demand, to the end of the month."""
        return self._ahead_of(UsageKind.REPLICA)

    def _ahead_of(self, kind: UsageKind) -> Decimal:
        return sum((usd for key, usd in self.ahead.items() if key[0] == kind), Decimal(0))


def forecast(organization: Organization, now: datetime, *, by_holder: bool = True) -> Forecast:
    """Of the month that `now` is in. Not `by_holder`: as in `metering.usage`, for who needs no more than the sums.

    Everything is read once: the use since the month's begin or since `LOOK_BACK`, and what is held now. Raises
    PriceMissing.
    """
    at, terms = whole_second(now), metering.terms_of(organization)
    month, first = Month(metering.month_of(at)), _first_use(organization)
    since = max(first or at, metering.day_of(at) - LOOK_BACK)
    start = min(month.start, metering.day_of(since))
    rows, held = metering.usage_and_held(organization, start, at, by_holder=by_holder, terms=terms)
    windows = varying(organization, at, month.end)
    ahead = defaultdict(Decimal, claims_ahead(held, at, month.end, terms, windows))
    if since < at:
        lately = [row for row in rows if row.day >= metering.day_of(since)]
        for key, usd in on_demand_ahead(lately, _seconds(since, at), _seconds(at, month.end)).items():
            ahead[key] += usd
    return Forecast(
        [row for row in rows if row.day >= month.start],
        metering.per_hour(held.intervals, at, terms),
        dict(ahead),
        _seconds(at, month.end),
    )


def claims_ahead(
    held: Held, at: datetime, end: datetime, terms: Terms, windows: Sequence[Varying]
) -> dict[Holder, Decimal]:
    """What claims hold now, and will by their windows, costs this until then. Rates change only with prices and with what
    is held: one look at each of those."""
    intervals = [replace(one, ended=None) for one in held.intervals if held.holders[one.id][0] == UsageKind.CLAIM]
    if not intervals and not windows:
        return {}
    changes = {edge for point in terms.prices for edge in (point.start, point.end) if edge}
    changes |= {level.at for one in windows for level in one.levels}
    edges = [at, *sorted(edge for edge in changes if at < edge < end), end]
    sums: dict[Holder, Decimal] = defaultdict(Decimal)
    for start, until in pairwise(edges):
        then = held_then(Held(held.holders, intervals), windows, at, start)
        for one in rating.rate(then.intervals, terms.quotas, terms.prices, start, start + SECOND):
            cost = one.gpu_seconds * one.usd_per_gpu_hour * _seconds(start, until) / SECONDS_PER_HOUR
            sums[then.holders[one.interval]] += cost
    return dict(sums)


def on_demand_ahead(rows: Sequence[UsageRow], over_s: int, left_s: int) -> dict[Holder, Decimal]:
    """Replicas on demand go on for `left_s` seconds as in `rows`, which are of `over_s` seconds."""
    share = Decimal(left_s) / over_s
    sums: dict[Holder, Decimal] = defaultdict(Decimal)
    for row in rows:
        if row.kind == UsageKind.REPLICA:
            sums[row.kind, row.holder_id, row.holder_name, row.offering_key] += row.usd * share
    return dict(sums)


def _first_use(organization: Organization) -> datetime | None:
    first: datetime | None = UsageInterval.objects.filter(organization=organization).aggregate(at=Min("started_at"))[
        "at"
    ]
    return first


def _seconds(start: datetime, end: datetime) -> int:
    return int((end - start).total_seconds())
