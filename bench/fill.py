"""`python -m bench.fill`: the large fleet for the installation that the environment names, with its sign-ins."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
django.setup()

from django.conf import settings  # noqa: E402

from bench.fleet import fleet_make  # noqa: E402
from claims import metering  # noqa: E402
from console.common import clock  # noqa: E402
from console.dashboard.demo import people  # noqa: E402

if __name__ == "__main__":
    people(fleet_make(), settings.STATE_DIR)
    metering.meter_pass(clock.now())
