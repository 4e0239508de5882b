from django.db import models
from django.db.models.functions import Now

from console.organizations.models.organization import Organization


class IdempotencyKey(models.Model):
    """An `Idempotency-Key` that was used: inserted in the creation's own transaction, so that a repeat meets it."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE)
    key = models.CharField(max_length=200)
    request_sha256 = models.CharField(max_length=64)
    resource_type = models.CharField(max_length=40)
    resource_id = models.UUIDField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "key"], name="idempotency_key_once")]
        indexes = [models.Index(fields=["created_at"], name="idempotency_by_age")]

    def __str__(self) -> str:
        return self.key
