from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q

from console.organizations.models import Organization


class Budget(models.Model):
    """What an organization means to spend in a calendar month at most, USD. It limits nothing: it gives notice."""

    organization = models.OneToOneField(Organization, primary_key=True, on_delete=models.CASCADE, related_name="budget")
    amount = models.DecimalField(max_digits=14, decimal_places=2, validators=[MinValueValidator(0)])
    changed_at = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(name="budget_positive", condition=Q(amount__gt=0))]

    def __str__(self) -> str:
        return f"{self.organization}: {self.amount} USD a month"
