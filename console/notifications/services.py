"""Writes about notifications: what happened is noted once, and put on its way to every channel that wants it."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection

from console.common.ids import new_id
from console.common.wake import wake_on_commit
from console.notifications.models import Kind
from console.organizations.models import Organization

TRIED_FOR = timedelta(hours=24)
LONGEST_KEY = LONGEST_SUBJECT = 200
DELIVER = "console.notifications.tasks.deliver"

# One statement, so that whoever comes second with the same key finds it taken and makes no deliveries.
_NOTIFY = """
    WITH told AS (
        INSERT INTO notifications_notification (id, organization_id, kind, key, subject, text, path, data, created_at)
        VALUES (%(id)s, %(organization)s, %(kind)s, %(key)s, %(subject)s, %(text)s, %(path)s, %(data)s::jsonb, %(now)s)
        ON CONFLICT (organization_id, key) DO NOTHING RETURNING id
    ), sent AS (
        INSERT INTO notifications_delivery
            (notification_id, channel_id, state, attempts, in_a_row, next_at, give_up_at, last_error, created_at)
        SELECT told.id, c.id, 'WAITING', 0, 0, %(now)s, %(until)s, '', %(now)s
        FROM told, notifications_channel c
        WHERE c.organization_id = %(organization)s AND c.enabled AND %(kind)s = ANY (c.kinds) ORDER BY c.id
        RETURNING id
    )
    SELECT (SELECT count(*) FROM told), (SELECT count(*) FROM sent)"""


def notify(
    *,
    organization: Organization,
    kind: Kind,
    key: str,
    subject: str,
    text: str,
    path: str = "",
    data: Mapping[str, Any] | None = None,
    now: datetime,
) -> bool:
    """Tell the organization that something happened, in the caller's transaction. `key` names the occurrence: the same
    one again, even at the same time, does nothing and answers False. `path`: the page about it. `data`: its numbers,
    JSON."""
    assert kind in Kind, f"{kind} is no kind of notification"
    assert 0 < len(key) <= LONGEST_KEY, f"a key has 1 to {LONGEST_KEY} characters: {key!r}"
    given: dict[str, Any] = {
        "id": new_id(), "organization": organization.key, "kind": str(kind), "key": key,
        "subject": subject[:LONGEST_SUBJECT], "text": text, "path": path,
        "data": json.dumps(dict(data or {}), cls=DjangoJSONEncoder), "now": now, "until": now + TRIED_FOR,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_NOTIFY, given)
        row = cursor.fetchone()
    assert row is not None
    told, sent = row
    if sent:
        wake_on_commit(DELIVER, "io")
    return bool(told)
