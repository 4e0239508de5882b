"""Money counted again, sharing nothing with the ledger, the meter or the rating but the tables.

Triggers of the test's own write down each change of an instance and each placement. What was held when is put together
from those, and compared with the ledger; what the ledger costs is added up in fractions, from edge to edge, and compared
with the bill.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

from django.db import connection, transaction

from claims.metering import UsageRow, month_to_date
from claims.models import Offering, Price, QuotaChange, UsageInterval
from console.organizations.models import Organization
from deployments.loop.snapshot import repeatable_read

_MAKE = """
    CREATE TABLE clockwork.held (at timestamptz, instance bigint, claim bigint, paid boolean);
    CREATE TABLE clockwork.placed (at timestamptz, replica bigint, instance bigint, gpus int);
    CREATE FUNCTION clockwork.instance_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO clockwork.held VALUES (clockwork.clock_timestamp(), NEW.key, NEW.claim_id,
            NEW.claim_id IS NOT NULL AND NEW.lost_at IS NULL AND NEW.relieved_at IS NULL
            AND NEW.state IN ('READY', 'DRAINING'));
        RETURN NULL;
    END $$;
    CREATE FUNCTION clockwork.placement_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'DELETE' THEN
            INSERT INTO clockwork.placed VALUES (clockwork.clock_timestamp(), OLD.replica_id, OLD.instance_id, 0);
        ELSE
            INSERT INTO clockwork.placed
            VALUES (clockwork.clock_timestamp(), NEW.replica_id, NEW.instance_id, NEW.gpus);
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER written_down AFTER INSERT OR UPDATE ON public.claims_instance
        FOR EACH ROW EXECUTE FUNCTION clockwork.instance_changed();
    CREATE TRIGGER written_down AFTER INSERT OR UPDATE OR DELETE ON public.deployments_replicaplacement
        FOR EACH ROW EXECUTE FUNCTION clockwork.placement_changed()"""

# For a fleet that is running already. Making the triggers has locked out everybody who writes.
_MAKE_SCHEMA = """
    CREATE SCHEMA clockwork;
    CREATE FUNCTION clockwork.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
        $$ SELECT pg_catalog.clock_timestamp() $$"""
_AS_IT_IS = """
    CREATE TABLE clockwork.began AS SELECT clock_timestamp() AS at;
    UPDATE public.claims_instance SET key = key;
    INSERT INTO clockwork.placed
    SELECT clockwork.clock_timestamp(), replica_id, instance_id, gpus FROM public.deployments_replicaplacement"""

# A pass asks for the time once and writes a little later, and the ledger keeps whole seconds.
CLOSE = timedelta(seconds=2)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

Resource = tuple[str, int, int]  # kind, instance or replica, instance
Span = tuple[datetime, datetime | None]


def write_down() -> None:
    """From now on everything that is paid for is written down; for a database whose clock is the test's."""
    with connection.cursor() as cursor:
        cursor.execute(_MAKE)


def write_down_from_now_on() -> None:
    """The same for a fleet that is running, by the real time; `ledger_differs_since_then` compares."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_MAKE_SCHEMA)
        cursor.execute(_MAKE)
        cursor.execute(_AS_IT_IS)


# --- the ledger against what was written down ------------------------------------------------------
def spans_written_down() -> dict[Resource, list[Span]]:
    """What has to be paid, from when to when (B1, B3): claimed instances in the cluster, replicas on others."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT at, instance, claim, paid FROM clockwork.held ORDER BY at")
        held: dict[int, list[tuple[datetime, int | None, bool]]] = defaultdict(list)
        for at, instance, claim, paid in cursor.fetchall():
            held[instance].append((at, claim, paid))
        cursor.execute("SELECT at, replica, instance, gpus FROM clockwork.placed ORDER BY at")
        placed: dict[tuple[int, int], list[tuple[datetime, bool]]] = defaultdict(list)
        for at, replica, instance, gpus in cursor.fetchall():
            placed[replica, instance].append((at, gpus > 0))
    found: dict[Resource, list[Span]] = {}
    for instance, changes in held.items():
        states = [(at, claim if paid else None) for at, claim, paid in changes]
        found["CLAIM", instance, instance] = _spans(states)
    for (replica, instance), changes_ in placed.items():
        free = [(at, claim is None) for at, claim, _ in held[instance]]
        times = sorted({at for at, _ in [*free, *changes_]})
        on = [(at, (_at(changes_, at) and _at(free, at)) or None) for at in times]
        found["REPLICA", replica, instance] = _spans(on)
    return {resource: spans for resource, spans in found.items() if spans}


def _at(changes: list[tuple[datetime, bool]], moment: datetime) -> bool:
    known = [value for at, value in changes if at <= moment]
    return known[-1] if known else False


def _spans(states: Iterable[tuple[datetime, object]]) -> list[Span]:
    """Stretches during which the state was the same and not None."""
    found: list[Span] = []
    last: object = None
    for at, state in states:
        if state == last:
            continue
        if last is not None:
            found[-1] = (found[-1][0], at)
        if state is not None:
            found.append((at, None))
        last = state
    return found


def spans_paid() -> dict[Resource, list[Span]]:
    kept: dict[Resource, list[Span]] = defaultdict(list)
    for row in UsageInterval.objects.order_by("started_at", "id"):
        kept[row.kind, row.resource_key, row.instance_id].append((row.started_at, row.ended_at))
    return kept


def _from(since: datetime, spans: dict[Resource, list[Span]], close: timedelta) -> dict[Resource, list[Span]]:
    """What of them lies after that moment, at which writing down began."""
    late = {
        resource: [(max(start, since), end) for start, end in found if end is None or end > since + close]
        for resource, found in spans.items()
    }
    return {resource: found for resource, found in late.items() if found}


def ledger_differs(since: datetime = LONG_AGO, close: timedelta = CLOSE) -> list[str]:
    """Where the ledger's intervals are not what was written down."""
    expected, kept = (_from(since, spans, close) for spans in (spans_written_down(), spans_paid()))
    found = []
    for resource in sorted(expected.keys() | kept.keys()):
        wanted, there = expected.get(resource, []), kept.get(resource, [])
        if len(wanted) != len(there) or not all(_close(*pair, close) for pair in zip(wanted, there, strict=True)):
            found.append(f"{resource}: paid {_said(there)}, held {_said(wanted)}")
    return found


def ledger_differs_since_then(close: timedelta) -> list[str]:
    with repeatable_read():
        with connection.cursor() as cursor:
            cursor.execute("SELECT at FROM clockwork.began")
            (since,) = cursor.fetchone()
        return ledger_differs(since, close)


def _close(one: Span, other: Span, within: timedelta) -> bool:
    return all(start == end or (start and end and abs(start - end) < within)
               for start, end in zip(one, other, strict=True))  # fmt: skip


def _said(spans: Iterable[Span]) -> str:
    return (
        ", ".join(f"{start:%d %H:%M:%S} to {f'{end:%d %H:%M:%S}' if end else 'now'}" for start, end in spans) or "not"
    )


# --- the bill against the ledger -------------------------------------------------------------------
@dataclass(frozen=True)
class Line:
    gpu_seconds: int
    usd: Fraction


Key = tuple[str, str, int, str]  # kind, holder, offering, rate


def bill_recounted(organization: Organization, now: datetime) -> dict[Key, Line]:
    """GPU-seconds and USD of this month by holder and rate, from edge to edge."""
    start = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = now.replace(microsecond=0)
    rows = list(UsageInterval.objects.filter(organization=organization).order_by("started_at", "id"))
    sums: dict[Key, Line] = {}
    for offering in Offering.objects.select_related("zone", "instance_type"):
        mine = [row for row in rows if row.offering_id == offering.key]
        prices, quotas = _prices(offering), _quotas(organization, offering)
        edges = {
            start,
            end,
            *(at for at, _ in quotas),
            *(edge for price in prices for edge in (price.start, price.end)),
        }
        edges |= {edge for row in mine for edge in (row.started_at, row.ended_at)}
        within = sorted(edge for edge in edges if edge is not None and start <= edge <= end)
        for began, until in pairwise(within):
            _add(sums, offering, [row for row in mine if _covers(row, began)], prices, quotas, began, until)
    return sums


def _covers(row: UsageInterval, at: datetime) -> bool:
    return row.started_at <= at and (row.ended_at is None or at < row.ended_at)


def _add(
    sums: dict[Key, Line], offering: Offering, active: list[UsageInterval], prices: list["Rate"],
    quotas: list[tuple[datetime, int]], began: datetime, until: datetime,
) -> None:  # fmt: skip
    room = max([0, *(reserved for at, reserved in quotas if at <= began)][-1], 0)
    for row in active:
        rate = "ON_DEMAND"
        if row.claim_kind == "CUSTOMER" and room > 0:
            rate, room = "RESERVED", room - 1
        usd = next(p.usd for p in prices if p.kind == rate and p.start <= began and (p.end is None or began < p.end))
        seconds = row.gpus * round((until - began).total_seconds())
        key = (row.kind, str(row.holder_id), offering.key, rate)
        old = sums.get(key, Line(0, Fraction(0)))
        sums[key] = Line(old.gpu_seconds + seconds, old.usd + usd * seconds / 3600)


@dataclass(frozen=True)
class Rate:
    kind: str
    start: datetime
    end: datetime | None
    usd: Fraction


def _prices(offering: Offering) -> list[Rate]:
    """The zone's own prices before the type's general ones."""
    found = Price.objects.filter(instance_type=offering.instance_type)
    own = [*found.filter(zone=offering.zone), *found.filter(zone=None)]
    return [Rate(one.kind, one.valid.lower, one.valid.upper, Fraction(one.usd_per_gpu_hour)) for one in own]


def _quotas(organization: Organization, offering: Offering) -> list[tuple[datetime, int]]:
    """Instances at the reserved rate from each change on (B2)."""
    rows = QuotaChange.objects.filter(organization=organization, offering=offering).order_by("at", "id")
    return [(row.at.replace(microsecond=0), row.reserved - row.other_usage) for row in rows]


def bill_differs(organization: Organization, now: datetime) -> list[str]:
    """Where the bill of the month is not what the ledger costs."""
    expected = bill_recounted(organization, now)
    there = _by_key(month_to_date(organization, now))
    found = []
    for key in sorted(expected.keys() | there.keys()):
        wanted, is_ = expected.get(key, Line(0, Fraction(0))), there.get(key, Line(0, Fraction(0)))
        if wanted.gpu_seconds != is_.gpu_seconds or abs(wanted.usd - is_.usd) > Fraction(1, 10**8):
            found.append(f"{key}: billed {is_.gpu_seconds} s, {float(is_.usd)} USD; counted {wanted.gpu_seconds} s, "
                         f"{float(wanted.usd)} USD")  # fmt: skip
    return found


def _by_key(rows: Iterable[UsageRow]) -> Mapping[Key, Line]:
    sums: dict[Key, Line] = {}
    for row in rows:
        key = (row.kind, str(row.holder_id), row.offering_key, row.rate)
        old = sums.get(key, Line(0, Fraction(0)))
        sums[key] = Line(old.gpu_seconds + row.gpu_seconds, old.usd + Fraction(row.usd))
    return sums
