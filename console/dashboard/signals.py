"""Deployments of which no usable sample has come for longer than the autoscaler believes one (R5)."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
from django.db.models import QuerySet

from deployments.core.params import Params
from deployments.loop.blocks import Block, UnreadableBlockError
from deployments.models import SignalBlock

STALE = timedelta(seconds=Params().stale_s)
CHUNK = 20


class Watched(Protocol):
    """A deployment, or what is known of one, with the number of its ready replicas."""

    @property
    def key(self) -> int: ...
    @property
    def instance_type_id(self) -> int: ...
    @property
    def disabled(self) -> bool: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def ready(self) -> int: ...


def signals_lost(deployments: Iterable[Watched], now: datetime) -> dict[int, datetime | None]:
    """By deployment key the time of its last usable sample; None: before all that is kept.

    Those that are disabled, have no ready replica or are too new have nothing to lose. Two queries, the second only
    where something is lost: it reads back until the last usable sample of each.
    """
    watched = {
        one.key: one.instance_type_id
        for one in deployments
        if not one.disabled and one.ready and one.created_at < now - STALE
    }
    blocks = SignalBlock.objects.filter(instance_type__in=set(watched.values()))
    lost = watched.keys() - last_usable(watched, blocks.filter(at__gt=now - STALE)).keys()
    if not lost:
        return {}
    missing = {key: watched[key] for key in lost}
    older = SignalBlock.objects.filter(instance_type__in=set(missing.values()), at__lte=now - STALE)
    found = last_usable(missing, older)
    return {key: found.get(key) for key in lost}


def last_usable(watched: dict[int, int], blocks: QuerySet[SignalBlock]) -> dict[int, datetime]:
    """By deployment key the newest of these blocks in which it has numbers."""
    found: dict[int, datetime] = {}
    newest_first = blocks.order_by("-at").values_list("instance_type_id", "at", "payload")
    for shard, at, payload in newest_first.iterator(chunk_size=CHUNK):
        waiting = [key for key, type_key in watched.items() if type_key == shard and key not in found]
        found |= dict.fromkeys(usable(payload, waiting), at)
        if len(found) == len(watched):
            break
    return found


def usable(payload: bytes | memoryview, keys: list[int]) -> list[int]:
    """Those of the deployments that have numbers in this block."""
    if not keys:
        return []
    try:
        block = Block.from_bytes(payload)
    except UnreadableBlockError:
        return []
    rows, there = block.rows_of(np.array(keys, np.int64))
    if not there.any():
        return []
    there &= np.minimum(block.queued[rows].astype(np.int64), block.active[rows].astype(np.int64)) >= 0
    return [key for key, known in zip(keys, there.tolist(), strict=True) if known]
