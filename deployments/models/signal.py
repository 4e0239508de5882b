from django.db import models

from claims.models import InstanceType
from deployments.models.deployment import Deployment


class SignalBlock(models.Model):
    """One sampling pass of a shard: packed columns, one value a deployment (DESIGN section 6). Kept for an hour."""

    instance_type = models.ForeignKey(InstanceType, on_delete=models.CASCADE)
    at = models.DateTimeField()
    payload = models.BinaryField()

    class Meta:
        ordering = ["at"]
        constraints = [models.UniqueConstraint(fields=["instance_type", "at"], name="signal_block_once")]

    def __str__(self) -> str:
        return f"{self.instance_type_id} at {self.at}"


class ReplicaActivity(models.Model):
    """Requests that each replica of a shard ran at its last sample, packed (`deployments.loop.activity`)."""

    instance_type = models.OneToOneField(InstanceType, primary_key=True, on_delete=models.CASCADE)
    at = models.DateTimeField()
    payload = models.BinaryField()

    def __str__(self) -> str:
        return f"activity of {self.instance_type_id} at {self.at}"


class Resolution(models.IntegerChoices):
    """Seconds of one point of a chunk, and with it the span of a row: an hour, a day, a month."""

    FIVE_SECONDS = 5, "5s"
    MINUTE = 60, "1m"
    HOUR = 3600, "1h"


class SignalChunk(models.Model):
    """History of one deployment at one resolution over one span, packed, written once when the span ends.

    Where history was made afterwards for the hour in which a deployment began, its chunk holds that part at first.
    """

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE)
    resolution = models.PositiveSmallIntegerField(choices=Resolution.choices)
    starts_at = models.DateTimeField()
    until = models.DateTimeField(null=True, help_text="It holds what was before; the rest of its span is still open.")
    payload = models.BinaryField()

    class Meta:
        ordering = ["starts_at"]
        constraints = [
            models.UniqueConstraint(fields=["deployment", "resolution", "starts_at"], name="signal_chunk_once")
        ]
        indexes = [models.Index(fields=["resolution", "starts_at"], name="signal_chunk_by_age")]

    def __str__(self) -> str:
        return f"{self.deployment_id} at {self.resolution} s from {self.starts_at}"
