import pgtrigger
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import BigIntegerRangeField, DateTimeRangeField, RangeOperators
from django.db import models
from django.db.models import Case, F, Func, Q, Value, When

from claims.models.catalogue import Offering, PriceKind
from claims.models.claim import ClaimKind
from claims.models.instance import Instance
from console.organizations.models import Organization


class UsageKind(models.TextChoices):
    """CLAIM: an instance held by a claim (B1, B2). REPLICA: a replica on the on-demand pool (B3)."""

    CLAIM = "CLAIM"
    REPLICA = "REPLICA"


class UsageInterval(models.Model):
    """Who held which GPUs from when to when, in whole seconds. Opened and closed once, never changed after (B4).

    Claims, deployments and replicas are named by value, not by reference: they go, the bill stays.
    """

    kind = models.CharField(max_length=10, choices=UsageKind.choices)
    resource_key = models.BigIntegerField(help_text="Key of the instance (CLAIM) or of the replica (REPLICA).")
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="usage")
    offering = models.ForeignKey(Offering, on_delete=models.PROTECT, related_name="usage")
    instance = models.ForeignKey(Instance, on_delete=models.PROTECT, related_name="usage")
    gpus = models.PositiveIntegerField()
    claim_kind = models.CharField(max_length=10, choices=ClaimKind.choices, blank=True, default="")
    holder_id = models.UUIDField(help_text="Id of the claim, or of the deployment.")
    holder_name = models.CharField(max_length=100)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["organization", "started_at"], name="usage_by_organization"),
            models.Index(fields=["organization", "ended_at"], name="usage_by_end"),
            models.Index(fields=["instance", "ended_at"], name="usage_by_instance"),
            models.Index(fields=["kind", "resource_key"], name="usage_open", condition=Q(ended_at__isnull=True)),
            models.Index(fields=["holder_id", "started_at"], name="usage_of_claim", condition=Q(kind="CLAIM")),
        ]
        constraints = [
            models.CheckConstraint(name="usage_order", condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("started_at"))),
            models.CheckConstraint(name="usage_gpus", condition=Q(gpus__gt=0)),
            models.CheckConstraint(name="usage_kind", condition=Q(kind__in=UsageKind.values)),
            ExclusionConstraint(
                # B8: on one instance a claim's tenure stands against everything, a replica against itself alone.
                name="usage_one_tenure",
                expressions=[
                    ("instance", RangeOperators.EQUAL),
                    (
                        Case(
                            When(kind=UsageKind.CLAIM.value, then=Func(Value(None), Value(None), function="int8range")),
                            default=Func(F("resource_key"), F("resource_key"), Value("[]"), function="int8range"),
                            output_field=BigIntegerRangeField(),
                        ),
                        RangeOperators.OVERLAPS,
                    ),
                    (
                        Func("started_at", "ended_at", function="tstzrange", output_field=DateTimeRangeField()),
                        RangeOperators.OVERLAPS,
                    ),
                ],
            ),
        ]  # fmt: skip
        triggers = [
            pgtrigger.Protect(name="usage_never_deleted", operation=pgtrigger.Delete),
            pgtrigger.Trigger(
                name="usage_closes_once",
                operation=pgtrigger.Update,
                when=pgtrigger.Before,
                func="""
                    IF OLD.ended_at IS NOT NULL THEN
                        RAISE EXCEPTION 'usage interval % is closed and cannot change', OLD.id;
                    END IF;
                    IF (to_jsonb(NEW) - 'ended_at') <> (to_jsonb(OLD) - 'ended_at') THEN
                        RAISE EXCEPTION 'usage interval % may only be closed', OLD.id;
                    END IF;
                    RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.resource_key} of {self.holder_name}"


class RatedSlice(models.Model):
    """A slice of an interval with one rate and one price; written by the meter up to its cursor (B5)."""

    interval = models.ForeignKey(UsageInterval, on_delete=models.PROTECT, related_name="slices")
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    rate = models.CharField(max_length=10, choices=PriceKind.choices)
    usd_per_gpu_hour = models.DecimalField(max_digits=14, decimal_places=6)
    gpu_seconds = models.BigIntegerField()
    usd = models.DecimalField(max_digits=24, decimal_places=12)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["organization", "started_at"], name="slice_by_time")]
        constraints = [
            models.UniqueConstraint(fields=["interval", "started_at"], name="slice_once"),
            models.CheckConstraint(name="slice_order", condition=Q(ended_at__gt=F("started_at"))),
        ]
        triggers = [pgtrigger.Protect(name="slice_append_only", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"{self.interval_id} from {self.started_at}"


class RatedDay(models.Model):
    """The slices of a UTC day added up by holder, offering and rate: what pages read instead of them. Written with the
    slices, in one transaction."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    day = models.DateTimeField(help_text="Midnight UTC.")
    kind = models.CharField(max_length=10, choices=UsageKind.choices)
    holder_id = models.UUIDField()
    holder_name = models.CharField(max_length=100)
    offering = models.ForeignKey(Offering, on_delete=models.PROTECT, related_name="+")
    rate = models.CharField(max_length=10, choices=PriceKind.choices)
    gpu_seconds = models.BigIntegerField()
    usd = models.DecimalField(max_digits=24, decimal_places=12)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "day", "kind", "holder_id", "holder_name", "offering", "rate"],
                name="rated_day_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.holder_name} on {self.day:%Y-%m-%d}"


class MeterCursor(models.Model):
    """Up to where an organization's usage has been rated. The row is the meter's lock.

    First the books are closed up to an hour: nothing earlier is entered from then on. Then that hour is rated.
    """

    organization = models.OneToOneField(Organization, primary_key=True, on_delete=models.PROTECT)
    rated_until = models.DateTimeField()
    closed_until = models.DateTimeField()
    problem = models.TextField(blank=True, default="", help_text="What keeps the closed hours from being rated.")

    def __str__(self) -> str:
        return f"{self.organization} until {self.rated_until}"
