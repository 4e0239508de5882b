"""How webhooks are signed: the scheme of Standard Webhooks, version 1 (symmetric).

`webhook-signature` holds, for each secret that is valid, `v1,` and the base64 of
HMAC-SHA256(secret, "{webhook-id}.{webhook-timestamp}.{body}").
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable

from django.conf import settings

SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with


def new_salt() -> str:
    return secrets.token_hex(32)


def key_of(salt: str) -> bytes:
    """The 32 bytes that sign: of the server's key and the channel's salt, so that the database alone gives no secret
    away."""
    return hmac.digest(settings.SECRET_KEY.encode(), f"webhook {salt}".encode(), hashlib.sha256)


def secret_of(salt: str) -> str:
    """The secret as its receiver is told it."""
    return SECRET_PREFIX + base64.b64encode(key_of(salt)).decode()


def signature(salts: Iterable[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The header's value: a signature by each of the secrets, for a rotation changes them one side at a time."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    found = (hmac.digest(key_of(salt), signed, hashlib.sha256) for salt in salts)
    return " ".join(f"v1,{base64.b64encode(one).decode()}" for one in found)
