"""Freezes and pins that are in force, as columns of the shard (R19)."""

from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from claims.models import InstanceType
from deployments.loop.columns import read_rows
from deployments.models import HoldKind

Array = npt.NDArray[Any]
NO_PIN = -1
# The same as `deployments.selectors.in_force`, of those that concern the shard.
_IN_FORCE = """
    SELECT h.deployment_id, h.organization_id, h.kind, h.size
    FROM deployments_hold h LEFT JOIN deployments_deployment d ON d.key = h.deployment_id
    WHERE h.ended_at IS NULL AND h.created_at <= %(now)s AND (h.expires_at IS NULL OR h.expires_at > %(now)s)
      AND (h.deployment_id IS NULL OR d.instance_type_id = %(type)s)
    ORDER BY h.created_at, h.id"""


def held(instance_type: InstanceType, keys: Array, orgs: Array, now: datetime) -> tuple[Array, Array]:
    """`freeze` and `pin` of the deployments `keys` (ascending) of the organizations `orgs`, in their order.

    A pin is of one deployment and beats every freeze, the newest beats older ones; a freeze may be of the deployment,
    its organization or the fleet.
    """
    freeze, pin = np.zeros(len(keys), np.bool_), np.full(len(keys), NO_PIN)
    found = read_rows(_IN_FORCE, {"type": instance_type.key, "now": now})
    for deployment, organization, kind, size in found:
        rows = keys == deployment if deployment else orgs == organization if organization else slice(None)
        if kind == HoldKind.PIN:
            pin[rows] = size
        else:
            freeze[rows] = True
    freeze[pin != NO_PIN] = False
    return freeze, pin
