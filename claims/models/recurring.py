from django.db import models
from django.db.models.functions import Now

from console.common.ids import new_id
from console.organizations.models import ApiToken, User


class RecurringWindow(models.Model):
    """A time that comes again and again; `claims.core.windows` says when that is."""

    key = models.BigAutoField(primary_key=True)
    id = models.UUIDField(unique=True, default=new_id)
    first = models.DateField(help_text="The recurrence counts from this day, which is the zone's.")
    at = models.TimeField(help_text="Wall time of the zone at which it begins.")
    duration = models.DurationField()
    recurrence = models.CharField(max_length=200, help_text="As FREQ=WEEKLY;BYDAY=MO,TU.")
    time_zone = models.CharField(max_length=64, help_text="Name in the IANA database.")
    until = models.DateField(null=True, blank=True, help_text="The last day on which it may begin; empty: for good.")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    created_by_user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_token = models.ForeignKey(ApiToken, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.first} {self.at:%H:%M} {self.time_zone}, {self.recurrence}"
