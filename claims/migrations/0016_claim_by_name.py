from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("claims", "0015_quota_requests")]

    operations = [
        migrations.AddIndex(
            model_name="capacityclaim", index=models.Index(fields=["organization", "name"], name="claim_by_name")
        )
    ]
