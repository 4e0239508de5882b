from django.db import models
from django.db.models import F, Q

from claims.models.recurring import RecurringWindow
from deployments.models.deployment import Deployment


class ScheduleWindow(RecurringWindow):
    """When a deployment has another min or max, again and again."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="schedules")
    min = models.PositiveIntegerField(null=True, blank=True, help_text="Replicas; empty: as otherwise.")
    max = models.PositiveIntegerField(null=True, blank=True, help_text="Replicas; empty: as otherwise.")
    opened_for = models.DateTimeField(
        null=True, help_text="Beginning of the occurrence that replicas were last started for ahead of time."
    )

    class Meta:
        ordering = ["deployment", "at", "key"]
        constraints = [
            models.CheckConstraint(name="schedule_bounds", condition=Q(min__isnull=True) | Q(min__gte=1)),
            models.CheckConstraint(
                name="schedule_order",
                condition=(Q(min__isnull=False) | Q(max__isnull=False))
                & (Q(min__isnull=True) | Q(max__isnull=True) | Q(max__gte=F("min")))
                & (Q(max__isnull=True) | Q(max__gte=1)),
            ),
            models.CheckConstraint(name="schedule_ends", condition=Q(until__isnull=True) | Q(until__gte=F("first"))),
        ]

    def __str__(self) -> str:
        return f"{self.min or '-'} to {self.max or '-'}, {super().__str__()}"
