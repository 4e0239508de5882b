from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from console.common.ids import new_id
from console.organizations.models.membership import Role
from console.organizations.models.organization import Organization


class ApiToken(models.Model):
    """A bearer token. Only its prefix and SHA-256 are kept: the secret is shown once and cannot be read back."""

    id = models.UUIDField(primary_key=True, default=new_id)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100)
    comment = models.CharField(max_length=500, blank=True, db_default="", default="", help_text="What it is for.")
    role = models.CharField(max_length=10, choices=Role.choices)
    prefix = models.CharField(max_length=12)
    sha256 = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.CheckConstraint(name="token_role", condition=models.Q(role__in=Role.values))]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
