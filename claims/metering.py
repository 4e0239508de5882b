"""The meter: rates the ledger up to an hourly cursor, and says what an organization has spent (B5).

Rated slices are append-only. What lies after the cursor is rated when somebody asks, by the same function.
"""

import logging
import uuid
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from django.db import connection, transaction
from django.db.models import Case, Exists, F, Min, OuterRef, Q, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce, Greatest, Least, TruncDay

from claims import locks
from claims.core import rating
from claims.core.rating import Interval, PriceMissing, PricePoint, QuotaPoint
from claims.ledger import whole_second
from claims.models import ClaimKind, MeterCursor, Offering, Price, QuotaChange, RatedDay, RatedSlice, UsageInterval
from console.organizations.models import Organization

# Books are closed a little after the hour, so that few changes are entered later than they began.
SETTLED_AFTER = timedelta(minutes=2)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
NOBODY = uuid.UUID(int=0)
Holder = tuple[str, uuid.UUID, str, int]  # kind, id, name, offering
WHO = ("who_kind", "who_id", "who_name", "who_offering")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one holder used of one offering on one day at one rate."""

    kind: str
    holder_id: uuid.UUID
    holder_name: str
    offering_key: int
    day: datetime
    rate: str
    gpu_seconds: int
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Terms:
    """What an organization's use is rated by."""

    quotas: Sequence[QuotaPoint]
    prices: Sequence[PricePoint]


@dataclass(frozen=True, slots=True)
class Held:
    """What was held in a span of time, and by whom, by number of the interval."""

    holders: dict[int, Holder]
    intervals: list[Interval]


def meter_pass(now: datetime) -> int:
    """Rate every organization up to the last settled hour; returns how many slices were written."""
    until = hour_of(now - SETTLED_AFTER)
    used = Organization.objects.filter(Exists(UsageInterval.objects.filter(organization=OuterRef("key"))))
    return sum(meter_organization(organization, until) for organization in used.order_by("key"))


def meter_organization(organization: Organization, until: datetime) -> int:
    """Close the books up to the hour and rate what is closed: again, late or twice at once changes nothing.

    Where something has no price, nothing of the organization is rated, the cursor says so, and the next pass tries
    again. Returns how many slices were written.
    """
    if not books_close(organization, until):
        log.info("the ledger of %s is being written to; the next pass closes its books", organization)
    try:
        written = _rate_closed(organization)
    except PriceMissing as missing:
        problem = without_price(missing)
        log.error("%s is not rated: %s", organization, problem)
        MeterCursor.objects.filter(organization=organization).update(problem=problem)
        return 0
    MeterCursor.objects.filter(organization=organization).exclude(problem="").update(problem="")
    return written


def books_close(organization: Organization, until: datetime) -> bool:
    """From now on nothing of the organization is entered into the ledger before `until`, however late its transaction
    commits. False where one was still under way (B5)."""
    with transaction.atomic():
        if not locks.books_closing_lock(organization.key):
            return False
        first = UsageInterval.objects.filter(organization=organization).aggregate(at=Min("started_at"))["at"]
        begin = min(hour_of(first), until) if first else until
        cursor, _ = MeterCursor.objects.get_or_create(
            organization=organization, defaults={"rated_until": begin, "closed_until": begin}
        )
        MeterCursor.objects.filter(pk=cursor.pk, closed_until__lt=until).update(closed_until=until)
    return True


def _rate_closed(organization: Organization) -> int:
    """Slices and cursor move in one transaction, under the cursor's lock."""
    with transaction.atomic():
        cursor = MeterCursor.objects.select_for_update(no_key=True).filter(organization=organization).first()
        if cursor is None or cursor.rated_until >= cursor.closed_until:
            return 0
        locks.prices_lock()
        slices = rated(organization, cursor.rated_until, cursor.closed_until)
        RatedSlice.objects.bulk_create(
            (
                RatedSlice(
                    interval_id=one.interval, organization=organization, started_at=one.started, ended_at=one.ended,
                    rate=one.rate, usd_per_gpu_hour=one.usd_per_gpu_hour, gpu_seconds=one.gpu_seconds, usd=one.usd,
                )
                for one in slices
            ),
            batch_size=2000,
        )  # fmt: skip
        _days_add(organization, cursor.rated_until, cursor.closed_until)
        cursor.rated_until = cursor.closed_until
        cursor.save(update_fields=["rated_until"])
    return len(slices)


def _days_add(organization: Organization, start: datetime, end: datetime) -> None:
    """Add the slices that begin in [start, end) to their days."""
    query = """
        INSERT INTO claims_ratedday AS d
            (organization_id, day, kind, holder_id, holder_name, offering_id, rate, gpu_seconds, usd)
        SELECT s.organization_id, date_trunc('day', s.started_at, 'UTC'), u.kind, u.holder_id, u.holder_name,
               u.offering_id, s.rate, sum(s.gpu_seconds), sum(s.usd)
        FROM claims_ratedslice s JOIN claims_usageinterval u ON u.id = s.interval_id
        WHERE s.organization_id = %s AND s.started_at >= %s AND s.started_at < %s
        GROUP BY 1, 2, 3, 4, 5, 6, 7
        ON CONFLICT (organization_id, day, kind, holder_id, holder_name, offering_id, rate) DO UPDATE
            SET gpu_seconds = d.gpu_seconds + EXCLUDED.gpu_seconds, usd = d.usd + EXCLUDED.usd"""
    with connection.cursor() as cursor:
        cursor.execute(query, [organization.key, start, end])


def rated(organization: Organization, start: datetime, end: datetime) -> list[rating.Slice]:
    """The organization's usage in [start, end), rated from the ledger itself: three queries."""
    return rate_rows(organization, list(intervals_in(organization, start, end)), start, end)


def intervals_in(organization: Organization, start: datetime, end: datetime) -> QuerySet[UsageInterval]:
    open_or_after = Q(ended_at__isnull=True) | Q(ended_at__gt=start)
    return UsageInterval.objects.filter(open_or_after, organization=organization, started_at__lt=end)


def rate_rows(
    organization: Organization,
    rows: Sequence[UsageInterval],
    start: datetime,
    end: datetime,
    terms: Terms | None = None,
) -> list[rating.Slice]:
    intervals = [
        Interval(row.id, row.offering_id, row.gpus, row.claim_kind, row.started_at, row.ended_at) for row in rows
    ]
    return _rate(organization, intervals, start, end, terms)


def _rate(
    organization: Organization,
    intervals: Sequence[Interval],
    start: datetime,
    end: datetime,
    terms: Terms | None = None,
) -> list[rating.Slice]:
    by = terms or terms_of(organization)
    return rating.rate(intervals, by.quotas, by.prices, start, end)


def terms_of(organization: Organization) -> Terms:
    return Terms(quota_points(organization), price_points())


def quota_points(organization: Organization) -> list[QuotaPoint]:
    changes = QuotaChange.objects.filter(organization=organization).order_by("at", "id")
    rows = changes.values_list("offering_id", "at", "reserved", "other_usage")
    return [QuotaPoint(offering, whole_second(at), reserved, other) for offering, at, reserved, other in rows]


def price_points() -> list[PricePoint]:
    """Prices of all offerings; a zone's own price goes before the type's general one where both hold."""
    by_place: dict[tuple[int, int | None], list[Price]] = {}
    for price in Price.objects.order_by("valid"):
        by_place.setdefault((price.instance_type_id, price.zone_id), []).append(price)
    return [
        PricePoint(key, price.kind, _second(price.valid.lower), _second(price.valid.upper), price.usd_per_gpu_hour)
        for key, type_key, zone_key in Offering.objects.values_list("key", "instance_type_id", "zone_id")
        for price in [*by_place.get((type_key, zone_key), []), *by_place.get((type_key, None), [])]
    ]


def _second(at: datetime | None) -> datetime | None:
    return None if at is None else whole_second(at)


def without_price(missing: PriceMissing) -> str:
    """What lacks a price, in a sentence."""
    offering = Offering.objects.select_related("zone", "instance_type").get(key=missing.offering)
    rate = missing.rate.lower().replace("_", "-")
    return f"{offering} has no {rate} price at {missing.at:%Y-%m-%d %H:%M} UTC; until it has one, nothing is rated."


def usage(
    organization: Organization,
    start: datetime,
    end: datetime,
    now: datetime,
    *,
    by_holder: bool = True,
    terms: Terms | None = None,
) -> list[UsageRow]:
    """Everything used in [start, end), as far as it has happened: rated slices where there are, the rest live.

    Not `by_holder`: all holders of one kind are a row, which names none of them; much less to read. `terms`: where they
    have been read.
    """
    end = min(whole_second(end), whole_second(now))
    return _used(organization, whole_second(start), end, timedelta(0), by_holder, terms)[0]


def usage_and_held(
    organization: Organization, start: datetime, now: datetime, *, by_holder: bool, terms: Terms
) -> tuple[list[UsageRow], Held]:
    """`usage` in [start, now), and what is held in the second after: read in one look at the ledger."""
    at = whole_second(now)
    rows, held = _used(organization, whole_second(start), at, SECOND, by_holder, terms)
    return rows, _held_at(held, at)


def _used(
    organization: Organization, start: datetime, end: datetime, beyond: timedelta, by_holder: bool, terms: Terms | None
) -> tuple[list[UsageRow], Held]:
    """What was used in [start, end); and what was held in the last part of it, which was read live, and `beyond`."""
    cursor = MeterCursor.objects.filter(organization=organization).first()
    # Slices never cross an hour, so whole hours can be taken from them.
    first = start if start == hour_of(start) else hour_of(start) + rating.HOUR
    last = min(hour_of(end), cursor.rated_until) if cursor else first
    if cursor is None or last <= first:
        return _live(organization, start, end, beyond, by_holder, terms)
    stored = _stored(organization, first, last, cursor.rated_until, by_holder)
    if stored is None:
        return _used(organization, start, end, beyond, by_holder, terms)
    before, _ = _live(organization, start, first, timedelta(0), by_holder, terms)
    after, held = _live(organization, last, end, beyond, by_holder, terms)
    return before + stored + after, held


def _stored(
    organization: Organization, start: datetime, end: datetime, rated_until: datetime, by_holder: bool
) -> list[UsageRow] | None:
    """Whole days from their sums, the hours around them from slices. The day that is being rated is whole up to the
    cursor; None where the cursor has moved since `rated_until` was read."""
    first = start if start == day_of(start) else day_of(start) + DAY
    last = end if end == rated_until else day_of(end)
    if last <= first:
        return _slices(organization, start, end, by_holder)
    cursor = MeterCursor.objects.filter(organization=organization).values("rated_until")
    found = RatedDay.objects.filter(organization=organization, day__gte=first, day__lt=last).order_by()
    named = found.annotate(seen=Subquery(cursor), **_who("", by_holder)).values_list("seen", *WHO, "day", "rate")
    rows = list(named.annotate(s=Sum("gpu_seconds"), u=Sum("usd")))
    if any(row[0] != rated_until for row in rows):
        return None
    before, after = _slices(organization, start, first, by_holder), _slices(organization, last, end, by_holder)
    return [*before, *(UsageRow(*row[1:]) for row in rows), *after]


def _who(prefix: str, by_holder: bool) -> dict[str, Any]:
    """What a row is told apart by, as columns named `WHO`."""
    named = {"who_kind": F(f"{prefix}kind"), "who_offering": F(f"{prefix}offering_id")}
    if by_holder:
        return named | {"who_id": F(f"{prefix}holder_id"), "who_name": F(f"{prefix}holder_name")}
    return named | {"who_id": Value(NOBODY), "who_name": Value("")}


def _slices(organization: Organization, start: datetime, end: datetime, by_holder: bool) -> list[UsageRow]:
    if start >= end:
        return []
    found = RatedSlice.objects.filter(organization=organization, started_at__gte=start, started_at__lt=end).order_by()
    named = found.annotate(day=TruncDay("started_at", tzinfo=UTC), **_who("interval__", by_holder))
    grouped = named.values_list(*WHO, "day", "rate").annotate(s=Sum("gpu_seconds"), u=Sum("usd"))
    return [UsageRow(*row) for row in grouped]


def _live(
    organization: Organization,
    start: datetime,
    end: datetime,
    beyond: timedelta,
    by_holder: bool,
    terms: Terms | None,
) -> tuple[list[UsageRow], Held]:
    """Rated from the ledger itself; and what was held from `start` until `beyond` the end."""
    if start >= end + beyond:
        return [], Held({}, [])
    held = _held(organization, start, end + beyond, by_holder)
    slices = _rate(organization, held.intervals, start, end, terms)
    rows = [
        UsageRow(*held.holders[one.interval], day_of(one.started), one.rate, one.gpu_seconds, one.usd) for one in slices
    ]
    return rows, held


def _held(organization: Organization, start: datetime, end: datetime, by_holder: bool) -> Held:
    """What was held in [start, end): one query.

    What pays one rate whoever else holds what is taken together: the GPUs of a holder over the same time. Instances of
    CUSTOMER claims stay apart, for their order decides their rate (B2).
    """
    apart = Q(claim_kind=ClaimKind.CUSTOMER)
    found = intervals_in(organization, start, end).order_by().annotate(**_who("", by_holder))
    grouped = found.annotate(
        alone=Case(When(apart, then="id")),
        began=Case(When(apart, then="started_at"), default=Greatest("started_at", Value(start))),
        until=Least(Coalesce("ended_at", Value(end)), Value(end)),
    )
    rows = grouped.values_list("alone", *WHO, "claim_kind", "began", "until").annotate(n=Sum("gpus"))
    holders, intervals = {}, []
    for place, (id, kind, holder, name, offering, claim_kind, began, until, gpus) in enumerate(rows, 1):
        number = -place if id is None else id
        holders[number] = (kind, holder, name, offering)
        intervals.append(Interval(number, offering, gpus, claim_kind, began, until))
    return Held(holders, intervals)


def _held_at(held: Held, at: datetime) -> Held:
    """What of it is held in the second after `at`; what pays one rate is one interval, whenever it began."""
    holders, intervals, together = {}, list[Interval](), dict[tuple[Holder, str], int]()
    for one in held.intervals:
        if one.ended is not None and one.ended <= at:
            continue
        holder = held.holders[one.id]
        if one.claim_kind == ClaimKind.CUSTOMER:
            holders[one.id] = holder
            intervals.append(one)
        else:
            together[holder, one.claim_kind] = together.get((holder, one.claim_kind), 0) + one.gpus
    for place, ((holder, claim_kind), gpus) in enumerate(together.items(), 1):
        holders[-place] = holder
        intervals.append(Interval(-place, holder[3], gpus, claim_kind, at, None))
    return Held(holders, intervals)


def month_to_date(organization: Organization, now: datetime, *, by_holder: bool = True) -> list[UsageRow]:
    return usage(organization, month_of(now), now, now, by_holder=by_holder)


def per_hour(intervals: Sequence[Interval], at: datetime, terms: Terms) -> Decimal:
    """USD an hour for these, as they are held in the second after `at`."""
    slices = rating.rate(intervals, terms.quotas, terms.prices, at, at + SECOND)
    return sum((one.usd_per_gpu_hour * one.gpu_seconds for one in slices), Decimal(0))


def total(rows: Iterable[UsageRow]) -> Decimal:
    return sum((row.usd for row in rows), Decimal(0))


Key = TypeVar("Key", bound=Hashable)


def grouped(rows: Iterable[UsageRow], key: Callable[[UsageRow], Key]) -> dict[Key, tuple[int, Decimal]]:
    """(GPU-seconds, USD) by `key`."""
    sums: dict[Key, tuple[int, Decimal]] = {}
    for row in rows:
        seconds, usd = sums.get(key(row), (0, Decimal(0)))
        sums[key(row)] = (seconds + row.gpu_seconds, usd + row.usd)
    return sums


def hour_of(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def day_of(at: datetime) -> datetime:
    """Midnight UTC of its day."""
    return hour_of(at).replace(hour=0)


def month_of(at: datetime) -> datetime:
    """Midnight UTC of the first of the month."""
    return hour_of(at).replace(day=1, hour=0)
