from django.db import models


class SimulatedNode(models.Model):
    """A machine of the simulated node backend: its whole outside world, so that it survives restarts."""

    instance_key = models.BigIntegerField(primary_key=True)
    requested_at = models.DateTimeField()
    ready_at = models.DateTimeField()
    leaving_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"node of instance {self.instance_key}"
