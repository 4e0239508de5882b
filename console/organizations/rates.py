"""How often a token may call: its bucket lies in the broker, where every web process finds the same one.

A broker that is away, slow or no Redis refuses nobody: the limit protects the console, it is not what it exists for.
"""

import logging
import time
from functools import cache
from typing import Any
from uuid import UUID

from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from console.common.errors import ResourceExhausted

log = logging.getLogger(__name__)

ANSWERS_WITHIN_S = 0.1
ASKED_AGAIN_AFTER_S = 1.0
# The generic cell rate algorithm: `due` is when the bucket would be full again, which lies at most a second ahead. Answers
# with the microseconds to wait, 0 for a call that is taken. The broker's clock counts, so that processes agree.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local each = tonumber(ARGV[1])
local due = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0')) + each
local early = due - now - math.max(1000000, each)
if early > 0 then return math.ceil(early) end
redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000))
return 0
"""


class Buckets:
    """The buckets in one broker."""

    def __init__(self, url: str) -> None:
        self._broker: Redis = Redis.from_url(
            url, socket_timeout=ANSWERS_WITHIN_S, socket_connect_timeout=ANSWERS_WITHIN_S, retry=Retry(NoBackoff(), 0)
        )
        self._script: Any = self._broker.register_script(_TAKE)
        self._away_until = 0.0

    def take(self, name: str, per_second: float) -> float:
        """Take a call out of the bucket `name`; seconds to wait where it is empty, else 0."""
        if time.monotonic() < self._away_until:
            return 0.0
        try:
            return float(self._script(keys=[f"headroom:rate:{name}"], args=[1_000_000 / per_second])) / 1_000_000
        except (RedisError, OSError) as error:
            self._away_until = time.monotonic() + ASKED_AGAIN_AFTER_S
            log.warning("no rate limit for a moment: the broker did not answer (%s)", type(error).__name__)
            return 0.0


@cache
def buckets(broker: str) -> Buckets | None:
    """The buckets in the broker at Celery's address of it; None where that is no Redis."""
    scheme, _, rest = broker.partition("://")
    if scheme == "redis+socket":
        return Buckets(f"unix://{rest}")
    return Buckets(broker) if scheme in {"redis", "rediss", "unix"} else None


def rate_take(token_id: UUID) -> None:
    """Count one call of the token; ResourceExhausted, with the seconds to wait, once it calls too often."""
    most = settings.RATE_LIMIT
    found = buckets(settings.CELERY_BROKER_URL) if most else None
    if found and (wait := found.take(str(token_id), most)):
        raise ResourceExhausted(f"This token may call {most:g} times a second; call again in a moment.", wait)
