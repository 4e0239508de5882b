from django.db import models
from django.db.models.functions import Now

from console.organizations.models.organization import Organization


class IdempotencyKey(models.Model):
    """An `Idempotency-Key` that was used, with what was answered. A key is its caller's alone: another token of the same
    organization may use the same one, and never reads this answer."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE)
    caller = models.CharField(max_length=80, help_text="`token ID` or `user ID`.")
    key = models.CharField(max_length=200)
    request_sha256 = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(help_text="HTTP status of the answer.")
    body = models.TextField(help_text="The answer's JSON, as it was written, without what is shown once.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "caller", "key"], name="idempotency_key_once")]
        indexes = [models.Index(fields=["created_at"], name="idempotency_by_age")]

    def __str__(self) -> str:
        return self.key
