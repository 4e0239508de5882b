from django.db import migrations


class Migration(migrations.Migration):
    """Instances count their replicas from now on; those that are placed already are counted once here."""

    dependencies = [
        ("claims", "0003_work_and_withdrawals"),
        ("deployments", "0005_one_replacement"),
    ]

    operations = [
        migrations.RunSQL(
            "UPDATE claims_instance AS i SET replicas = p.n FROM ("
            "SELECT instance_id, count(*) AS n FROM deployments_replicaplacement GROUP BY instance_id) AS p "
            "WHERE p.instance_id = i.key",
            migrations.RunSQL.noop,
        )
    ]
