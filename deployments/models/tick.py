from django.db import models
from django.db.models import Q

from claims.models import InstanceType


class TickRecord(models.Model):
    """A pass of the scaling loop in which a decision changed: what it read and what came out, packed, so that it can be
    run again. Kept for a day, and not more than two gigabytes of them (`deployments.replay.records`)."""

    instance_type = models.ForeignKey(InstanceType, on_delete=models.CASCADE, related_name="ticks")
    at = models.DateTimeField()
    decisions = models.PositiveIntegerField(help_text="Decisions that changed in it.")
    bytes = models.PositiveIntegerField(help_text="Length of the payload.")
    payload = models.BinaryField(help_text="Columns that went in and came out (`deployments.replay.recorded`).")

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["instance_type", "-at"], name="tick_by_shard"),
            models.Index(fields=["at"], name="tick_by_time"),
        ]
        constraints = [models.CheckConstraint(name="tick_not_empty", condition=Q(bytes__gt=0))]

    def __str__(self) -> str:
        return f"pass of {self.instance_type_id} at {self.at}"
