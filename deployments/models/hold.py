from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from console.common.ids import new_id
from console.organizations.models import Organization, User
from deployments.models.deployment import Deployment


class HoldKind(models.TextChoices):
    """FREEZE: the size stays as it is. PIN: the size is this, within min and max (R19)."""

    FREEZE = "FREEZE"
    PIN = "PIN"


class Hold(models.Model):
    """An operator stopped scaling of one deployment, of an organization, or (neither named) of the fleet (R19).

    In force from `created_at` until it is ended or expires; the row stays as history.
    """

    id = models.UUIDField(primary_key=True, default=new_id)
    organization = models.ForeignKey(
        Organization, null=True, blank=True, on_delete=models.CASCADE, related_name="holds"
    )
    deployment = models.ForeignKey(Deployment, null=True, blank=True, on_delete=models.CASCADE, related_name="holds")
    kind = models.CharField(max_length=10, choices=HoldKind.choices)
    size = models.PositiveIntegerField(null=True, blank=True, help_text="Replicas, of a pin.")
    reason = models.CharField(max_length=200)
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: until somebody ends it.")
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering = ["-created_at", "id"]
        indexes = [models.Index(fields=["deployment"], name="hold_in_force", condition=Q(ended_at__isnull=True))]
        constraints = [
            models.CheckConstraint(name="hold_kind", condition=Q(kind__in=HoldKind.values)),
            models.CheckConstraint(
                name="hold_pin_has_size",
                condition=Q(kind=HoldKind.FREEZE.value, size__isnull=True)
                | Q(kind=HoldKind.PIN.value, size__isnull=False, deployment__isnull=False),
            ),
            models.CheckConstraint(
                name="hold_of_a_deployment_names_its_organization",
                condition=Q(deployment__isnull=True) | Q(organization__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.deployment or self.organization or 'the fleet'}: {self.reason}"


class Annotation(models.Model):
    """A note on the charts of a deployment, such as "1.4 out"."""

    id = models.UUIDField(primary_key=True, default=new_id)
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="annotations")
    at = models.DateTimeField()
    text = models.CharField(max_length=200)
    user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ["-at"]
        indexes = [models.Index(fields=["deployment", "at"], name="annotation_by_time")]

    def __str__(self) -> str:
        return self.text
