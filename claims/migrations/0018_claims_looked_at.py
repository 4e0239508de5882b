from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("claims", "0017_bound_of_commitments")]

    operations = [
        migrations.AddField(
            model_name="capacityclaim", name="looked_at", field=models.BigIntegerField(editable=False, null=True)
        )
    ]
