"""The Celery application: three queues, and a beat whose entries only wake the loops up (DESIGN W4)."""

import os

from celery import Celery
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")

app = Celery("headroom")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Read from the app's own configuration, not from the namespaced settings: keeps database connections open.
app.conf["CELERY_DB_REUSE_MAX"] = settings.CELERY_DB_REUSE_MAX
app.autodiscover_tasks()
