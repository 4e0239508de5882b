"""`Idempotency-Key`: a request that is sent again is answered as it was the first time, and done once.

Only what was done is remembered. A refusal changed nothing, so the same request with the same key is tried anew.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from console.common import clock
from console.common.errors import InvalidArgument
from console.organizations import locks
from console.organizations.actors import Actor
from console.organizations.models import IdempotencyKey

KEPT = timedelta(hours=24)
DROPPED_AT_ONCE = 5000
USABLE = re.compile(r"[ -~]{1,200}")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status and a JSON text. `repeated`: it was stored, nothing was done now."""

    status: int
    body: str
    repeated: bool = False

    @property
    def done(self) -> bool:
        return 200 <= self.status < 300


def answer_once(
    *,
    actor: Actor,
    key: str,
    request: Mapping[str, Any],
    make: Callable[[], Answer],
    stored: Callable[[str], str] = str,
) -> Answer:
    """The answer that `make` gives, or gave when this caller sent the same key within 24 hours.

    All that `make` does is in one transaction with the answer that is kept: neither exists alone. Its twin waits for it.
    `request` is everything that makes it this request. `stored` takes out of the body what must not be kept. Refuses
    with InvalidArgument a key that cannot be used, or was for another request; what `make` refuses goes through.
    """
    if not USABLE.fullmatch(key):
        raise InvalidArgument.of("idempotency_key", "must have 1 to 200 printable ASCII characters")
    organization, caller, wanted = actor.require_organization(), caller_of(actor), request_hash(request)
    with transaction.atomic():
        locks.idempotency_lock(organization, caller, key)
        now = clock.now()
        found = IdempotencyKey.objects.filter(organization=organization, caller=caller, key=key)
        earlier = found.filter(created_at__gt=now - KEPT).first()
        if earlier and earlier.request_sha256 != wanted:
            raise InvalidArgument.of("idempotency_key", "was used for another request; use a new key")
        if earlier:
            return Answer(earlier.status, earlier.body, repeated=True)
        answer = make()
        if answer.done:
            found.filter(created_at__lte=now - KEPT).delete()
            IdempotencyKey.objects.create(
                organization=organization, caller=caller, key=key, request_sha256=wanted, status=answer.status,
                body=stored(answer.body), created_at=now,
            )  # fmt: skip
    return answer


def json_once(
    actor: Actor, key: str | None, operation: str, body: Any, make: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The same for an operation whose answer is a JSON object, whatever the protocol; without a key it is just done."""
    if key is None:
        return make()
    request = {"operation": operation, "body": body}
    answer = answer_once(actor=actor, key=key, request=request, make=lambda: Answer(200, json.dumps(make())))
    found: dict[str, Any] = json.loads(answer.body)
    return found


def answers_forget(*, now: datetime) -> int:
    """Drop what is older than is kept, some at a time; returns how many."""
    old = IdempotencyKey.objects.filter(created_at__lte=now - KEPT).order_by("created_at").values("pk")
    return IdempotencyKey.objects.filter(pk__in=old[:DROPPED_AT_ONCE]).delete()[0]


def caller_of(actor: Actor) -> str:
    if actor.token:
        return f"token {actor.token.id}"
    return f"user {actor.user.pk}" if actor.user else actor.name


def request_hash(request: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True, default=str).encode()).hexdigest()
