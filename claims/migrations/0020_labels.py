import django.db.models.deletion
from django.db import migrations, models

TEXT = (
    "jsonb_typeof(%(expressions)s) = 'object'"
    " AND NOT jsonb_path_exists(%(expressions)s, '$.* ? (@.type() != \"string\")')"
)
FEW = "jsonb_array_length(jsonb_path_query_array(%(expressions)s, '$.keyvalue()', '{}', true)) <= 32"


class Migration(migrations.Migration):
    dependencies = [("claims", "0019_events_by_organization"), ("organizations", "0003_token_comment")]

    operations = [
        migrations.CreateModel(
            name="Labels",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(choices=[("CLAIM", "Claim"), ("REPLICA", "Replica")], max_length=10)),
                ("holder_id", models.UUIDField(help_text="Id of the claim, or of the deployment.")),
                ("labels", models.JSONField(default=dict)),
                ("organization", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="organizations.organization")),
            ],
            options={
                "verbose_name_plural": "labels",
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "kind", "holder_id"), name="labels_once"),
                    models.CheckConstraint(condition=models.Q(("kind__in", ["CLAIM", "REPLICA"])), name="labels_kind"),
                    models.CheckConstraint(
                        condition=models.Func(models.F("labels"), output_field=models.BooleanField(), template=TEXT),
                        name="labels_are_text",
                    ),
                    models.CheckConstraint(
                        condition=models.Func(models.F("labels"), output_field=models.BooleanField(), template=FEW),
                        name="labels_few",
                    ),
                ],
            },
        ),
    ]
