from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from console.common.ids import new_id
from console.organizations.models import Organization
from deployments.models.deployment import Deployment


class HistoryState(models.TextChoices):
    """QUEUED and WORKING are under way; the others are final."""

    QUEUED = "QUEUED"
    WORKING = "WORKING"
    DONE = "DONE"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


UNDER_WAY = (HistoryState.QUEUED, HistoryState.WORKING)


class HistoryRun(models.Model):
    """History made afterwards, by the planner and the simulator, for deployments that did not exist yet.

    Newest hour first: what lies in [made_from, ends_at) is made. `world` is what is simulated, as it was when the
    history was asked for; so a run that goes on after a restart makes what it would have made.
    """

    id = models.UUIDField(primary_key=True, default=new_id)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="history_runs",
                                     help_text="Who asked for it; its admins may cancel it.")  # fmt: skip
    deployments = models.ManyToManyField(Deployment, related_name="history_runs")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    made_from = models.DateTimeField()
    world = models.JSONField()
    first_decision = models.BigIntegerField(help_text="The ids that are kept for its decisions begin here.")
    state = models.CharField(max_length=10, choices=HistoryState.choices, default=HistoryState.QUEUED)
    progress = models.FloatField(default=0, help_text="Share of the whole, from 0 to 1.")

    # The work on it, claimed by lease (W4).
    lease = models.UUIDField(null=True)
    leased_until = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0, help_text="Times it was taken up since an hour was last made.")
    last_error = models.TextField(blank=True, default="")

    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering = ["created_at", "id"]
        indexes = [models.Index(fields=["created_at"], name="history_run_due", condition=Q(state__in=UNDER_WAY))]
        constraints = [
            models.CheckConstraint(name="history_run_state", condition=Q(state__in=HistoryState.values)),
            models.CheckConstraint(
                name="history_run_times",
                condition=Q(starts_at__lt=F("ends_at"), made_from__gte=F("starts_at"), made_from__lte=F("ends_at")),
            ),
        ]

    def __str__(self) -> str:
        return f"history from {self.starts_at} to {self.ends_at}: {self.state}"
