"""Which claims the fulfil loop has to look at: rows are compared with what it saw of them last, inside the database, so that
claims that need nothing cost next to nothing, however many there are."""

# ruff: noqa: S608 - queries are put together from our own text alone

from collections.abc import Collection, Mapping
from datetime import datetime

from django.db import connection

from claims.models import Offering

# All that a pass goes by, in one number. A machine that is asked for and one that joins are the same to it.
_LOOK = """
    hashtextextended(concat(c.status, '|', c.target, '|', c.window_count, '|', c.window_peak, '|', c.reduction_at, '|',
        c.join_failures, '|', bit_xor(hashtextextended(concat(i.key, '|', replace(i.state, 'REQUESTED', 'JOINING'), '|', i.work,
        '|', i.lost_at IS NULL, '|', i.relieved_at IS NULL, '|', i.state = 'DRAINING' AND i.gpus_used = 0), 0))
        FILTER (WHERE i.key IS NOT NULL)), 0)"""
_LOOKS = f"""
    SELECT c.key, {_LOOK} FROM claims_capacityclaim c LEFT JOIN claims_instance i ON i.claim_id = c.key
    WHERE c.key = ANY(%(keys)s::bigint[]) GROUP BY c.key"""
_DUE = f"""
    SELECT c.key FROM claims_capacityclaim c LEFT JOIN claims_instance i ON i.claim_id = c.key
    WHERE c.offering_id = %(offering)s GROUP BY c.key
    HAVING c.looked_at IS DISTINCT FROM {_LOOK} OR c.reduction_at <= %(now)s OR c.window_count > 0 OR c.window_peak > 0
    ORDER BY c.key"""
_LOOKED_AT = f"""
    UPDATE claims_capacityclaim c SET looked_at = left_as.look
    FROM (SELECT key, CASE WHEN now.look = seen.look THEN now.look END FROM ({_LOOKS}) AS now (key, look)
          JOIN unnest(%(keys)s::bigint[], %(looks)s::bigint[]) AS seen (key, look) USING (key)) AS left_as (key, look)
    WHERE c.key = left_as.key AND c.looked_at IS DISTINCT FROM left_as.look"""


def claims_due(offering: Offering, now: datetime) -> list[int]:
    """Keys of the claims that a pass may have something to do for: those that it has not looked at as they are now, and
    those that depend on more than themselves, on the time or on the pool."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE, {"offering": offering.key, "now": now})
        return [key for (key,) in cursor.fetchall()]


def looks(keys: Collection[int]) -> dict[int, int]:
    """By key, how these claims look now: equal numbers mean that nothing has changed of what a pass goes by."""
    with connection.cursor() as cursor:
        cursor.execute(_LOOKS, {"keys": sorted(keys)})
        return dict(cursor.fetchall())


def looked_at(seen: Mapping[int, int]) -> None:
    """Remember how the claims (by key) looked to a pass that has left them so: then there was nothing to do. At what it
    changed the next one looks again."""
    with connection.cursor() as cursor:
        cursor.execute(_LOOKED_AT, {"keys": list(seen), "looks": list(seen.values())})
