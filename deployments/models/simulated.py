from django.db import models


class SimulatedReplica(models.Model):
    """A replica as the simulated runtime knows it: its whole outside world, so that it survives restarts."""

    replica_key = models.BigIntegerField(primary_key=True)
    deployment_key = models.BigIntegerField(db_index=True)
    started_at = models.DateTimeField()
    ready_at = models.DateTimeField()
    draining_at = models.DateTimeField(null=True)
    active = models.PositiveIntegerField(default=0)
    never_ready = models.BooleanField(default=False)
    crash_every_s = models.FloatField(null=True, help_text="Seconds a process of it lives.")
    error = models.TextField(blank=True, default="")

    def __str__(self) -> str:
        return f"simulated replica {self.replica_key}"


class SimulatedFault(models.Model):
    """What goes wrong with replicas of a deployment that start from now on, everywhere or on one instance."""

    deployment_key = models.BigIntegerField(primary_key=True)
    instance_key = models.BigIntegerField(null=True)
    never_ready = models.BooleanField(default=False)
    crash_every_s = models.FloatField(null=True, help_text="Seconds a process lives; divided by the speed.")
    error = models.TextField(blank=True, default="")

    def __str__(self) -> str:
        return f"{'never ready' if self.never_ready else 'crashes'}: deployment {self.deployment_key}"


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
