from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now

# The vendor's forms of an organization id (PROTO.md).
ORGANIZATION_ID = r"^(cw[a-f0-9]{4}|(s|q)[a-f0-9]{5}|poc[a-f0-9]{3}|[a-f0-9]{6})$"


class Organization(models.Model):
    """A tenant. `key` is what the scaling loop's columns carry, `id` what the API shows, `slug` what people type."""

    key = models.AutoField(primary_key=True)
    id = models.CharField(max_length=6, unique=True, validators=[RegexValidator(ORGANIZATION_ID)])
    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=100)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(name="organization_id_form", condition=models.Q(id__regex=ORGANIZATION_ID))
        ]

    def __str__(self) -> str:
        return self.slug
