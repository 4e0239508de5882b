"""Tells open pages that something changed: one coalesced NOTIFY a pass, delivered when its transaction commits."""

import json
from collections.abc import Iterable

from django.db import connection

CHANNEL = "headroom"
LONGEST_PAYLOAD = 7900  # PostgreSQL refuses 8000 bytes


def publish(topic: str, organization_keys: Iterable[int]) -> None:
    """Announce a change of `topic` to the organizations. PostgreSQL drops doubles within one transaction."""
    keys = sorted(set(organization_keys))
    if not keys:
        return
    payload = json.dumps({"topic": topic, "organizations": keys})
    if len(payload) > LONGEST_PAYLOAD:
        payload = json.dumps({"topic": topic, "organizations": "all"})
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
