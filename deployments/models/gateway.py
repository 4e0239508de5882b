from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower, Now

from claims.core.states import Status
from console.common.ids import new_id
from console.organizations.models import Organization


class Gateway(models.Model):
    """The entry point that deployments attach to. Its zones (none means all) limit where their replicas run."""

    key = models.BigAutoField(primary_key=True)
    id = models.UUIDField(unique=True, default=new_id)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="gateways")
    name = models.CharField(max_length=63)
    sent_zones = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    auth = models.JSONField(help_text='One member: {"coreWeaveAuth": {}} or {"weightsAndBiasesAuth": {...}}.')
    routing = models.JSONField(help_text='One member, for instance {"bodyBasedRouting": {"apiType": ...}}.')
    endpoint_configuration = models.JSONField(null=True, blank=True)
    endpoints = ArrayField(models.CharField(max_length=300), default=list, blank=True)
    status = models.CharField(max_length=20, default=Status.CREATING.value)
    conditions = models.JSONField(default=list)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["created_at", "key"]
        constraints = [
            models.UniqueConstraint("organization", Lower("name"), name="gateway_name_once"),
            models.CheckConstraint(name="gateway_status", condition=models.Q(status__in=[s.value for s in Status])),
        ]

    def __str__(self) -> str:
        return self.name
