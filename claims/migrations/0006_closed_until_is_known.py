from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("claims", "0005_close_what_is_rated")]

    operations = [
        migrations.AlterField(
            model_name="metercursor",
            name="closed_until",
            field=models.DateTimeField(),
        )
    ]
