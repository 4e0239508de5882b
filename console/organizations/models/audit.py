import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from console.organizations.models.organization import Organization


class AuditEvent(models.Model):
    """Who changed what, from what to what. Written in the transaction of the change itself; never altered."""

    organization = models.ForeignKey(Organization, null=True, on_delete=models.PROTECT, related_name="audit_events")
    at = models.DateTimeField(db_default=Now())
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT)
    actor = models.CharField(max_length=150, help_text="Sign-in name, `token NAME`, or the loop that acted.")
    action = models.CharField(max_length=60, help_text="`noun.verb`, for instance claim.create.")
    object_type = models.CharField(max_length=40)
    object_id = models.CharField(max_length=64)
    object_name = models.CharField(max_length=150, blank=True, default="")
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    request_id = models.CharField(max_length=100, blank=True, default="")

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["organization", "-id"], name="audit_by_organization"),
            models.Index(fields=["object_type", "object_id", "-id"], name="audit_by_object"),
        ]
        triggers = [
            pgtrigger.Protect(name="audit_append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.actor} {self.action} {self.object_name}"
