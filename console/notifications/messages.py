"""What a notification says: as the JSON of a webhook, and as an e-mail."""

import json
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.serializers.json import DjangoJSONEncoder

from console.notifications.models import Channel, Kind, Notification

TYPES = {
    Kind.SHORTAGE: "deployment.shortage",
    Kind.CLAIM_DEGRADED: "claim.degraded",
    Kind.QUOTA_NOTICE: "quota.notice",
    Kind.QUOTA_REQUEST: "quota_request.decided",
    Kind.CLAIM_UNDER_USED: "claim.under_used",
    Kind.BUDGET: "budget.crossed",
    Kind.STATEMENT_CLOSED: "statement.closed",
    Kind.TEST: "test",
}


def link(notification: Notification) -> str:
    """The page about it, as people reach it; empty where there is none."""
    return settings.PUBLIC_URL.rstrip("/") + notification.path if notification.path else ""


def payload(notification: Notification) -> dict[str, Any]:
    """The body of a webhook: `type`, `timestamp` and `data`, as Standard Webhooks has it."""
    return {
        "type": TYPES[Kind(notification.kind)],
        "timestamp": notification.created_at.isoformat().replace("+00:00", "Z"),
        "data": {
            "id": str(notification.id), "organization": notification.organization.id, "kind": notification.kind,
            "subject": notification.subject, "text": notification.text, "url": link(notification),
            "details": notification.data,
        },
    }  # fmt: skip


def body(notification: Notification) -> bytes:
    return json.dumps(payload(notification), cls=DjangoJSONEncoder, separators=(",", ":")).encode()


def message_id(notification: Notification) -> str:
    """The same in every attempt and every replay, so that a receiver knows what it has had."""
    return f"msg_{notification.id.hex}"


def email(notification: Notification, channel: Channel) -> EmailMessage:
    lines = [notification.text, "", *([link(notification), ""] if notification.path else []),
             f"Organization {notification.organization.name} ({notification.organization.id}), "
             f"{notification.created_at:%Y-%m-%d %H:%M:%S} UTC.",
             f"You get this since the channel {channel.name!r} of Headroom names this mailbox."]  # fmt: skip
    subject = " ".join(notification.subject.split())
    return EmailMessage(
        f"[Headroom] {subject}", "\n".join(lines), settings.DEFAULT_FROM_EMAIL, [channel.target],
        headers={"Message-ID": f"<{message_id(notification)}.{channel.id.hex}@headroom>", "Auto-Submitted": "auto-generated"},
    )  # fmt: skip
