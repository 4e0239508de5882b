from django.db import models

from claims.models import InstanceType
from deployments.models.deployment import Deployment


class Decision(models.Model):
    """A change of the autoscaler's answer, with every number it used: stages 1 to 5 run again from the row alone."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="decisions")
    at = models.DateTimeField()
    current = models.IntegerField(help_text="Replicas that count, when it was made.")
    wanted = models.IntegerField()
    granted = models.IntegerField()
    bound = models.CharField(max_length=20, help_text="The limit that held the answer, or NONE.")
    record = models.JSONField(help_text="Inputs, stage numbers and reason codes.")
    made_afterwards = models.BooleanField(db_default=False, default=False,
                                          help_text="Made by the simulator for a time before the deployment.")  # fmt: skip

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["deployment", "-id"], name="decision_by_deployment"),
            models.Index(fields=["at"], name="decision_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.deployment_id}: {self.wanted} wanted, {self.granted} granted at {self.at}"


class PlannerState(models.Model):
    """What the planner of a shard remembers between ticks, packed."""

    instance_type = models.OneToOneField(InstanceType, primary_key=True, on_delete=models.CASCADE)
    at = models.DateTimeField()
    payload = models.BinaryField()

    def __str__(self) -> str:
        return f"planner state of {self.instance_type_id} at {self.at}"
