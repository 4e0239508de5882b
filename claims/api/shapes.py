"""Shapes of what is answered about capacity and cost."""

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from claims.api.serializers import ClaimSerializer
from claims.models import PriceKind, StatementStatus, UsageKind
from console.organizations.api.labels import LabelsField
from console.organizations.api.schema import Page, Shape

MONEY = r"^-?[0-9]+(\.[0-9]+)?$"


@extend_schema_field({"type": "string", "pattern": MONEY})
class DecimalText(serializers.CharField):
    """A decimal as text, so that nothing rounds it."""


class OwnClaimShape(ClaimSerializer):
    """A claim as Headroom's own API has it: with its labels and all conditions."""

    labels = LabelsField()


class OneOwnClaim(Shape):
    capacityClaim = OwnClaimShape()


class QuotaShape(Shape):
    zone = serializers.CharField()
    instanceId = serializers.CharField()
    limit = serializers.IntegerField()
    reserved = serializers.IntegerField(help_text="Of the limit, what is kept for the organization.")
    otherUsage = serializers.IntegerField(help_text="Used outside of claims.")
    committed = serializers.IntegerField(help_text="Promised to claims.")
    free = serializers.IntegerField()
    unusedReserved = serializers.IntegerField(
        help_text="Of `reserved`, now: minus other use, minus instances of CUSTOMER claims that are paid for (ready until "
        "they are released); never charged."
    )


class QuotaPage(Page):
    items = QuotaShape(many=True)


class PoolShape(Shape):
    instances = serializers.IntegerField()
    free = serializers.IntegerField()
    claimed = serializers.IntegerField()
    onDemand = serializers.IntegerField()


class CapacityShape(Shape):
    zone = serializers.CharField()
    instanceId = serializers.CharField()
    gpusPerInstance = serializers.IntegerField()
    pool = PoolShape()
    pendingClaims = serializers.IntegerField(help_text="Instances that claims wait for.")
    gpusFree = serializers.IntegerField()


class CapacityPage(Page):
    items = CapacityShape(many=True)


class UsageItemShape(Shape):
    """What it is summed by has its member; `name` is that of a claim or a deployment."""

    claim = serializers.UUIDField(
        required=False, allow_null=True, help_text="Null: replicas on demand, which are in no claim."
    )
    deployment = serializers.UUIDField(required=False, allow_null=True, help_text="Null: claims, whoever runs on them.")
    instanceType = serializers.CharField(required=False)
    zone = serializers.CharField(required=False)
    day = serializers.DateField(required=False)
    label = serializers.CharField(  # type: ignore[assignment]  # no shape has a label of its own
        required=False, allow_null=True, help_text="Null: what has no such label."
    )
    name = serializers.CharField(required=False)
    gpuHours = DecimalText()
    cost = DecimalText()
    rate = serializers.ChoiceField(PriceKind.values)


class UsageShape(Shape):
    currency = serializers.ChoiceField(["USD"])
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    total = DecimalText(help_text="Of everything: the sum of the items.")
    items = UsageItemShape(many=True)


class ThresholdShape(Shape):
    percent = serializers.IntegerField()
    crossed = serializers.BooleanField()


class BudgetShape(Shape):
    amount = DecimalText(help_text="USD a calendar month.")
    currency = serializers.ChoiceField(["USD"])
    month = serializers.CharField()
    spent = DecimalText(allow_null=True, help_text="Null: something used has no price.")
    forecast = DecimalText(allow_null=True)
    thresholds = ThresholdShape(many=True)
    forecastExceeds = serializers.BooleanField()


class BudgetPage(Page):
    items = BudgetShape(many=True)


@extend_schema_field({"anyOf": [{"type": "string", "pattern": MONEY, "maxLength": 40}, {"type": "number"}]})
class AmountField(serializers.Field[str, str, str, str]):
    """An amount of money; as text nothing rounds it."""


class BudgetRequest(Shape):
    amount = AmountField(help_text="USD a calendar month, more than 0.")


class SummaryShape(Shape):
    id = serializers.UUIDField(allow_null=True, help_text="Null while it is open.")
    month = serializers.CharField(help_text="2026-11")
    status = serializers.ChoiceField(StatementStatus.values)
    closesAt = serializers.DateTimeField()
    closedAt = serializers.DateTimeField(allow_null=True)
    currency = serializers.ChoiceField(["USD"])
    total = DecimalText()


class StatementPage(Page):
    items = SummaryShape(many=True)


class LineShape(Shape):
    kind = serializers.ChoiceField(UsageKind.values)
    id = serializers.UUIDField(help_text="Of the claim or the deployment.")
    name = serializers.CharField()
    zone = serializers.CharField()
    instanceId = serializers.CharField()
    description = serializers.CharField()
    rate = serializers.ChoiceField(PriceKind.values)
    usdPerGpuHour = DecimalText()
    gpuHours = DecimalText()
    amount = DecimalText()
    correctionOf = serializers.CharField(allow_null=True, help_text="The month that it corrects.")


class StatementShape(SummaryShape):
    lines = LineShape(many=True)
