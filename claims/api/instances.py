"""`/api/v1/instances`: the machines of the managed pools and those of the organization's own claims."""

from typing import Any

from django.db.models import Q, QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims.core.states import LIVE_STATES, InstanceState
from claims.models import Instance, Source, Work
from console.common.errors import NotFound
from console.organizations.api.fields import rfc3339
from console.organizations.api.listing import Filter, Listing, sparse
from console.organizations.api.permissions import request_actor
from console.organizations.api.schema import Page, Shape
from console.organizations.models import Organization

STATES = [state.value for state in InstanceState if state in LIVE_STATES]
HOLDERS = ("NOBODY", "OURS", "OTHERS")


class InstanceShape(Shape):
    name = serializers.CharField(help_text="As the placements of replicas name it.")
    zone = serializers.CharField()
    instanceId = serializers.CharField(help_text="Its type, as everywhere in these APIs.")
    source = serializers.ChoiceField(  # type: ignore[assignment]  # a field has a member of that name
        Source.values, help_text="POOL: the managed pool. CUSTOMER: joined for a claim."
    )
    state = serializers.ChoiceField(STATES)
    lost = serializers.BooleanField(help_text="It was seen to have vanished from the cluster.")
    holder = serializers.ChoiceField(HOLDERS, help_text="Who claims it or uses its GPUs.")
    claimId = serializers.UUIDField(allow_null=True, help_text="Null: no claim has it, or another organization's.")
    gpus = serializers.IntegerField()
    gpusUsed = serializers.IntegerField(allow_null=True, help_text="By replicas; null where others hold it.")
    work = serializers.ChoiceField(
        ["", *Work.values], allow_blank=True, help_text="CORDON, DRAIN or BAD: it takes nothing new."
    )
    createdAt = serializers.DateTimeField()
    readyAt = serializers.DateTimeField(allow_null=True, help_text="Null: it has not joined yet.")
    expectedAt = serializers.DateTimeField(allow_null=True, help_text="When one that is on its way is expected.")


class InstancePage(Page):
    items = sparse(InstanceShape)(many=True)


# What `claimId` and `holder` mean depends on who asks: `wanted` applies them.
INSTANCES = Listing(
    {"name": ("name",), "createdAt": ("key",)}, "name",
    {"zone": Filter("offering__zone__name__iexact", "Only of this zone."),
     "instanceId": Filter("offering__instance_type__name__iexact", "Only of this instance type."),
     "source": Filter("source", "Only of this source.", Source.values),
     "state": Filter("state", "Only in this state.", STATES),
     "holder": Filter("", "Only those that are so held.", HOLDERS),
     "claimId": Filter("", "Only those of this claim of the organization.", type=OpenApiTypes.UUID)},
    InstanceShape,
)  # fmt: skip


class InstancesView(APIView):
    @extend_schema(responses=InstancePage, operation_id="ListInstances", parameters=INSTANCES.parameters)
    def get(self, request: Request) -> Response:
        """The machines of the managed pools, whoever holds them, and those that joined for the organization's claims. Of
        what others hold only that is told; what has left the cluster is left out."""
        mine = request_actor(request).require_organization()
        found = wanted(request, instances_of(mine), mine)
        return Response(INSTANCES.stored(request, found, lambda one: instance_to(one, mine)))


class InstanceView(APIView):
    @extend_schema(responses=InstanceShape, operation_id="GetInstance")
    def get(self, request: Request, name: str) -> Response:
        """One machine."""
        mine = request_actor(request).require_organization()
        found = instances_of(mine).filter(name=name).first() if name.isprintable() else None
        if found is None:
            raise NotFound("Instance", name)
        return Response(instance_to(found, mine))


def instances_of(mine: Organization) -> QuerySet[Instance]:
    live = Instance.objects.filter(Q(source=Source.POOL) | Q(organization=mine), state__in=LIVE_STATES)
    return live.select_related("offering__zone", "offering__instance_type", "claim")


def wanted(request: Request, found: QuerySet[Instance], mine: Organization) -> QuerySet[Instance]:
    held = {"NOBODY": Q(organization=None), "OURS": Q(organization=mine),
            "OTHERS": Q(organization__isnull=False) & ~Q(organization=mine)}  # fmt: skip
    holder, claim = (INSTANCES.filters[name].value(request, name) for name in ("holder", "claimId"))
    found = found.filter(held[holder]) if holder else found
    return found.filter(organization=mine, claim__id=claim) if claim else found


def instance_to(one: Instance, mine: Organization) -> dict[str, Any]:
    holder = "NOBODY" if one.organization_id is None else "OURS" if one.organization_id == mine.key else "OTHERS"
    told = holder != "OTHERS"
    return {
        "name": one.name, "zone": one.offering.zone.name, "instanceId": one.offering.instance_type.name,
        "source": one.source, "state": one.state, "lost": one.lost_at is not None, "holder": holder,
        "claimId": str(one.claim.id) if one.claim and told else None, "gpus": one.gpus,
        "gpusUsed": one.gpus_used if told else None, "work": one.work, "createdAt": rfc3339(one.created_at),
        "readyAt": rfc3339(one.ready_at), "expectedAt": None if one.ready_at else rfc3339(one.expected_at),
    }  # fmt: skip
