"""Keys belong to a caller and keep what was answered. Those from before do not say it, and are let go."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("organizations", "0001_initial")]

    operations = [
        migrations.RunSQL("DELETE FROM organizations_idempotencykey", migrations.RunSQL.noop),
        migrations.RemoveConstraint("idempotencykey", "idempotency_key_once"),
        migrations.RemoveField("idempotencykey", "resource_type"),
        migrations.RemoveField("idempotencykey", "resource_id"),
        migrations.AddField(
            "idempotencykey",
            "caller",
            models.CharField(default="", help_text="`token ID` or `user ID`.", max_length=80),
            preserve_default=False,
        ),
        migrations.AddField(
            "idempotencykey",
            "status",
            models.PositiveSmallIntegerField(default=200, help_text="HTTP status of the answer."),
            preserve_default=False,
        ),
        migrations.AddField(
            "idempotencykey",
            "body",
            models.TextField(
                default="", help_text="The answer's JSON, as it was written, without what is shown once."
            ),
            preserve_default=False,
        ),
        migrations.AddConstraint(
            "idempotencykey",
            models.UniqueConstraint(fields=("organization", "caller", "key"), name="idempotency_key_once"),
        ),
    ]
