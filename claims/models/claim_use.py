from django.db import models

from claims.models.claim import CapacityClaim


class ClaimUse(models.Model):
    """How much of a claim was in use in an hour, looked at about once a minute. GPUs are sums over the looks, so that a
    look at more machines counts more; used / held is the share in use."""

    claim = models.ForeignKey(CapacityClaim, on_delete=models.CASCADE, related_name="use")
    hour = models.DateTimeField(help_text="Its beginning, UTC.")
    looks = models.PositiveIntegerField()
    gpus_used = models.PositiveBigIntegerField(help_text="GPUs that replicas held, summed over the looks.")
    gpus_held = models.PositiveBigIntegerField(help_text="GPUs of its ready instances, summed over the looks.")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["claim", "hour"], name="claim_use_once"),
            models.CheckConstraint(
                name="claim_use_within", condition=models.Q(looks__gt=0, gpus_used__lte=models.F("gpus_held"))
            ),
        ]
        indexes = [models.Index(fields=["hour"], name="claim_use_by_hour")]

    def __str__(self) -> str:
        return f"{self.gpus_used} of {self.gpus_held} in {self.looks} looks from {self.hour}"
