from typing import Any

from django.db import migrations

ADD = """
    INSERT INTO claims_ratedday
        (organization_id, day, kind, holder_id, holder_name, offering_id, rate, gpu_seconds, usd)
    SELECT s.organization_id, date_trunc('day', s.started_at, 'UTC'), u.kind, u.holder_id, u.holder_name,
           u.offering_id, s.rate, sum(s.gpu_seconds), sum(s.usd)
    FROM claims_ratedslice s JOIN claims_usageinterval u ON u.id = s.interval_id
    GROUP BY 1, 2, 3, 4, 5, 6, 7"""


class Migration(migrations.Migration):
    dependencies = [("claims", "0007_days_added_up")]

    operations: list[Any] = [migrations.RunSQL(ADD, "DELETE FROM claims_ratedday")]
