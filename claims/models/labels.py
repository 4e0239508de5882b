from django.db import models
from django.db.models import BooleanField, F, Func

from claims.models.usage import UsageKind
from console.common.labels import MOST_LABELS
from console.organizations.models import Organization


class Labels(models.Model):
    """What people call a claim or a deployment by: its team, its environment. Of one that has no row there are none.

    Like the ledger it names its holder by value: the holder goes, the bill stays, and so does what sorts it.
    """

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=10, choices=UsageKind.choices)
    holder_id = models.UUIDField(help_text="Id of the claim, or of the deployment.")
    labels = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural = "labels"
        constraints = [
            models.UniqueConstraint(fields=["organization", "kind", "holder_id"], name="labels_once"),
            models.CheckConstraint(name="labels_kind", condition=models.Q(kind__in=UsageKind.values)),
            models.CheckConstraint(
                name="labels_are_text",
                condition=Func(
                    F("labels"),
                    template="jsonb_typeof(%(expressions)s) = 'object'"
                    " AND NOT jsonb_path_exists(%(expressions)s, '$.* ? (@.type() != \"string\")')",
                    output_field=BooleanField(),
                ),
            ),
            models.CheckConstraint(
                name="labels_few",
                condition=Func(
                    F("labels"),
                    template="jsonb_array_length(jsonb_path_query_array(%(expressions)s, '$.keyvalue()', '{}', true))"
                    f" <= {MOST_LABELS}",
                    output_field=BooleanField(),
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.holder_id}"
