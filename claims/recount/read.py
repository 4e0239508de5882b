"""What the recount reads, in plain SQL: who held what, what quota and prices were, and what the meter made of it."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection


@dataclass(frozen=True, slots=True)
class Held:
    """An interval of the ledger; times in seconds since 1970, `until` None while it is open."""

    id: int
    kind: str
    instance: int
    offering: int
    gpus: int
    claim_kind: str
    holder: str
    name: str
    since: int
    until: int | None


@dataclass(frozen=True, slots=True)
class Price:
    since: int | None
    until: int | None
    of_zone: bool
    usd: Decimal


def rows(sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def seconds(at: datetime | None) -> int | None:
    """Whole seconds, cut off."""
    return None if at is None else int(at.timestamp() // 1)


def organizations() -> list[tuple[int, str, int]]:
    """(key, slug, second up to which it is rated) of those that are metered."""
    found = rows(
        "SELECT o.key, o.slug, c.rated_until FROM organizations_organization o "
        "JOIN claims_metercursor c ON c.organization_id = o.key ORDER BY o.key", [],
    )  # fmt: skip
    return [(key, slug, seconds(at) or 0) for key, slug, at in found]


def held(organization: int) -> list[Held]:
    found = rows(
        "SELECT id, kind, instance_id, offering_id, gpus, claim_kind, holder_id, holder_name, started_at, ended_at "
        "FROM claims_usageinterval WHERE organization_id = %s ORDER BY started_at, id", [organization],
    )  # fmt: skip
    return [
        Held(id, kind, instance, offering, gpus, claim_kind, str(holder), name, seconds(since) or 0, seconds(until))
        for id, kind, instance, offering, gpus, claim_kind, holder, name, since, until in found
    ]


def created(organization: int) -> dict[str, int]:
    """When claims were made, by their ids, as the audit trail has it."""
    found = rows(
        "SELECT object_id, min(at) FROM organizations_auditevent WHERE organization_id = %s AND action = 'claim.create' "
        "GROUP BY object_id", [organization],
    )  # fmt: skip
    return {id: seconds(at) or 0 for id, at in found}


def quotas(organization: int) -> dict[int, list[tuple[int, int]]]:
    """By offering, oldest first: (second, instances at the reserved rate that others leave) from then on."""
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for offering, at, reserved, other in rows(
        "SELECT offering_id, at, reserved, other_usage FROM claims_quotachange WHERE organization_id = %s "
        "ORDER BY at, id", [organization],
    ):  # fmt: skip
        found[offering].append((seconds(at) or 0, max(0, reserved - other)))
    return found


def prices() -> dict[tuple[int, str], list[Price]]:
    """By offering and rate."""
    found: dict[tuple[int, str], list[Price]] = defaultdict(list)
    for offering, kind, since, until, zone, usd in rows(
        "SELECT o.key, p.kind, lower(p.valid), upper(p.valid), p.zone_id IS NOT NULL, p.usd_per_gpu_hour "
        "FROM claims_offering o JOIN claims_price p ON p.instance_type_id = o.instance_type_id "
        "AND (p.zone_id IS NULL OR p.zone_id = o.zone_id)", [],
    ):  # fmt: skip
        found[offering, kind].append(Price(seconds(since), seconds(until), zone, usd))
    return found


def slices(organization: int, hour: int) -> dict[tuple[int, str, Decimal], tuple[int, Decimal]]:
    """What the meter rated in an hour: (GPU-seconds, USD) by interval, rate and price."""
    found = rows(
        "SELECT interval_id, rate, usd_per_gpu_hour, sum(gpu_seconds), sum(usd) FROM claims_ratedslice "
        "WHERE organization_id = %s AND started_at >= to_timestamp(%s) AND started_at < to_timestamp(%s) "
        "GROUP BY 1, 2, 3", [organization, hour, hour + 3600],
    )  # fmt: skip
    return {(id, rate, usd): (int(count), cost) for id, rate, usd, count, cost in found}


def rated_hours(organization: int, start: int, end: int) -> list[int]:
    """Hours in which the meter rated anything."""
    found = rows(
        "SELECT DISTINCT (floor(extract(epoch FROM started_at) / 3600) * 3600)::bigint FROM claims_ratedslice "
        "WHERE organization_id = %s AND started_at >= to_timestamp(%s) AND started_at < to_timestamp(%s)",
        [organization, start, end],
    )
    return [hour for (hour,) in found]


Line = tuple[str, str, str, int, str, Decimal]  # kind, holder, name, offering, rate, price


def lines(organization: int, month: str) -> list[tuple[Line, int, Decimal]]:
    """Lines of closed statements that are about the month `2026-11`: (line, GPU-seconds, amount)."""
    found = rows(
        "SELECT l.kind, l.holder_id, l.holder_name, l.offering_id, l.rate, l.usd_per_gpu_hour, l.gpu_seconds, l.amount "
        "FROM claims_statementline l JOIN claims_statement s ON s.id = l.statement_id "
        "WHERE s.organization_id = %s AND s.status = 'CLOSED' AND to_char(coalesce(l.correction_of, s.month), 'YYYY-MM') = %s",
        [organization, month],
    )
    return [((row[0], str(row[1]), *row[2:6]), row[6], row[7]) for row in found]


def closed(organization: int, month: str) -> tuple[Decimal, Decimal] | None:
    """The total of the month's closed statement, and the sum of its lines."""
    found = rows(
        "SELECT s.total, (SELECT coalesce(sum(l.amount), 0) FROM claims_statementline l WHERE l.statement_id = s.id) "
        "FROM claims_statement s WHERE s.organization_id = %s AND s.status = 'CLOSED' "
        "AND to_char(s.month, 'YYYY-MM') = %s",
        [organization, month],
    )
    return found[0] if found else None
