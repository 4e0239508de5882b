from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("claims", "0016_claim_by_name")]

    operations = [
        migrations.AddField(
            model_name="quota",
            name="committed_bound",
            field=models.PositiveBigIntegerField(
                editable=False,
                help_text="Claims commit no more than that (C3): raised by what grows, counted anew when that seems too much.",
                null=True,
            ),
        )
    ]
