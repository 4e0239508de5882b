"""What must always be true of capacity, replicas and money, each as a query that returns the rows where it is not.

All run in one REPEATABLE READ snapshot, so they see one moment of a system that goes on meanwhile.
"""

# ruff: noqa: S608 - queries are put together from our own text alone

from dataclasses import dataclass
from typing import Any

from django.db import connection

from deployments.loop.snapshot import repeatable_read

# A claim with what it holds in the cluster or will, and what it is to have (C8).
CLAIMS = """
    SELECT c.*, h.counting, h.allocated,
           greatest(c.target, c.window_count, CASE WHEN c.reduction_at IS NULL THEN 0 ELSE h.counting END) AS effective
    FROM claims_capacityclaim c CROSS JOIN LATERAL (
        SELECT count(*) AS counting, count(*) FILTER (WHERE i.state = 'READY') AS allocated FROM claims_instance i
        WHERE i.claim_id = c.key AND i.state IN ('REQUESTED', 'JOINING', 'READY') AND i.lost_at IS NULL
          AND i.work NOT IN ('DRAIN', 'BAD')) h
    WHERE c.status <> 'STATUS_DELETING'"""
# What CUSTOMER claims commit of a quota (C3).
COMMITTED = """
    SELECT organization_id, offering_id, sum(committed) AS committed FROM (
        SELECT c.organization_id, c.offering_id, greatest(c.target, c.window_peak, count(i.key)) AS committed
        FROM claims_capacityclaim c LEFT JOIN claims_instance i ON i.claim_id = c.key AND i.state <> 'RELEASED'
             AND i.lost_at IS NULL AND i.work <> 'BAD'
        WHERE c.kind = 'CUSTOMER' GROUP BY c.key) each
    GROUP BY 1, 2"""
# Pool instances that on-demand replicas could grow on, whether kept or not.
IN_USE = """
    SELECT i.* FROM claims_instance i WHERE i.source = 'POOL' AND i.state = 'READY' AND i.claim_id IS NULL
       AND i.lost_at IS NULL AND i.work = '' AND i.gpus_used > 0"""
# Intervals that are not empty, and for each of them those that began before it: one pass over a sorted ledger, however
# often an instance changed hands.
HELD = """
    SELECT *, coalesce(ended_at, 'infinity') AS end_ FROM claims_usageinterval
    WHERE ended_at IS NULL OR ended_at > started_at"""
EARLIER = "ORDER BY started_at, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
WAITING = f"SELECT w.offering_id FROM ({CLAIMS}) w WHERE w.kind = 'SERVERLESS' AND w.counting < w.effective"

INVARIANTS: dict[str, str] = {
    "GPUs used of an instance are the sum of its placements": """
        SELECT i.name, i.gpus_used, coalesce(sum(p.gpus), 0) AS placed
        FROM claims_instance i LEFT JOIN deployments_replicaplacement p ON p.instance_id = i.key
        GROUP BY i.key HAVING i.gpus_used <> coalesce(sum(p.gpus), 0)""",
    "GPUs of an instance are never promised twice": """
        SELECT i.name, i.gpus, sum(p.gpus) AS placed FROM claims_instance i
        JOIN deployments_replicaplacement p ON p.instance_id = i.key GROUP BY i.key HAVING sum(p.gpus) > i.gpus""",
    "Placements of a live replica are its GPUs, and a dead one has none": """
        SELECT r.key, r.state, r.gpus, coalesce(sum(p.gpus), 0) AS placed FROM deployments_replica r
        LEFT JOIN deployments_replicaplacement p ON p.replica_id = r.key GROUP BY r.key
        HAVING coalesce(sum(p.gpus), 0) <> CASE WHEN r.state IN (1, 2, 3) THEN r.gpus ELSE 0 END""",
    "An instance serves one organization (R17)": """
        SELECT i.name, i.organization_id AS holder, d.organization_id AS user FROM deployments_replicaplacement p
        JOIN claims_instance i ON i.key = p.instance_id JOIN deployments_replica r ON r.key = p.replica_id
        JOIN deployments_deployment d ON d.key = r.deployment_id
        WHERE i.organization_id IS DISTINCT FROM d.organization_id""",
    "An instance in a claim is held by the claim's organization and offering": """
        SELECT i.name, c.name AS claim FROM claims_instance i JOIN claims_capacityclaim c ON c.key = i.claim_id
        WHERE i.organization_id IS DISTINCT FROM c.organization_id OR i.offering_id <> c.offering_id
           OR (i.source = 'CUSTOMER') <> (c.kind = 'CUSTOMER')""",
    "No replica runs where it may not: type (W3), class (R15), zone (R16)": """
        SELECT r.key, d.name, i.name AS instance, r.capacity_class FROM deployments_replicaplacement p
        JOIN deployments_replica r ON r.key = p.replica_id JOIN deployments_deployment d ON d.key = r.deployment_id
        JOIN claims_instance i ON i.key = p.instance_id JOIN claims_offering o ON o.key = i.offering_id
        WHERE o.instance_type_id <> r.instance_type_id
           OR (r.capacity_class = 2 AND i.source <> 'POOL')
           OR (r.capacity_class = 1 AND i.claim_id IS NULL)
           -- A claim took the instance over (C4): the next tick labels its replicas reserved, and may have begun a
           -- period before that.
           OR (r.capacity_class = 2 AND i.claim_id IS NOT NULL AND EXISTS (
               SELECT FROM deployments_plannerstate s WHERE s.instance_type_id = r.instance_type_id
                  AND s.at > i.claimed_at + interval '5 seconds'))""",
    "CUSTOMER claims fit their quota unless it was lowered (C3)": f"""
        WITH total AS ({COMMITTED}),
        widest AS (SELECT organization_id, offering_id, max("limit" - other_usage) AS room
                   FROM claims_quotachange GROUP BY 1, 2)
        SELECT t.organization_id, t.offering_id, t.committed, coalesce(w.room, 0) AS most_ever FROM total t
        LEFT JOIN widest w USING (organization_id, offering_id) WHERE t.committed > coalesce(w.room, 0)""",
    "The bound of what claims commit of a quota is not below it (C3)": f"""
        SELECT organization_id, offering_id, t.committed, q.committed_bound FROM ({COMMITTED}) t
        JOIN claims_quota q USING (organization_id, offering_id) WHERE t.committed > q.committed_bound""",
    "No claim has more than its effective count, and a READY one exactly that (C5, C8)": f"""
        SELECT c.name, c.status, c.target, c.effective, c.counting, c.allocated FROM ({CLAIMS}) c
        WHERE c.counting > c.effective OR (c.status = 'STATUS_READY' AND c.allocated <> c.effective)""",
    "A reduction that waits is of a SERVERLESS claim and would give something up (C7)": f"""
        SELECT c.name, c.target, c.counting, c.reduction_at FROM ({CLAIMS}) c
        WHERE c.reduction_at IS NOT NULL AND (c.kind <> 'SERVERLESS' OR c.counting <= greatest(c.target, c.window_count))""",
    "One pool instance is kept while a claim waits, all in use once the offering is withdrawn, else none (C4, C13)": f"""
        SELECT i.name, i.kept, i.gpus_used FROM claims_instance i JOIN claims_offering o ON o.key = i.offering_id
        WHERE i.kept AND (i.source <> 'POOL' OR i.state <> 'READY' OR i.claim_id IS NOT NULL OR i.work <> ''
                          OR (o.withdrawn_at IS NULL AND i.offering_id NOT IN ({WAITING})))
        UNION ALL SELECT u.name, u.kept, u.gpus_used FROM ({IN_USE}) u JOIN claims_offering o ON o.key = u.offering_id
        WHERE o.withdrawn_at IS NOT NULL AND NOT u.kept
        UNION ALL SELECT min(u.name), bool_or(u.kept), min(u.gpus_used) FROM ({IN_USE}) u
        JOIN claims_offering o ON o.key = u.offering_id
        WHERE o.withdrawn_at IS NULL AND u.offering_id IN ({WAITING})
        GROUP BY u.offering_id
        HAVING NOT EXISTS (SELECT FROM claims_instance k WHERE k.offering_id = u.offering_id AND k.kept)""",
    "No more than one instance of a pool that is offered is kept (C4)": """
        SELECT i.offering_id, count(*) FROM claims_instance i JOIN claims_offering o ON o.key = i.offering_id
        WHERE i.kept AND o.withdrawn_at IS NULL GROUP BY i.offering_id HAVING count(*) > 1""",
    "Work on a machine has a reason and a time, and what is drained runs nothing": """
        SELECT name, state, work, gpus_used FROM claims_instance
        WHERE (work = '') <> (work_at IS NULL) OR (work = '') <> (work_reason = '')
           OR (state = 'READY' AND (work = 'BAD' OR (work = 'DRAIN' AND gpus_used > 0)))
           OR (state = 'DRAINING' AND drain_until IS NULL)
           OR (relieved_at IS NOT NULL AND claim_id IS NULL AND state IN ('READY', 'DRAINING'))""",
    "Instances count their replicas (C9)": """
        SELECT i.name, i.replicas, count(p.id) AS placed FROM claims_instance i
        LEFT JOIN deployments_replicaplacement p ON p.instance_id = i.key
        GROUP BY i.key HAVING i.replicas <> count(p.id)""",
    "A claim is billed for exactly the instances it holds in the cluster (B1, B4)": """
        SELECT i.name, i.state, u.id AS interval FROM claims_instance i
        FULL JOIN (SELECT * FROM claims_usageinterval WHERE kind = 'CLAIM' AND ended_at IS NULL) u
          ON u.resource_key = i.key LEFT JOIN claims_capacityclaim c ON c.key = i.claim_id
        WHERE (i.key IS NULL) OR u.holder_id <> c.id
           OR (u.id IS NULL) = (i.claim_id IS NOT NULL AND i.lost_at IS NULL AND i.relieved_at IS NULL
                                AND i.state IN ('READY', 'DRAINING'))""",
    "A replica is billed on demand exactly while it holds GPUs of the pool (B3, B4)": """
        SELECT coalesce(p.replica_id, u.resource_key) AS replica, u.id AS interval
        FROM (SELECT p.* FROM deployments_replicaplacement p JOIN claims_instance i ON i.key = p.instance_id
              WHERE i.claim_id IS NULL) p
        FULL JOIN (SELECT * FROM claims_usageinterval WHERE kind = 'REPLICA' AND ended_at IS NULL) u
          ON u.resource_key = p.replica_id AND u.instance_id = p.instance_id
        WHERE p.replica_id IS NULL OR u.id IS NULL OR u.gpus <> p.gpus""",
    "Intervals of one resource do not overlap": f"""
        SELECT id, kind, resource_key, instance_id, started_at, nullif(until, 'infinity') AS until FROM (
            SELECT u.*, max(end_) OVER (PARTITION BY kind, resource_key, instance_id {EARLIER}) AS until
            FROM ({HELD}) u) u WHERE until > started_at""",
    "A claim's tenure of an instance overlaps nothing else that is paid for there (B8)": f"""
        SELECT id, kind, instance_id, started_at, nullif(until, 'infinity') AS until FROM (
            SELECT u.*, CASE WHEN kind = 'CLAIM' THEN max(end_) OVER (PARTITION BY instance_id {EARLIER})
                        ELSE max(end_) FILTER (WHERE kind = 'CLAIM') OVER (PARTITION BY instance_id {EARLIER}) END AS until
            FROM ({HELD}) u) u WHERE until > started_at""",
    "Rated slices lie inside their interval and do not overlap (B5)": """
        SELECT s.id, s.interval_id FROM (
            SELECT s.*, lead(s.started_at) OVER (PARTITION BY s.interval_id ORDER BY s.started_at) AS following
            FROM claims_ratedslice s) s JOIN claims_usageinterval u ON u.id = s.interval_id
        WHERE s.started_at < u.started_at OR (u.ended_at IS NOT NULL AND s.ended_at > u.ended_at)
           OR s.following < s.ended_at OR abs(s.usd - s.gpu_seconds * s.usd_per_gpu_hour / 3600) > 1e-11""",
    "All use is rated to the second up to the cursor, which the closed books lead (B5)": """
        SELECT u.id, c.rated_until, c.closed_until, coalesce(s.rated, 0) AS rated,
               u.gpus * extract(epoch FROM least(u.ended_at, c.rated_until) - u.started_at)::bigint AS used
        FROM claims_metercursor c JOIN claims_usageinterval u USING (organization_id)
        LEFT JOIN (SELECT interval_id, sum(gpu_seconds) AS rated FROM claims_ratedslice GROUP BY 1) s
          ON s.interval_id = u.id
        WHERE c.rated_until > c.closed_until OR coalesce(s.rated, 0) <>
            greatest(0, u.gpus * extract(epoch FROM least(u.ended_at, c.rated_until) - u.started_at)::bigint)""",
    "The sum of a day is that of its slices": """
        SELECT coalesce(d.organization_id, s.organization_id) AS organization_id, coalesce(d.day, s.day) AS day, d.usd,
               s.usd AS slices
        FROM (SELECT organization_id, day, sum(gpu_seconds) AS gpu_seconds, sum(usd) AS usd FROM claims_ratedday
              GROUP BY 1, 2) d
        FULL JOIN (SELECT organization_id, date_trunc('day', started_at, 'UTC') AS day, sum(gpu_seconds) AS gpu_seconds,
                          sum(usd) AS usd FROM claims_ratedslice GROUP BY 1, 2) s USING (organization_id, day)
        WHERE (d.gpu_seconds, d.usd) IS DISTINCT FROM (s.gpu_seconds, s.usd)""",
    "States lie inside their tables": """
        SELECT 'instance' AS what, name FROM claims_instance WHERE state NOT IN
            ('REQUESTED', 'JOINING', 'READY', 'DRAINING', 'FAILED', 'RELEASING', 'RELEASED')
        UNION ALL SELECT 'replica', key::text FROM deployments_replica WHERE state NOT BETWEEN 1 AND 5
        UNION ALL SELECT 'free instance with a holder', name FROM claims_instance
            WHERE organization_id IS NOT NULL AND claim_id IS NULL AND gpus_used = 0""",
    "A replacement and what it replaces are two replicas of one deployment": """
        SELECT r.key, r.deployment_id, o.key AS replaces, o.deployment_id AS other FROM deployments_replica r
        JOIN deployments_replica o ON o.key = r.replaces_id
        WHERE o.deployment_id <> r.deployment_id OR o.key = r.key""",
    "A hold is of its deployment's organization, and ends after it began (R19)": """
        SELECT h.id, h.kind, h.organization_id, d.organization_id AS owner FROM deployments_hold h
        LEFT JOIN deployments_deployment d ON d.key = h.deployment_id
        WHERE h.organization_id <> d.organization_id OR h.ended_at < h.created_at OR h.expires_at <= h.created_at""",
    "A replica of a deployment has its organization's shard and at least one instance while live": """
        SELECT r.key, r.state FROM deployments_replica r WHERE r.state IN (1, 2, 3)
           AND NOT EXISTS (SELECT FROM deployments_replicaplacement p WHERE p.replica_id = r.key)""",
}


@dataclass(frozen=True, slots=True)
class Breach:
    """An invariant and the rows that break it."""

    invariant: str
    rows: list[dict[str, Any]]


def breaches() -> list[Breach]:
    """Every invariant that does not hold, from one snapshot of the database."""
    found = []
    with repeatable_read(), connection.cursor() as cursor:
        for name, query in INVARIANTS.items():
            cursor.execute(query)
            columns = [column.name for column in cursor.description or []]
            rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
            if rows:
                found.append(Breach(name, rows))
    return found
