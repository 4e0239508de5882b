"""Tells open pages that something changed: one coalesced NOTIFY a pass, delivered when its transaction commits."""

import json
from collections.abc import Iterable, Sequence

from console.common.together import Statement, run_together

CHANNEL = "headroom"
LONGEST_PAYLOAD = 7900  # PostgreSQL refuses 8000 bytes


def publish(topic: str, organization_keys: Iterable[int]) -> None:
    """Announce a change of `topic` to the organizations. PostgreSQL drops doubles within one transaction."""
    keys = sorted(set(organization_keys))
    if keys:
        run_together([announcement(topic, keys)])


def announcement(topic: str, keys: Sequence[int]) -> Statement:
    """What `publish` sends, to be sent together with other statements."""
    payload = json.dumps({"topic": topic, "organizations": keys})
    if len(payload) > LONGEST_PAYLOAD:
        payload = json.dumps({"topic": topic, "organizations": "all"})
    return "SELECT pg_notify(%s, %s)", [CHANNEL, payload]
