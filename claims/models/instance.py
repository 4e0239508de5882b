from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from claims.core.states import InstanceState
from claims.models.catalogue import Offering
from claims.models.claim import CapacityClaim
from console.organizations.models import Organization


class Source(models.TextChoices):
    POOL = "POOL"
    CUSTOMER = "CUSTOMER"


class Work(models.TextChoices):
    """What the platform does to a machine. CORDON: it takes nothing new. DRAIN: and what it holds moves away, then it
    stays in the cluster, cordoned. BAD: and it is given back and replaced."""

    CORDON = "CORDON"
    DRAIN = "DRAIN"
    BAD = "BAD"


class Instance(models.Model):
    """One machine. Its holder, state and `gpus_used` change only under the lock of its offering (W1)."""

    key = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=120, unique=True)
    offering = models.ForeignKey(Offering, on_delete=models.PROTECT, related_name="instances")
    source = models.CharField(max_length=10, choices=Source.choices)
    state = models.CharField(max_length=10, choices=[(s.value, s.value) for s in InstanceState],
                             default=InstanceState.REQUESTED.value)  # fmt: skip
    claim = models.ForeignKey(CapacityClaim, null=True, blank=True, on_delete=models.PROTECT, related_name="instances")
    organization = models.ForeignKey(
        Organization, null=True, blank=True, on_delete=models.PROTECT, related_name="instances"
    )
    gpus = models.PositiveIntegerField()
    gpus_used = models.PositiveIntegerField(default=0)
    replicas = models.PositiveIntegerField(default=0, help_text="Replicas with GPUs on it; what a drain moves (C9).")
    kept = models.BooleanField(
        default=False, help_text="Takes no new replica: a claim waits for it (C4), or its offering is withdrawn (C13)."
    )
    work = models.CharField(max_length=10, choices=Work.choices, blank=True, default="")
    work_reason = models.CharField(max_length=200, blank=True, default="")
    work_at = models.DateTimeField(null=True)

    created_at = models.DateTimeField(db_default=Now())
    claimed_at = models.DateTimeField(null=True, help_text="When the present claim got it, ready or not.")
    joining_at = models.DateTimeField(null=True)
    ready_at = models.DateTimeField(null=True)
    drain_until = models.DateTimeField(null=True)
    lost_at = models.DateTimeField(null=True, help_text="When it was seen to have vanished; billing ends then.")
    relieved_at = models.DateTimeField(
        null=True,
        help_text="Drained by the platform: when another one took its place in the claim; billing ended then.",
    )
    released_at = models.DateTimeField(null=True)
    expected_at = models.DateTimeField(null=True, help_text="When the backend expects it to be ready.")
    backend = models.CharField(
        max_length=200, blank=True, default="", help_text="Who was asked for it, as the setting NODE_BACKEND names it."
    )

    # The work on it, claimed by lease (W4): a worker that dies lets the lease run out.
    leased_until = models.DateTimeField(null=True)
    next_attempt_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True, default="")
    join_failures = models.PositiveIntegerField(
        default=0, help_text="Machines before it in its place that did not join."
    )

    class Meta:
        ordering = ["key"]
        indexes = [
            models.Index(fields=["offering", "state"], name="instance_by_state"),
            models.Index(
                fields=["offering", "-ready_at"], name="instance_joined", condition=Q(ready_at__gt=F("joining_at"))
            ),
            models.Index(
                fields=["next_attempt_at"],
                name="instance_unsettled",
                condition=Q(state__in=["REQUESTED", "JOINING", "FAILED", "RELEASING"]),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="instance_gpus_used",
                condition=Q(gpus__gt=0) & Q(gpus_used__gte=0) & Q(gpus_used__lte=F("gpus")),
            ),
            models.CheckConstraint(
                name="instance_state", condition=Q(state__in=[state.value for state in InstanceState])
            ),
            models.CheckConstraint(name="instance_source", condition=Q(source__in=Source.values)),
            models.CheckConstraint(name="instance_work", condition=Q(work__in=["", *Work.values])),
            # R17: somebody who uses or claims it holds it, and nobody else does.
            models.CheckConstraint(
                name="instance_holder",
                condition=Q(organization__isnull=False) & (Q(claim__isnull=False) | Q(gpus_used__gt=0))
                | Q(organization__isnull=True, claim__isnull=True, gpus_used=0),
            ),
            models.CheckConstraint(
                name="instance_released_holds_nothing",
                condition=~Q(state=InstanceState.RELEASED.value) | Q(organization__isnull=True),
            ),
            models.CheckConstraint(
                name="instance_used_only_in_cluster",
                condition=Q(gpus_used=0) | Q(state__in=[InstanceState.READY.value, InstanceState.DRAINING.value]),
            ),
        ]

    def __str__(self) -> str:
        return self.name
