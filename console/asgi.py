"""The ASGI application that uvicorn serves."""

import os

from django.core.asgi import get_asgi_application
from django.db import connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")

POOL = {"min_size": 1, "max_size": 12, "timeout": 5, "reconnect_timeout": 5}


def share_connections() -> None:
    """Under ASGI a request runs on any thread: connections come from a pool, and go back to it after each request."""
    entry = connections.settings["default"]
    entry["CONN_MAX_AGE"] = 0
    entry["OPTIONS"]["pool"] = POOL


share_connections()
django = get_asgi_application()

from console.connect.application import beside  # noqa: E402  (it needs the apps that Django has loaded)

application = beside(django)
