"""Reads of the deployments half, for pages and APIs. The number of queries never depends on the number of rows."""

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import (
    CharField,
    Count,
    DateTimeField,
    Field,
    IntegerField,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
)
from django.db.models.expressions import RawSQL

from console.common import clock
from console.common.errors import NotFound
from console.organizations.models import AuditEvent, Organization
from deployments.core.plan import SHORT
from deployments.core.states import HOLDING, ReplicaState
from deployments.models import Annotation, Decision, Deployment, Gateway, Hold, Replica, ReplicaPlacement

OTHERS, DELETED = "a deployment of another organization", "a deployment that is deleted"


def gateways_of(organization: Organization) -> QuerySet[Gateway]:
    return Gateway.objects.filter(organization=organization).select_related("organization")


def gateway_get(organization: Organization, id: uuid.UUID) -> Gateway:
    gateway = gateways_of(organization).filter(id=id).first()
    if gateway is None:
        raise NotFound("Gateway", id)
    return gateway


@dataclass(frozen=True, slots=True)
class ZoneReplicas:
    """Live replicas of a deployment in a zone."""

    deployment_id: uuid.UUID
    deployment: str
    zone: str
    replicas: int


def replicas_by_zone(gateway: Gateway) -> list[ZoneReplicas]:
    """Where the replicas of a gateway's deployments run; by name and zone."""
    held = ReplicaPlacement.objects.filter(
        replica__deployment__gateways=gateway, replica__state__in=sorted(HOLDING)
    ).values_list("replica__deployment__id", "replica__deployment__name", "instance__offering__zone__name")
    counted = held.annotate(n=Count("replica", distinct=True))
    return [
        ZoneReplicas(*row) for row in counted.order_by("replica__deployment__name", "instance__offering__zone__name")
    ]


def deployments_of(organization: Organization) -> QuerySet[Deployment]:
    """The organization's deployments with counts `ready`, `starting`, `draining` and the last decision's
    `last_wanted`, `last_granted`, `last_bound`, `last_decided_at`."""
    return (
        Deployment.objects.filter(organization=organization)
        .select_related("autoscaling", "instance_type", "organization")
        .annotate(
            ready=_replicas_in(ReplicaState.READY),
            starting=_replicas_in(ReplicaState.STARTING),
            draining=_replicas_in(ReplicaState.DRAINING),
            last_wanted=last_decided("wanted", IntegerField()),
            last_granted=last_decided("granted", IntegerField()),
            last_bound=last_decided("bound", CharField()),
            last_decided_at=last_decided("at", DateTimeField()),
        )
    )


def deployments_shown(
    organization: Organization,
    *,
    id: uuid.UUID | None = None,
    after: datetime | None = None,
    gateway: uuid.UUID | None = None,
) -> list[Deployment]:
    """The organization's deployments (of this id; updated after then; of this gateway) for the vendor's API, each with its
    policy: no count and no decision, which it does not show. Lists there have no pages."""
    found = Deployment.objects.filter(organization=organization).select_related("autoscaling")
    if id is not None:
        found = found.filter(id=id).order_by()
    if after is not None:
        found = found.filter(updated_at__gt=after)
    if gateway is not None:
        found = found.filter(gateways__id=gateway)
    deployments = list(found)
    for one in deployments:
        one.organization = organization
    return deployments


def deployment_shown(organization: Organization, id: uuid.UUID) -> Deployment:
    """One of `deployments_shown`; NotFound also for another organization's."""
    deployments = deployments_shown(organization, id=id)
    if not deployments:
        raise NotFound("Deployment", id)
    return deployments[0]


# As text: what the ORM puts together from expressions takes it several times as long as the database takes to answer.
def last_decided(what: str, kind: Field[Any, Any]) -> RawSQL:
    """A column of, or an expression about, a deployment's newest decision."""
    return RawSQL(  # noqa: S611 - our own text
        f"(SELECT {what} FROM deployments_decision WHERE deployment_id = deployments_deployment.key "  # noqa: S608
        "ORDER BY id DESC LIMIT 1)",
        (),
        kind,
    )


def _replicas_in(state: ReplicaState) -> RawSQL:
    """How many replicas a deployment has in this state."""
    return RawSQL(
        "(SELECT count(*) FROM deployments_replica WHERE deployment_id = deployments_deployment.key AND state = %s)",
        (int(state),),
        IntegerField(),
    )


@dataclass(frozen=True, slots=True)
class Brief:
    """A deployment in few words, for pages that go through all of them."""

    key: int
    id: uuid.UUID
    name: str
    instance_type_id: int
    type: str
    disabled: bool
    failing: str  # what its condition ReplicasFailing says, where that holds (R8)
    created_at: datetime
    min: int
    last_wanted: int | None
    last_granted: int | None
    last_bound: str | None
    ready: int
    starting: int


_FAILING = '$[*] ? (@.type == "ReplicasFailing" && @.status != "STATUS_FALSE")'
_BRIEFS = """
    SELECT d.key, d.id, d.name, d.instance_type_id, t.name, d.disabled,
           coalesce(jsonb_path_query_first(d.conditions, %(failing)s::jsonpath) ->> 'message', ''),
           extract(epoch FROM d.created_at)::float8, p.min,
           l.wanted, l.granted, l.bound, coalesce(n.ready, 0), coalesce(n.starting, 0)
    FROM deployments_deployment d
    JOIN claims_instancetype t ON t.key = d.instance_type_id
    JOIN deployments_autoscalingpolicy p ON p.deployment_id = d.key
    LEFT JOIN LATERAL (
        SELECT wanted, granted, bound FROM deployments_decision WHERE deployment_id = d.key ORDER BY id DESC LIMIT 1
    ) l ON true
    LEFT JOIN (
        SELECT deployment_id, count(*) FILTER (WHERE state = 2) AS ready, count(*) FILTER (WHERE state = 1) AS starting
        FROM deployments_replica
        WHERE state IN (1, 2)
          AND deployment_id = ANY (ARRAY(SELECT key FROM deployments_deployment WHERE organization_id = %(organization)s))
        GROUP BY deployment_id
    ) n ON n.deployment_id = d.key
    WHERE d.organization_id = %(organization)s ORDER BY d.created_at, d.key"""
_SHORTAGES = """
    SELECT d.key, coalesce(e.id, 0), extract(epoch FROM f.at)::float8 FROM unnest(%(keys)s::bigint[]) AS d (key)
    LEFT JOIN LATERAL (
        SELECT id FROM deployments_decision
        WHERE deployment_id = d.key AND NOT (granted < wanted AND bound = ANY (%(short)s)) ORDER BY id DESC LIMIT 1
    ) e ON true
    LEFT JOIN LATERAL (
        SELECT at FROM deployments_decision WHERE deployment_id = d.key AND id > coalesce(e.id, 0) ORDER BY id LIMIT 1
    ) f ON true"""
_LAST_READY = """
    SELECT d.key, extract(epoch FROM r.at)::float8 FROM unnest(%s::bigint[]) AS d (key)
    JOIN LATERAL (SELECT max(ready_at) AS at FROM deployments_replica WHERE deployment_id = d.key) r ON r.at IS NOT NULL"""


def briefs_of(organization: Organization) -> list[Brief]:
    """The organization's deployments as `deployments_of` has them: one query."""
    rows = read(_BRIEFS, {"organization": organization.key, "failing": _FAILING})
    return [Brief(*(*row[:7], clock.at(row[7]), *row[8:])) for row in rows]


def shortages_of(keys: Sequence[int]) -> list[tuple[int, int, datetime | None]]:
    """Of deployments that are short: (key, last decision before it that gave everything, when it began). One query."""
    rows = read(_SHORTAGES, {"keys": list(keys), "short": list(SHORT)})
    return [(key, before, None if at is None else clock.at(at)) for key, before, at in rows]


def last_ready(keys: Sequence[int]) -> dict[int, datetime]:
    """By deployment key when a replica last got ready; those of which none ever did are left out. One query."""
    return {key: clock.at(at) for key, at in read(_LAST_READY, [list(keys)])}


def read(query: str, given: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, given)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def deployment_get(organization: Organization, id: uuid.UUID) -> Deployment:
    """One deployment with its counts; NotFound also for another organization's."""
    deployment = deployments_of(organization).filter(id=id).first()
    if deployment is None:
        raise NotFound("Deployment", id)
    return deployment


def names_of(organization: Organization, keys: Iterable[int], *, platform: bool = False) -> dict[int, str]:
    """What deployments are called to whom is of the organization: its own by name, those it deleted too; others only to the
    platform. One query, and a second where some are gone."""
    wanted = {key for key in keys if key >= 0}
    found = Deployment.objects.filter(key__in=wanted).values_list("key", "name", "organization_id")
    names = {key: name if platform or owner == organization.key else OTHERS for key, name, owner in found}
    gone = wanted - names.keys()
    return names | (dict.fromkeys(gone, DELETED) | _names_deleted(organization, gone) if gone else {})


def _names_deleted(organization: Organization, keys: Collection[int]) -> dict[int, str]:
    """As the audit trail has them: of the rows nothing is left."""
    deleted = AuditEvent.objects.filter(
        organization=organization, object_type="Deployment", action="deployment.delete", before__key__in=list(keys)
    )
    return dict(deleted.order_by("id").values_list("before__key", "object_name"))


def names_in(decisions: Iterable[Decision], organization: Organization, *, platform: bool = False) -> dict[int, str]:
    """The deployments that the sentences of these decisions name."""
    return names_of(organization, {int(one.record.get("granted_other", -1)) for one in decisions}, platform=platform)


def last_decisions(deployments: Iterable[Deployment]) -> dict[int, Decision]:
    """The newest decision of each, by key of the deployment."""
    newest = Decision.objects.filter(deployment=OuterRef("key")).order_by("-id").values("id")[:1]
    keys = Deployment.objects.filter(key__in=[one.key for one in deployments]).order_by()
    found = Decision.objects.filter(id__in=keys.annotate(newest=Subquery(newest)).values("newest"))
    return {one.deployment_id: one for one in found}


def decisions_of(deployment: Deployment, limit: int, before_id: int | None = None) -> Sequence[Decision]:
    """The newest decisions first."""
    found = Decision.objects.filter(deployment=deployment).order_by("-id")
    return list(found.filter(id__lt=before_id)[:limit] if before_id else found[:limit])


def recent_decisions(organization: Organization, limit: int) -> Sequence[Decision]:
    found = Decision.objects.filter(organization=organization).select_related("deployment")
    return list(found.order_by("-at", "-id")[:limit])


def replicas_of(deployment: Deployment) -> QuerySet[Replica]:
    """Replicas that hold GPUs, with where they are."""
    live = Replica.objects.filter(deployment=deployment, state__in=sorted(HOLDING))
    placed = ReplicaPlacement.objects.select_related("instance__offering__zone")
    return live.prefetch_related(Prefetch("placements", placed)).order_by("key")


def failed_of(deployment: Deployment, since: datetime) -> list[Replica]:
    """Replicas that failed since then, newest first, with their reason and when their place is tried again (R8)."""
    failed = Replica.objects.filter(deployment=deployment, state=ReplicaState.FAILED, stopped_at__gte=since)
    return list(failed.order_by("-stopped_at", "-key"))


def in_force(holds: QuerySet[Hold], now: datetime) -> QuerySet[Hold]:
    """Those that are neither ended nor expired (R19)."""
    return holds.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now), ended_at__isnull=True)


def holds_of(organization: Organization) -> QuerySet[Hold]:
    """Every hold that concerns the organization: its deployments', its own, the fleet's; newest first."""
    mine = Q(organization=organization) | Q(organization__isnull=True)
    return Hold.objects.filter(mine).select_related("deployment", "organization").order_by("-created_at", "id")


def holds_in_force(organization: Organization, now: datetime) -> list[Hold]:
    return list(in_force(holds_of(organization), now))


def holds_at(organization: Organization, at: datetime) -> list[Hold]:
    """Those that were in force at a time: made by then, and neither ended nor expired."""
    there = holds_of(organization).filter(created_at__lte=at)
    return list(
        there.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=at), Q(ended_at__isnull=True) | Q(ended_at__gt=at))
    )


def concerning(holds: Iterable[Hold], deployment: Deployment) -> list[Hold]:
    """Those of `holds` that hold this deployment: its own, its organization's, the fleet's."""
    return [one for one in holds if one.deployment_id in (None, deployment.key)]


def annotations_of(deployment: Deployment, since: datetime) -> list[Annotation]:
    """Notes on its charts, newest first."""
    found = Annotation.objects.filter(deployment=deployment, at__gte=since).select_related("user")
    return list(found.order_by("-at", "id"))
