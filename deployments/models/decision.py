from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Func, Q, SmallIntegerField, TextField, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce

from claims.models import InstanceType
from console.organizations.models import Organization
from deployments.models.deployment import Deployment

CODES = ("signal", "need", "damped", "wanted", "granted")
AHEAD_OFF = 300  # rows from before the look-ahead have no code of it


def _number(name: str) -> Cast:
    return Cast(KT(f"record__{name}"), SmallIntegerField())


class Decision(models.Model):
    """A change of the autoscaler's answer, with every number it used: stages 1 to 5 run again from the row alone."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="decisions")
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+", db_index=False,
                                     help_text="Of the deployment, so that a search needs nothing else.")  # fmt: skip
    at = models.DateTimeField()
    current = models.IntegerField(help_text="Replicas that count, when it was made.")
    wanted = models.IntegerField()
    granted = models.IntegerField()
    bound = models.CharField(max_length=20, help_text="The limit that held the answer, or NONE.")
    record = models.JSONField(help_text="Inputs, stage numbers and reason codes.")
    made_afterwards = models.BooleanField(db_default=False, default=False,
                                          help_text="Made by the simulator for a time before the deployment.")  # fmt: skip

    # Of the record, for the search; the database makes them.
    codes = models.GeneratedField(
        expression=Func(*[_number(f"{one}_code") for one in CODES],
                        Coalesce(_number("ahead_code"), Value(AHEAD_OFF), output_field=SmallIntegerField()),
                        template="ARRAY[%(expressions)s]"),
        output_field=ArrayField(SmallIntegerField()), db_persist=True,
    )  # fmt: skip
    short_class = models.GeneratedField(
        expression=Coalesce(_number("granted_capacity_class"), Value(0), output_field=SmallIntegerField()),
        output_field=SmallIntegerField(), db_persist=True,
    )  # fmt: skip
    short_zone = models.GeneratedField(
        expression=Coalesce(KT("record__zone"), Value(""), output_field=TextField()),
        output_field=TextField(),
        db_persist=True,
    )

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["deployment", "-id"], name="decision_by_deployment"),
            models.Index(fields=["at"], name="decision_by_time"),
            models.Index(fields=["deployment", "-at", "-id"], name="decision_of_one_by_time"),
            models.Index(fields=["organization", "-at", "-id"], name="decision_of_all_by_time"),
            models.Index(fields=["organization", "bound", "-at", "-id"], name="decision_by_bound"),
            models.Index(fields=["organization", "short_zone", "-at", "-id"], name="decision_by_zone",
                         condition=~Q(short_zone="")),
            GinIndex(fields=["codes"], name="decision_by_reason"),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.deployment_id}: {self.wanted} wanted, {self.granted} granted at {self.at}"


class PlannerState(models.Model):
    """What the planner of a shard remembers between ticks, packed."""

    instance_type = models.OneToOneField(InstanceType, primary_key=True, on_delete=models.CASCADE)
    at = models.DateTimeField()
    payload = models.BinaryField()

    def __str__(self) -> str:
        return f"planner state of {self.instance_type_id} at {self.at}"
