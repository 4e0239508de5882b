from django.db import models


class Loop(models.Model):
    """One periodic pass, for instance `fulfil` or `scale:gb200-4x`."""

    name = models.CharField(max_length=80, primary_key=True)
    period = models.DurationField()
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    passes = models.BigIntegerField(default=0)
    failures = models.BigIntegerField(default=0)
    last_error = models.TextField(blank=True, default="")
    seconds = models.FloatField(default=0, help_text="How long the last complete pass took.")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
