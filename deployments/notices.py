"""What the deployments half tells organizations of: deployments that have been short of capacity for some minutes."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from console.notifications.models import Kind
from console.notifications.services import notify
from console.organizations.models import Organization
from deployments.core.plan import SHORT

SHORT_FOR = timedelta(minutes=5)
MOST_OF_ONE, MOST = 20, 500  # of an organization, and in all; the others follow in the next pass

# An episode lasts from one decision that gave everything to the next, and is named by the one it began after.
_SHORT = """
    WITH short AS (
        SELECT d.key, d.id, d.name, d.organization_id, l.wanted, l.granted, l.bound
        FROM deployments_deployment d
        JOIN LATERAL (SELECT wanted, granted, bound FROM deployments_decision
                      WHERE deployment_id = d.key ORDER BY id DESC LIMIT 1) l ON true
        WHERE NOT d.disabled AND l.granted < l.wanted AND l.bound = ANY (%(short)s)
    ), episode AS (
        SELECT s.*, coalesce(e.id, 0) AS after, b.at AS since
        FROM short s
        LEFT JOIN LATERAL (SELECT id FROM deployments_decision
                           WHERE deployment_id = s.key AND NOT (granted < wanted AND bound = ANY (%(short)s))
                           ORDER BY id DESC LIMIT 1) e ON true
        JOIN LATERAL (SELECT at FROM deployments_decision
                      WHERE deployment_id = s.key AND id > coalesce(e.id, 0) ORDER BY id LIMIT 1) b ON true
    ), new AS (
        SELECT e.*, row_number() OVER (PARTITION BY organization_id ORDER BY since, key) AS place
        FROM episode e
        WHERE since <= %(before)s AND NOT EXISTS (
            SELECT 1 FROM notifications_notification n
            WHERE n.organization_id = e.organization_id AND n.key = 'short:' || e.id || ':' || e.after)
    )
    SELECT organization_id, id, name, wanted, granted, bound, after, since FROM new
    WHERE place <= %(most_of_one)s ORDER BY since, key LIMIT %(most)s"""


@dataclass(frozen=True, slots=True)
class Episode:
    """A deployment that is short, and of which nobody has been told yet."""

    organization: int
    id: uuid.UUID
    name: str
    wanted: int
    granted: int
    bound: str
    after: int
    since: datetime


def shortage_notices_pass(*, now: datetime) -> int:
    """Tell of every deployment that has been short for a while, once an episode; returns how many were told."""
    found = episodes(now)
    owners = Organization.objects.in_bulk({one.organization for one in found})
    return sum(_tell(one, owners[one.organization], now) for one in found)


def episodes(now: datetime) -> list[Episode]:
    given: dict[str, Any] = {"short": list(SHORT), "before": now - SHORT_FOR, "most_of_one": MOST_OF_ONE, "most": MOST}
    with connection.cursor() as cursor:
        cursor.execute(_SHORT, given)
        return [Episode(*row) for row in cursor.fetchall()]


def _tell(one: Episode, organization: Organization, now: datetime) -> bool:
    return notify(
        organization=organization, kind=Kind.SHORTAGE, key=f"short:{one.id}:{one.after}",
        subject=f"{one.name} is short of capacity", path=f"/deployments/{one.id}", now=now,
        text=f"{one.granted} of {one.wanted} wanted replicas have GPUs, since {one.since:%Y-%m-%d %H:%M} UTC.",
        data={"deployment": str(one.id), "name": one.name, "wanted": one.wanted, "granted": one.granted,
              "bound": one.bound, "since": one.since},
    )  # fmt: skip
