"""One attempt of a delivery, without the database: what is to be sent is read before, what came of it written after."""

import smtplib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.conf import settings

from console.common.outside import storable_text
from console.notifications import messages, signing
from console.notifications.models import Channel, ChannelType, Delivery
from console.notifications.webhooks import SHOWN, Undelivered, post

AGENT = "Headroom"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt. `gone`: the receiver wants nothing ever again (410)."""

    ok: bool
    seconds: float
    status: int | None = None
    error: str = ""
    answer: str = ""
    retry_after_s: int | None = None
    gone: bool = False


def send(delivery: Delivery, timestamp: int) -> Outcome:
    """Send it once. `timestamp`: of the attempt, in seconds since 1970."""
    began = time.monotonic()
    way: Mapping[str, Callable[[Delivery, int], Outcome]] = {
        ChannelType.WEBHOOK: _webhook,
        ChannelType.EMAIL: _email,
    }
    try:
        found = way[delivery.channel.type](delivery, timestamp)
    except Undelivered as error:
        found = Outcome(False, 0, error=storable_text(error, SHOWN))
    return Outcome(found.ok, time.monotonic() - began, found.status, found.error, found.answer, found.retry_after_s,
                   found.gone)  # fmt: skip


def _webhook(delivery: Delivery, timestamp: int) -> Outcome:
    notification, channel = delivery.notification, delivery.channel
    text, name = messages.body(notification), messages.message_id(notification)
    headers = [
        ("Content-Type", "application/json"), ("User-Agent", AGENT), ("webhook-id", name),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", signing.signature(salts_of(channel, timestamp), name, timestamp, text)),
    ]  # fmt: skip
    answer = post(channel.target, headers, text, allow_private=settings.WEBHOOK_PRIVATE)
    ok = 200 <= answer.status < 300
    return Outcome(ok, 0, answer.status, "" if ok else why_not(answer.status), answer.text, answer.retry_after_s,
                   gone=answer.status == 410)  # fmt: skip


def salts_of(channel: Channel, timestamp: int) -> list[str]:
    """The channel's own, and for a while after a rotation the one before."""
    until = channel.old_salt_until
    return [channel.salt, *([channel.old_salt] if until and timestamp < until.timestamp() else [])]


def why_not(status: int) -> str:
    if 300 <= status < 400:
        return f"Answered {status}: redirects are not followed; name the final address"
    return f"Answered {status}"


def _email(delivery: Delivery, timestamp: int) -> Outcome:
    try:
        messages.email(delivery.notification, delivery.channel).send()
    except smtplib.SMTPRecipientsRefused as error:
        code, said = next(iter(error.recipients.values()))
        raise Undelivered(f"The mail server refused the mailbox: {code} {read(said)}") from error
    except smtplib.SMTPResponseException as error:
        raise Undelivered(f"The mail server refused it: {error.smtp_code} {read(error.smtp_error)}") from error
    except (smtplib.SMTPException, OSError) as error:
        raise Undelivered(f"The mail server did not take it: {error}") from error
    return Outcome(True, 0)


def read(said: bytes | str) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said
