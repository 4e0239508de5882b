from django.db import models
from django.db.models import Q

from claims.models.claim import CapacityClaim
from claims.models.recurring import RecurringWindow


class ClaimWindow(RecurringWindow):
    """When a claim is to have `count` instances at least, again and again (C12)."""

    claim = models.ForeignKey(CapacityClaim, on_delete=models.CASCADE, related_name="windows")
    count = models.PositiveBigIntegerField(help_text="Instances.")
    opened_for = models.DateTimeField(
        null=True, help_text="Beginning of the occurrence that it last opened for, which may be ahead."
    )

    class Meta:
        ordering = ["claim", "at", "key"]
        constraints = [
            models.CheckConstraint(name="claim_window_count", condition=Q(count__gte=1)),
            models.CheckConstraint(
                name="claim_window_ends", condition=Q(until__isnull=True) | Q(until__gte=models.F("first"))
            ),
        ]

    def __str__(self) -> str:
        return f"{self.count} instances, {super().__str__()}"
