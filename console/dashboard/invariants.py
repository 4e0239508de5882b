"""What must always be true of capacity, replicas and money, each as a query that returns the rows where it is not.

All run in one REPEATABLE READ snapshot, so they see one moment of a system that goes on meanwhile.
"""

from dataclasses import dataclass
from typing import Any

from django.db import connection

from deployments.loop.snapshot import repeatable_read

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
           OR (r.capacity_class = 2 AND i.claim_id IS NOT NULL)
           OR (r.capacity_class = 1 AND i.claim_id IS NULL)""",
    "CUSTOMER claims fit their quota unless it was lowered (C3)": """
        WITH held AS (
            SELECT c.key, c.organization_id, c.offering_id, greatest(c.target, count(i.key)) AS committed, c.updated_at
            FROM claims_capacityclaim c LEFT JOIN claims_instance i ON i.claim_id = c.key AND i.state <> 'RELEASED'
                                           AND i.lost_at IS NULL
            WHERE c.kind = 'CUSTOMER' GROUP BY c.key),
        total AS (SELECT organization_id, offering_id, sum(committed) AS committed FROM held GROUP BY 1, 2),
        widest AS (SELECT organization_id, offering_id, max("limit" - other_usage) AS room
                   FROM claims_quotachange GROUP BY 1, 2)
        SELECT t.organization_id, t.offering_id, t.committed, coalesce(w.room, 0) AS most_ever FROM total t
        LEFT JOIN widest w USING (organization_id, offering_id) WHERE t.committed > coalesce(w.room, 0)""",
    "A READY claim has as many instances as it asks for (C5, C8)": """
        SELECT c.name, c.target, count(i.key) AS ready FROM claims_capacityclaim c
        LEFT JOIN claims_instance i ON i.claim_id = c.key AND i.state = 'READY' AND i.lost_at IS NULL
        GROUP BY c.key HAVING count(i.key) > c.target""",
    "A claim is billed for exactly the instances it holds in the cluster (B1, B4)": """
        SELECT i.name, i.state, u.id AS interval FROM claims_instance i
        FULL JOIN (SELECT * FROM claims_usageinterval WHERE kind = 'CLAIM' AND ended_at IS NULL) u
          ON u.resource_key = i.key
        WHERE (i.key IS NULL) OR (u.id IS NULL) = (i.claim_id IS NOT NULL AND i.lost_at IS NULL
                                                   AND i.state IN ('READY', 'DRAINING'))""",
    "A replica is billed on demand exactly while it holds GPUs of the pool (B3, B4)": """
        SELECT coalesce(p.replica_id, u.resource_key) AS replica, u.id AS interval
        FROM (SELECT p.* FROM deployments_replicaplacement p JOIN deployments_replica r ON r.key = p.replica_id
              WHERE r.capacity_class = 2) p
        FULL JOIN (SELECT * FROM claims_usageinterval WHERE kind = 'REPLICA' AND ended_at IS NULL) u
          ON u.resource_key = p.replica_id AND u.instance_id = p.instance_id
        WHERE p.replica_id IS NULL OR u.id IS NULL OR u.gpus <> p.gpus""",
    "Intervals of one resource do not overlap": """
        SELECT a.id, b.id AS other FROM claims_usageinterval a JOIN claims_usageinterval b
          ON a.kind = b.kind AND a.resource_key = b.resource_key AND a.instance_id = b.instance_id AND a.id < b.id
         AND tstzrange(a.started_at, a.ended_at) && tstzrange(b.started_at, b.ended_at)""",
    "No on-demand interval overlaps a claim's tenure of its instance (B8)": """
        SELECT a.id, b.id AS tenure, a.instance_id FROM claims_usageinterval a JOIN claims_usageinterval b
          ON a.instance_id = b.instance_id AND a.kind = 'REPLICA' AND b.kind = 'CLAIM'
         AND tstzrange(a.started_at, a.ended_at) && tstzrange(b.started_at, b.ended_at)""",
    "Rated slices lie inside their interval and do not overlap (B5)": """
        SELECT s.id, s.interval_id FROM (
            SELECT s.*, lead(s.started_at) OVER (PARTITION BY s.interval_id ORDER BY s.started_at) AS following
            FROM claims_ratedslice s) s JOIN claims_usageinterval u ON u.id = s.interval_id
        WHERE s.started_at < u.started_at OR (u.ended_at IS NOT NULL AND s.ended_at > u.ended_at)
           OR s.following < s.ended_at""",
    "States lie inside their tables": """
        SELECT 'instance' AS what, name FROM claims_instance WHERE state NOT IN
            ('REQUESTED', 'JOINING', 'READY', 'DRAINING', 'FAILED', 'RELEASING', 'RELEASED')
        UNION ALL SELECT 'replica', key::text FROM deployments_replica WHERE state NOT BETWEEN 1 AND 5
        UNION ALL SELECT 'free instance with a holder', name FROM claims_instance
            WHERE organization_id IS NOT NULL AND claim_id IS NULL AND gpus_used = 0""",
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
