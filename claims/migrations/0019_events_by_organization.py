from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("claims", "0018_claims_looked_at")]

    operations = [
        migrations.AddIndex(
            model_name="claimevent",
            index=models.Index(fields=["organization", "-at", "-id"], name="claim_event_by_org"),
        )
    ]
