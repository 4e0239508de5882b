import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from claims.models.catalogue import Offering
from console.organizations.models import Organization


class Quota(models.Model):
    """How many instances of an offering an organization may hold by CUSTOMER claims. No row means limit 0 (C3)."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="quotas")
    offering = models.ForeignKey(Offering, on_delete=models.PROTECT, related_name="quotas")
    limit = models.PositiveIntegerField()
    reserved = models.PositiveIntegerField(default=0, help_text="Instances billed at the reserved rate.")
    other_usage = models.PositiveIntegerField(default=0, help_text="Instances used by other workloads.")
    committed_bound = models.PositiveBigIntegerField(
        null=True,
        editable=False,
        help_text="Claims commit no more than that (C3): raised by what grows, counted anew when that seems too much.",
    )

    class Meta:
        ordering = ["organization", "offering"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "offering"], name="quota_once"),
            models.CheckConstraint(
                name="quota_not_negative",
                condition=models.Q(limit__gte=0) & models.Q(reserved__gte=0) & models.Q(other_usage__gte=0),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.organization}: {self.offering}"


class QuotaChange(models.Model):
    """What a quota was from `at` on: money depends on what was true when (B2, B5)."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="quota_changes")
    offering = models.ForeignKey(Offering, on_delete=models.PROTECT, related_name="quota_changes")
    limit = models.PositiveIntegerField()
    reserved = models.PositiveIntegerField()
    other_usage = models.PositiveIntegerField()
    at = models.DateTimeField(db_default=Now())
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT)

    class Meta:
        ordering = ["at", "id"]
        indexes = [models.Index(fields=["organization", "offering", "at"], name="quota_change_by_time")]
        triggers = [pgtrigger.Protect(name="quota_history", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"{self.organization}: {self.offering} limit {self.limit} from {self.at}"
