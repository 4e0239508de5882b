"""How long the model of a deployment takes to load: from the command to start until the replica answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from uuid import UUID

from django.conf import settings
from django.db import connection

from deployments.loop.failures import MEASURED
from deployments.models import Deployment

NEWEST = 5  # that are listed
# All deployments of the organization with the same model; the newest of each instance type.
_TAKEN = """
    SELECT t.name, s.key, s.id, s.deployment, s.ready_at, s.took FROM claims_instancetype t
    CROSS JOIN LATERAL (
        SELECT r.key, o.id, o.name AS deployment, r.ready_at, r.ready_at - r.loading_at AS took
        FROM deployments_replica r JOIN deployments_deployment o ON o.key = r.deployment_id
        WHERE r.instance_type_id = t.key AND o.organization_id = %s AND o.model_bucket = %s AND o.model_path = %s
          AND r.ready_at IS NOT NULL AND r.ready_at >= r.loading_at
        ORDER BY r.ready_at DESC, r.key DESC LIMIT %s
    ) s ORDER BY t.name, s.ready_at DESC, s.key DESC"""


@dataclass(frozen=True, slots=True)
class StartUp:
    """One replica that got ready: what it took, and of which deployment it is."""

    replica: int
    deployment_id: UUID
    deployment: str
    ready_at: datetime
    took: timedelta


@dataclass(frozen=True, slots=True)
class StartUps:
    """The newest start-ups of a model on an instance type, newest first."""

    instance_type: str
    all: Sequence[StartUp]

    @property
    def count(self) -> int:
        return len(self.all)

    @property
    def newest(self) -> Sequence[StartUp]:
        return self.all[:NEWEST]

    @property
    def median(self) -> timedelta:
        return self._at(50)

    @property
    def p90(self) -> timedelta:
        return self._at(90)

    @property
    def limit(self) -> timedelta:
        """Loading for longer than this is a failure (R8)."""
        return max(timedelta(seconds=settings.LOADING_LIMIT_S), 3 * self.p90)

    def _at(self, percent: int) -> timedelta:
        """The smallest time that at least so many of a hundred took no longer than, as `percentile_disc` has it."""
        taken = sorted(one.took for one in self.all)
        return taken[-(-percent * len(taken) // 100) - 1]


def start_ups_of(deployment: Deployment) -> list[StartUps]:
    """By instance type, by name; empty before the first replica got ready. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKEN, [deployment.organization_id, deployment.model_bucket, deployment.model_path, MEASURED])
        rows = cursor.fetchall()
    return [StartUps(name, [StartUp(*row[1:]) for row in of]) for name, of in groupby(rows, key=lambda row: row[0])]
