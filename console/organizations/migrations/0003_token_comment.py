"""What a token is for, in words."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("organizations", "0002_stored_answers")]

    operations = [
        migrations.AddField(
            "apitoken",
            "comment",
            models.CharField(blank=True, db_default="", default="", help_text="What it is for.", max_length=500),
        ),
    ]
