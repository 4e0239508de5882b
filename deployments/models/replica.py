import pgtrigger
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from claims.models import Instance, InstanceType
from deployments.core.states import HOLDING, LIVE, ReplicaState
from deployments.models.deployment import Deployment


class CapacityClass(models.IntegerChoices):
    """Which capacity a replica is on. The numbers are the API's enum numbers and the planner's codes."""

    RESERVED = 1, "CAPACITY_CLASS_RESERVED"
    ON_DEMAND = 2, "CAPACITY_CLASS_ON_DEMAND"


class Replica(models.Model):
    """One running copy of a deployment. Its states and their transitions are in `deployments.core.states`."""

    key = models.BigAutoField(primary_key=True)
    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="replicas")
    instance_type = models.ForeignKey(InstanceType, on_delete=models.PROTECT, related_name="+")
    revision = models.PositiveIntegerField()
    capacity_class = models.PositiveSmallIntegerField(choices=CapacityClass.choices)
    state = models.PositiveSmallIntegerField(choices=[(s.value, s.name) for s in ReplicaState])
    gpus = models.PositiveIntegerField()
    replaces = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="replacements",
                                 help_text="The replica that goes once this one is ready.")  # fmt: skip

    created_at = models.DateTimeField(db_default=Now())
    loading_at = models.DateTimeField(null=True, help_text="When the runtime was told to start it.")
    ready_at = models.DateTimeField(null=True)
    draining_at = models.DateTimeField(null=True)
    stopped_at = models.DateTimeField(null=True)
    expected_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=60, blank=True, default="", help_text="Why it is draining, stopped, failed.")
    last_error = models.TextField(blank=True, default="")

    crashes = models.PositiveIntegerField(default=0, help_text="Times its process ended and was started again (R8).")
    ended_on = models.BigIntegerField(null=True, help_text="Key of the instance that it failed on (R8).")
    retry_at = models.DateTimeField(null=True, help_text="Failed: until then its place is not tried again (R8).")

    # The work on it, claimed by lease (W4).
    leased_until = models.DateTimeField(null=True)
    next_attempt_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["key"]
        indexes = [
            models.Index(
                fields=["instance_type", "key"],
                name="replica_live_by_shard",
                condition=Q(state__in=sorted(HOLDING)),
            ),
            models.Index(fields=["deployment", "state"], name="replica_by_deployment"),
            models.Index(fields=["instance_type", "ready_at"], name="replica_by_ready_time"),
            models.Index(
                fields=["instance_type", "stopped_at"],
                name="replica_ended_by_shard",
                condition=Q(stopped_at__isnull=False),
            ),
            models.Index(fields=["retry_at"], name="replica_by_retry", condition=Q(retry_at__isnull=False)),
        ]
        constraints = [
            models.CheckConstraint(name="replica_state", condition=Q(state__in=[s.value for s in ReplicaState])),
            models.CheckConstraint(name="replica_class", condition=Q(capacity_class__in=CapacityClass.values)),
            models.CheckConstraint(name="replica_gpus", condition=Q(gpus__gt=0)),
            models.UniqueConstraint(
                fields=["replaces"], name="replica_replaced_once", condition=Q(state__in=sorted(LIVE))
            ),
        ]

    def __str__(self) -> str:
        return f"replica {self.key}"


class ReplicaPlacement(models.Model):
    """GPUs of one instance that a replica holds; deleted in the transaction that lets them go."""

    replica = models.ForeignKey(Replica, on_delete=models.CASCADE, related_name="placements")
    instance = models.ForeignKey(Instance, on_delete=models.PROTECT, related_name="placements")
    gpus = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["replica", "instance"], name="placement_once"),
            models.CheckConstraint(name="placement_gpus", condition=Q(gpus__gt=0)),
        ]
        # What is read of it once is not read again (`deployments.loop.replicas`).
        triggers = [pgtrigger.Protect(name="placement_never_changes", operation=pgtrigger.Update)]

    def __str__(self) -> str:
        return f"{self.gpus} GPUs of {self.instance_id} for {self.replica_id}"
