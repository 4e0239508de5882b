"""Replicas that have to go whatever the plan says: on instances that are given up, or of a deployment that moved to
another instance type."""

from django.db import connection

from claims.models import InstanceType

_ON_LEAVING_INSTANCES = """
    SELECT DISTINCT p.replica_id, 'INSTANCE_DRAINING' FROM claims_instance i
    JOIN claims_offering o ON o.key = i.offering_id
    JOIN deployments_replicaplacement p ON p.instance_id = i.key
    WHERE o.instance_type_id = %(type)s AND i.state = 'DRAINING'"""

# A tick that planned before the change may still have started them (R10). They serve until as many as the deployment has
# to have are ready on the new type.
_MOVED_AWAY = """
    SELECT r.key, 'MOVED_TO_OTHER_TYPE' FROM deployments_replica r
    JOIN deployments_deployment d ON d.key = r.deployment_id
    JOIN deployments_autoscalingpolicy p ON p.deployment_id = d.key
    WHERE r.instance_type_id = %(type)s AND d.instance_type_id <> r.instance_type_id AND r.state IN (1, 2)
      AND (d.disabled OR d.status = 'STATUS_DELETING' OR p.min <= (
          SELECT count(*) FROM deployments_replica n
          WHERE n.deployment_id = d.key AND n.instance_type_id = d.instance_type_id AND n.state = 2))"""


def leaving(instance_type: InstanceType) -> dict[int, str]:
    """Replica keys with the reason: any of its instances is draining (C10), or its deployment moved (R10)."""
    with connection.cursor() as cursor:
        cursor.execute(f"{_ON_LEAVING_INSTANCES} UNION ALL {_MOVED_AWAY}", {"type": instance_type.key})
        return dict(cursor.fetchall())
