"""The console: settings, sign-in, dashboards and the one-command stack."""

from console.celery import app as celery_app

__all__ = ["celery_app"]
