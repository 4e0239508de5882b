from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from claims.models.catalogue import Offering
from console.common.ids import new_id
from console.organizations.models import Organization


class RequestState(models.TextChoices):
    """PENDING leads to each of the others, which are final."""

    PENDING = "PENDING", "Pending"
    APPROVED = "APPROVED", "Approved"
    PARTLY = "PARTLY", "Approved in part"
    REFUSED = "REFUSED", "Refused"
    WITHDRAWN = "WITHDRAWN", "Withdrawn"


class QuotaRequest(models.Model):
    """An organization asks for a higher limit of a quota; the platform's staff decide."""

    id = models.UUIDField(primary_key=True, default=new_id)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="quota_requests")
    offering = models.ForeignKey(Offering, on_delete=models.PROTECT, related_name="quota_requests")
    wanted = models.PositiveIntegerField(help_text="The limit asked for, in instances.")
    limit_before = models.PositiveIntegerField(help_text="The limit when it was asked.")
    reason = models.TextField()
    state = models.CharField(max_length=10, choices=RequestState.choices, default=RequestState.PENDING)
    granted = models.PositiveIntegerField(null=True, help_text="The limit that was given.")
    comment = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.CharField(max_length=150)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "offering"], condition=Q(state=RequestState.PENDING), name="quota_request_once"
            ),
            models.CheckConstraint(name="quota_request_state", condition=Q(state__in=RequestState.values)),
            models.CheckConstraint(name="quota_request_wanted", condition=Q(wanted__gt=0)),
            models.CheckConstraint(
                name="quota_request_decided",
                condition=Q(state=RequestState.PENDING, decided_at=None)
                | (~Q(state=RequestState.PENDING) & Q(decided_at__isnull=False)),
            ),
        ]
        indexes = [models.Index(fields=["state", "created_at"], name="quota_request_by_state")]

    def __str__(self) -> str:
        return f"{self.organization}: {self.offering} to {self.wanted}"


class QuotaLevel(models.Model):
    """How much of a quota was used when it was last looked at: 0, or the notice's percentage that it had reached.
    `crossings` counts upwards, so that each crossing is told once and the next one again."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="quota_levels")
    offering = models.ForeignKey(Offering, on_delete=models.CASCADE, related_name="quota_levels")
    percent = models.PositiveSmallIntegerField(default=0)
    crossings = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "offering"], name="quota_level_once")]

    def __str__(self) -> str:
        return f"{self.organization}: {self.offering} {self.percent} %"
