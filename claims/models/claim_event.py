import pgtrigger
from django.db import models

from console.organizations.models import Organization


class ClaimEvent(models.Model):
    """A change of a claim's status or of one of its conditions. What somebody asked for is in the audit trail and what the
    claim held in the ledger: with them this is its history. The claim is named by value: it goes, its history stays."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    claim_id = models.UUIDField()
    claim_name = models.CharField(max_length=100)
    at = models.DateTimeField()
    actor = models.CharField(max_length=150, help_text="Who did what led to it, or the loop that found it.")
    what = models.CharField(max_length=40, help_text="`Status`, or the type of a condition.")
    before = models.CharField(max_length=40, blank=True, default="")
    after = models.CharField(max_length=40)
    reason = models.CharField(max_length=60)
    message = models.TextField()

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["claim_id", "-at", "-id"], name="claim_event_by_claim"),
                   models.Index(fields=["organization", "-at", "-id"], name="claim_event_by_org")]  # fmt: skip
        triggers = [pgtrigger.Protect(name="claim_event_append_only", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"{self.claim_name}: {self.what} {self.after} at {self.at}"
