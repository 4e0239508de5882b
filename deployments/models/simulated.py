from django.db import models


class SimulatedReplica(models.Model):
    """A replica as the simulated runtime knows it: its whole outside world, so that it survives restarts."""

    replica_key = models.BigIntegerField(primary_key=True)
    deployment_key = models.BigIntegerField(db_index=True)
    started_at = models.DateTimeField()
    ready_at = models.DateTimeField()
    draining_at = models.DateTimeField(null=True)
    active = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"simulated replica {self.replica_key}"


class SimulatedWorkload(models.Model):
    """The requests that reach a deployment in the simulated runtime: which trace, how much of it, and the queue."""

    deployment_key = models.BigIntegerField(primary_key=True)
    trace = models.CharField(max_length=40)
    scale = models.FloatField(default=1.0)
    phase_s = models.FloatField(default=0.0)
    seed = models.BigIntegerField(default=0)
    origin = models.DateTimeField(help_text="Second 0 of the demand.")
    state = models.BinaryField(null=True)

    def __str__(self) -> str:
        return f"{self.trace} for deployment {self.deployment_key}"
