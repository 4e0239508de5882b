"""`manage.py load_demo`: the demo organizations, pools, claims and deployments. Safe to repeat."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from console.dashboard.demo import demo_load


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        demo_load(settings.STATE_DIR)
