"""The Celery application: three queues, and a beat whose entries only wake the loops up (DESIGN W4)."""

import os
from typing import Any

from celery import Celery
from celery.signals import task_prerun
from django.db import close_old_connections

from console import broker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")

broker.outlive()
app = Celery("headroom")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Tasks a database connection serves before it is closed. Celery's Django glue reads it from the app's own
# configuration under this very name, not from the namespaced settings.
app.conf["CELERY_DB_REUSE_MAX"] = 500
app.autodiscover_tasks()


@task_prerun.connect
def check_connections(**kwargs: Any) -> None:
    """Let go of a connection that a restart of PostgreSQL ended: Celery's glue would keep it for 500 tasks more."""
    close_old_connections()
