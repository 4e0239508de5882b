from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from claims.models.claim import CapacityClaim
from console.common.ids import new_id
from console.organizations.models import ApiToken, User


class ClaimWindow(models.Model):
    """When a claim is to have `count` instances at least, again and again (C12); `claims.core.windows` says when that is."""

    key = models.BigAutoField(primary_key=True)
    id = models.UUIDField(unique=True, default=new_id)
    claim = models.ForeignKey(CapacityClaim, on_delete=models.CASCADE, related_name="windows")
    first = models.DateField(help_text="The recurrence counts from this day, which is the zone's.")
    at = models.TimeField(help_text="Wall time of the zone at which it begins.")
    duration = models.DurationField()
    recurrence = models.CharField(max_length=200, help_text="As FREQ=WEEKLY;BYDAY=MO,TU.")
    time_zone = models.CharField(max_length=64, help_text="Name in the IANA database.")
    count = models.PositiveBigIntegerField(help_text="Instances.")
    until = models.DateField(null=True, blank=True, help_text="The last day on which it may begin; empty: for good.")
    opened_for = models.DateTimeField(
        null=True, help_text="Beginning of the occurrence that it last opened for, which may be ahead."
    )
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    created_by_user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_token = models.ForeignKey(ApiToken, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ["claim", "at", "key"]
        constraints = [
            models.CheckConstraint(name="claim_window_count", condition=Q(count__gte=1)),
            models.CheckConstraint(
                name="claim_window_ends", condition=Q(until__isnull=True) | Q(until__gte=models.F("first"))
            ),
        ]

    def __str__(self) -> str:
        return f"{self.count} instances, {self.first} {self.at:%H:%M} {self.time_zone}, {self.recurrence}"
