import pgtrigger
from django.db import models
from django.db.models import Q

from claims.models.catalogue import Offering, PriceKind
from claims.models.usage import UsageKind
from console.common.ids import new_id
from console.organizations.models import Organization


class StatementStatus(models.TextChoices):
    """OPEN: its month is not closed, or has not ended; its lines are computed when read. CLOSED: fixed for good."""

    OPEN = "OPEN"
    CLOSED = "CLOSED"


class Statement(models.Model):
    """What an organization pays for a calendar month, UTC, in USD (B6).

    `slices_until` is the last slice that it or an earlier one has billed: a slice of its month, or of one before, that
    was rated after that is a correction in the next statement.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="statements")
    month = models.DateField(help_text="The first of the month.")
    status = models.CharField(max_length=10, choices=StatementStatus.choices, default=StatementStatus.OPEN)
    closed_at = models.DateTimeField(null=True)
    total = models.DecimalField(max_digits=16, decimal_places=2, null=True, help_text="Sum of its lines, USD.")
    slices_until = models.BigIntegerField(null=True)

    class Meta:
        ordering = ["-month", "organization"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "month"], name="statement_once"),
            models.CheckConstraint(name="statement_of_a_month", condition=Q(month__day=1)),
            models.CheckConstraint(
                name="statement_closed",
                condition=Q(status=StatementStatus.OPEN, closed_at=None, total=None, slices_until=None)
                | Q(status=StatementStatus.CLOSED, closed_at__isnull=False, total__isnull=False, slices_until__isnull=False),
            ),
        ]  # fmt: skip
        triggers = [
            pgtrigger.Protect(name="statement_never_deleted", operation=pgtrigger.Delete),
            pgtrigger.Protect(
                name="statement_is_fixed", operation=pgtrigger.Update, condition=pgtrigger.Q(old__status="CLOSED")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.organization} {self.month:%Y-%m}"


class StatementLine(models.Model):
    """One holder's use of an offering at one price, rounded half-up to cents here and nowhere before (B6)."""

    statement = models.ForeignKey(Statement, on_delete=models.PROTECT, related_name="lines")
    kind = models.CharField(max_length=10, choices=UsageKind.choices)
    holder_id = models.UUIDField(help_text="Id of the claim, or of the deployment.")
    holder_name = models.CharField(max_length=100)
    offering = models.ForeignKey(Offering, on_delete=models.PROTECT, related_name="+")
    description = models.CharField(max_length=300)
    rate = models.CharField(max_length=10, choices=PriceKind.choices)
    usd_per_gpu_hour = models.DecimalField(max_digits=14, decimal_places=6)
    gpu_seconds = models.BigIntegerField()
    amount = models.DecimalField(max_digits=16, decimal_places=2, help_text="USD, whole cents.")
    correction_of = models.DateField(null=True, help_text="The month that was closed before this was rated.")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                name="statement_line_once",
                fields=["statement", "kind", "holder_id", "holder_name", "offering", "rate", "usd_per_gpu_hour",
                        "correction_of"],
                nulls_distinct=False,
            )
        ]  # fmt: skip
        triggers = [
            pgtrigger.Protect(name="statement_line_is_fixed", operation=pgtrigger.Update | pgtrigger.Delete),
            pgtrigger.Trigger(
                name="statement_line_in_time",
                operation=pgtrigger.Insert,
                when=pgtrigger.Before,
                func="""
                    IF EXISTS (SELECT FROM claims_statement s WHERE s.id = NEW.statement_id AND s.status = 'CLOSED') THEN
                        RAISE EXCEPTION 'statement % is closed and takes no more lines', NEW.statement_id;
                    END IF;
                    RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return self.description
