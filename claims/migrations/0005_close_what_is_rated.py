from django.db import migrations


class Migration(migrations.Migration):
    """The books are closed up to where they were rated."""

    dependencies = [("claims", "0004_one_tenure_and_closed_books")]

    operations = [
        migrations.RunSQL(
            "UPDATE claims_metercursor SET closed_until = rated_until WHERE closed_until IS NULL",
            migrations.RunSQL.noop,
        )
    ]
