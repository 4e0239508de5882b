from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeOperators
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Coalesce

ZONE_NAME = r"^([A-Z]{2}-[A-Z]+-[0-9]+[A-Z]+|RNO2A)$"


class Zone(models.Model):
    """An Availability Zone, catalogued in upper case."""

    key = models.AutoField(primary_key=True)
    name = models.CharField(max_length=40, unique=True, validators=[RegexValidator(ZONE_NAME)])

    class Meta:
        ordering = ["name"]
        constraints = [models.CheckConstraint(name="zone_name_form", condition=models.Q(name__regex=ZONE_NAME))]

    def __str__(self) -> str:
        return self.name


class InstanceType(models.Model):
    """A hardware shape, catalogued in lower case. One type in all its zones is a shard of the scaling loop (W3)."""

    key = models.AutoField(primary_key=True)
    name = models.CharField(max_length=60, unique=True, validators=[RegexValidator(r"^[a-z0-9][a-z0-9.-]*$")])
    gpus = models.PositiveIntegerField(validators=[MinValueValidator(1)], help_text="GPUs of one instance.")
    gpu_model = models.CharField(max_length=60)
    gpu_memory_gib = models.PositiveIntegerField(validators=[MinValueValidator(1)], help_text="Of one GPU.")

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="instance_type_sizes", condition=models.Q(gpus__gt=0) & models.Q(gpu_memory_gib__gt=0)
            )
        ]

    def __str__(self) -> str:
        return self.name


class Offering(models.Model):
    """An instance type in a zone: its managed pool, and the row that every writer to that capacity locks (W1)."""

    key = models.AutoField(primary_key=True)
    zone = models.ForeignKey(Zone, on_delete=models.PROTECT, related_name="offerings")
    instance_type = models.ForeignKey(InstanceType, on_delete=models.PROTECT, related_name="offerings")
    pool_size = models.PositiveIntegerField(default=0, help_text="Instances the platform wants in the managed pool.")
    claimable = models.BooleanField(default=True)
    withdrawn_at = models.DateTimeField(
        null=True, blank=True, help_text="Since then it takes no new claim and its pool is given back as it frees up."
    )
    join_failures = models.PositiveIntegerField(default=0, help_text="Machines of its pool in a row that did not join.")

    class Meta:
        ordering = ["zone__name", "instance_type__name"]
        constraints = [
            models.UniqueConstraint(fields=["zone", "instance_type"], name="offering_once"),
            models.CheckConstraint(name="offering_pool_size", condition=models.Q(pool_size__gte=0)),
        ]

    def __str__(self) -> str:
        return f"{self.instance_type} in {self.zone}"

    @property
    def pool_wanted(self) -> int:
        """Instances that the managed pool is to have: none once the offering is withdrawn (C13)."""
        return 0 if self.withdrawn_at else self.pool_size


class PriceKind(models.TextChoices):
    ON_DEMAND = "ON_DEMAND"
    RESERVED = "RESERVED"


class Price(models.Model):
    """USD for one GPU-hour of a type, in one zone or (zone empty) in all that have no price of their own."""

    instance_type = models.ForeignKey(InstanceType, on_delete=models.PROTECT, related_name="prices")
    zone = models.ForeignKey(Zone, null=True, blank=True, on_delete=models.PROTECT, related_name="prices")
    kind = models.CharField(max_length=10, choices=PriceKind.choices)
    usd_per_gpu_hour = models.DecimalField(max_digits=14, decimal_places=6)
    valid = DateTimeRangeField(help_text="From, until (until empty: still valid).")

    class Meta:
        ordering = ["instance_type", "zone", "kind", "valid"]
        constraints = [
            models.CheckConstraint(name="price_not_negative", condition=models.Q(usd_per_gpu_hour__gte=0)),
            models.CheckConstraint(name="price_kind", condition=models.Q(kind__in=PriceKind.values)),
            ExclusionConstraint(
                name="price_without_overlap",
                expressions=[
                    ("instance_type", RangeOperators.EQUAL),
                    (Coalesce("zone", 0), RangeOperators.EQUAL),
                    ("kind", RangeOperators.EQUAL),
                    ("valid", RangeOperators.OVERLAPS),
                ],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.instance_type} {self.kind} {self.usd_per_gpu_hour}"
