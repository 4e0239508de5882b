from django.db import models
from django.db.models.functions import Now

from console.organizations.models import Organization, User


class Attention(models.Model):
    """A notice of the overview that somebody acknowledged, or snoozed until later. `key` names what it is about."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="attention")
    key = models.CharField(max_length=200)
    user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    at = models.DateTimeField(db_default=Now())
    snoozed_until = models.DateTimeField(null=True, help_text="Empty: acknowledged, until it happens anew.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "key"], name="attention_once")]

    def __str__(self) -> str:
        return self.key
