from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('deployments', '0013_backtests'),
    ]

    operations = [
        migrations.AddField(
            model_name='autoscalingpolicy',
            name='look_ahead',
            field=models.BooleanField(db_default=True, default=True, help_text='Keep replicas for what is expected by the time that another is ready.'),
        ),
    ]
