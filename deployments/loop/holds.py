"""Freezes and pins that are in force, as columns of the shard (R19)."""

from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db.models import Q

from claims.models import InstanceType
from deployments.models import Hold, HoldKind
from deployments.selectors import in_force

Array = npt.NDArray[Any]
NO_PIN = -1


def held(instance_type: InstanceType, keys: Array, orgs: Array, now: datetime) -> tuple[Array, Array]:
    """`freeze` and `pin` of the deployments `keys` (ascending) of the organizations `orgs`, in their order.

    A pin is of one deployment and beats every freeze, the newest beats older ones; a freeze may be of the deployment,
    its organization or the fleet.
    """
    freeze, pin = np.zeros(len(keys), np.bool_), np.full(len(keys), NO_PIN)
    mine = Q(deployment__isnull=True) | Q(deployment__instance_type=instance_type)
    found = in_force(Hold.objects.filter(mine, created_at__lte=now), now).order_by("created_at", "id")
    for deployment, organization, kind, size in found.values_list("deployment_id", "organization_id", "kind", "size"):
        rows = keys == deployment if deployment else orgs == organization if organization else slice(None)
        if kind == HoldKind.PIN:
            pin[rows] = size
        else:
            freeze[rows] = True
    freeze[pin != NO_PIN] = False
    return freeze, pin
