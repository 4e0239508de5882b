from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from console.common.ids import new_id
from console.organizations.models import ApiToken, User
from deployments.models.deployment import Deployment


class ScheduleWindow(models.Model):
    """When a deployment has another min or max, again and again; `claims.core.windows` says when that is."""

    key = models.BigAutoField(primary_key=True)
    id = models.UUIDField(unique=True, default=new_id)
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="schedules")
    first = models.DateField(help_text="The recurrence counts from this day, which is the zone's.")
    at = models.TimeField(help_text="Wall time of the zone at which it begins.")
    duration = models.DurationField()
    recurrence = models.CharField(max_length=200, help_text="As FREQ=WEEKLY;BYDAY=MO,TU.")
    time_zone = models.CharField(max_length=64, help_text="Name in the IANA database.")
    min = models.PositiveIntegerField(null=True, blank=True, help_text="Replicas; empty: as otherwise.")
    max = models.PositiveIntegerField(null=True, blank=True, help_text="Replicas; empty: as otherwise.")
    until = models.DateField(null=True, blank=True, help_text="The last day on which it may begin; empty: for good.")
    opened_for = models.DateTimeField(
        null=True, help_text="Beginning of the occurrence that replicas were last started for ahead of time."
    )
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    created_by_user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_token = models.ForeignKey(ApiToken, null=True, on_delete=models.SET_NULL, related_name="+")

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
        return (
            f"{self.min or '-'} to {self.max or '-'}, {self.first} {self.at:%H:%M} {self.time_zone}, {self.recurrence}"
        )
