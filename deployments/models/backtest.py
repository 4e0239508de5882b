from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from console.common.ids import new_id
from console.organizations.models import Organization
from deployments.models.deployment import Deployment


class BacktestState(models.TextChoices):
    """QUEUED and RUNNING are under way; the others are final."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


BACKTEST_UNDER_WAY = (BacktestState.QUEUED, BacktestState.RUNNING)


class Backtest(models.Model):
    """What would have been: demand, and the settings that are compared under it, side by side.

    `request` holds all that was resolved when it was asked for (`deployments.backtests.asked`), so that it gives the same
    however often a worker begins anew, and whatever is changed meanwhile.
    """

    id = models.UUIDField(primary_key=True, default=new_id)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="backtests")
    deployment = models.ForeignKey(Deployment, null=True, on_delete=models.SET_NULL, related_name="backtests")
    deployment_name = models.CharField(max_length=63, help_text="As it was; it may be deleted meanwhile.")
    request = models.JSONField()
    trace = models.BinaryField(null=True, help_text="An uploaded trace, compressed.")

    state = models.CharField(max_length=10, choices=BacktestState.choices, default=BacktestState.QUEUED)
    progress = models.FloatField(default=0, help_text="Share of the whole, from 0 to 1.")
    result = models.JSONField(null=True)
    error = models.TextField(blank=True, default="", help_text="Why it failed.")

    # The work on it, claimed by lease (W4).
    lease = models.UUIDField(null=True)
    leased_until = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)

    created_at = models.DateTimeField(db_default=Now())
    created_by = models.CharField(max_length=150)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["created_at"], name="backtest_due", condition=Q(state__in=BACKTEST_UNDER_WAY)),
            models.Index(fields=["organization", "-id"], name="backtest_of"),
        ]
        constraints = [
            models.CheckConstraint(name="backtest_state", condition=Q(state__in=BacktestState.values)),
            models.CheckConstraint(name="backtest_progress", condition=Q(progress__gte=0, progress__lte=1)),
            models.CheckConstraint(
                name="backtest_result", condition=Q(result__isnull=False) | ~Q(state=BacktestState.DONE)
            ),
            models.CheckConstraint(
                name="backtest_times", condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("created_at"))
            ),
        ]

    def __str__(self) -> str:
        return f"backtest of {self.deployment_name}: {self.state}"
