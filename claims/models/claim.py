import pgtrigger
from django.db import models
from django.db.models.functions import Now

from claims.core.states import CLAIM_TRANSITIONS, Status
from claims.models.catalogue import Offering
from console.common.ids import new_id
from console.organizations.models import ApiToken, Organization, User

CLAIM_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


class ClaimKind(models.TextChoices):
    """SERVERLESS takes instances of the managed pool; CUSTOMER joins machines against quota (C1)."""

    SERVERLESS = "SERVERLESS"
    CUSTOMER = "CUSTOMER"


class CapacityClaim(models.Model):
    """N instances of one offering set aside for one organization. What was sent is kept beside what it means."""

    key = models.BigAutoField(primary_key=True)
    id = models.UUIDField(unique=True, default=new_id)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="claims")
    offering = models.ForeignKey(Offering, on_delete=models.PROTECT, related_name="claims")
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=10, choices=ClaimKind.choices)
    target = models.PositiveBigIntegerField(help_text="`spec.resources.instanceCount`.")
    reduction_at = models.DateTimeField(null=True, help_text="A smaller target takes effect then (C7).")
    reduced_at = models.DateTimeField(null=True, help_text="When a reduction last took effect (C7).")
    # Of its windows (C12), as the loops and the quota read them; claims.windows.turn writes them.
    window_count = models.PositiveBigIntegerField(default=0, help_text="Instances of the open window; 0: none is open.")
    window_until = models.DateTimeField(null=True, help_text="When the open window ends.")
    window_peak = models.PositiveBigIntegerField(default=0, help_text="The largest of its windows that still recur.")

    # Echoed exactly as sent (API.md, rule 2).
    sent_capacity_type = models.CharField(max_length=40)
    sent_instance_id = models.CharField(max_length=60)
    sent_zone = models.CharField(max_length=40)

    join_failures = models.PositiveIntegerField(default=0, help_text="Machines in a row that did not join (C6).")

    # What the fulfil loop last looked at (`claims.looks`): while it is still that, there is nothing to do.
    looked_at = models.BigIntegerField(null=True, editable=False)

    status = models.CharField(max_length=20, choices=[(s.value, s.value) for s in Status],
                              default=Status.CREATING.value)  # fmt: skip
    conditions = models.JSONField(default=list)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    created_by_user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by_token = models.ForeignKey(ApiToken, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ["created_at", "key"]
        indexes = [
            models.Index(fields=["organization", "updated_at"], name="claim_by_update"),
            models.Index(fields=["offering", "created_at", "key"], name="claim_in_order"),
            models.Index(fields=["organization", "name"], name="claim_by_name"),
        ]
        constraints = [
            models.CheckConstraint(name="claim_target", condition=models.Q(target__gte=1)),
            models.CheckConstraint(name="claim_name_form", condition=models.Q(name__regex=CLAIM_NAME)),
            models.CheckConstraint(name="claim_kind", condition=models.Q(kind__in=ClaimKind.values)),
            models.CheckConstraint(
                name="claim_status", condition=models.Q(status__in=[status.value for status in Status])
            ),
        ]
        triggers = [
            pgtrigger.FSM(
                name="claim_life",
                field="status",
                condition=pgtrigger.Q(old__status__df=pgtrigger.F("new__status")),
                transitions=[
                    (old.value, new.value)
                    for old, several in CLAIM_TRANSITIONS.items()
                    for new in Status
                    if new in several
                ],
            ),
            pgtrigger.Protect(
                name="claim_begins_as_creating",
                operation=pgtrigger.Insert,
                condition=pgtrigger.Q(new__status__df=Status.CREATING.value),
            ),
            pgtrigger.Protect(
                name="claim_goes_from_deleting",
                operation=pgtrigger.Delete,
                condition=pgtrigger.Q(old__status__df=Status.DELETING.value),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def wanted(self) -> int:
        """Instances that it is to have now, but for a reduction that waits: its target or the open window (C12)."""
        return max(self.target, self.window_count)

    @property
    def promised(self) -> int:
        """The most that it may come to want; a CUSTOMER claim commits so much of the quota for good (C12)."""
        return max(self.target, self.window_peak)
