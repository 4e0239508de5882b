"""Replicas of a deployment that has moved to another instance type: no planner of its shard knows them."""

from datetime import datetime

from claims.models import InstanceType
from deployments.loop.columns import read_rows

# A tick that planned before the change may still have started them (R10). They serve until as many as the deployment has
# to have are ready on the new type, or until an instance that they are on has to be empty (C10).
_MOVED_AWAY = """
    SELECT r.key, 'MOVED_TO_OTHER_TYPE' FROM deployments_replica r
    JOIN deployments_deployment d ON d.key = r.deployment_id
    JOIN deployments_autoscalingpolicy p ON p.deployment_id = d.key
    WHERE r.instance_type_id = %(type)s AND d.instance_type_id <> r.instance_type_id AND r.state IN (1, 2)
      AND (d.disabled OR d.status = 'STATUS_DELETING' OR p.min <= (
          SELECT count(*) FROM deployments_replica n
          WHERE n.deployment_id = d.key AND n.instance_type_id = d.instance_type_id AND n.state = 2
      ) OR EXISTS (
          SELECT FROM deployments_replicaplacement l JOIN claims_instance i ON i.key = l.instance_id
          WHERE l.replica_id = r.key AND i.state = 'DRAINING' AND i.drain_until <= %(now)s))"""


def leaving(instance_type: InstanceType, now: datetime) -> dict[int, str]:
    """Keys of those that go now, with the reason."""
    return dict(read_rows(_MOVED_AWAY, {"type": instance_type.key, "now": now}))
