"""The quota rule (C3), in instances of one offering and organization."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

NOTICE_SHARE, ALARM_SHARE = 0.80, 0.95


@dataclass(frozen=True, slots=True)
class Commitment:
    """A CUSTOMER claim, DELETING or not: the most that it may come to want (C12), and its instances whose
    release is not confirmed yet."""

    promised: int
    unreleased: int

    @property
    def instances(self) -> int:
        return max(self.promised, self.unreleased)


def committed(commitments: Iterable[Commitment]) -> int:
    return sum(one.instances for one in commitments)


def free(*, limit: int, other_usage: int, committed: int) -> int:
    """What another claim may still take; 0 where the quota was lowered below what is committed (C13)."""
    return max(0, limit - other_usage - committed)


def fits(*, delta: int, limit: int, other_usage: int, committed: int) -> bool:
    """Whether `delta` more instances may be committed. Lowering and repeating (delta <= 0) always may."""
    return delta <= 0 or delta <= limit - other_usage - committed


def unused_reserved(*, reserved: int, other_usage: int, paid: int) -> int:
    """Reserved instances that nothing takes: neither other use nor instances of CUSTOMER claims that are paid for (B2).
    One that is committed and still joins is not paid for, so it takes none yet."""
    return max(0, reserved - other_usage - paid)


class Level(StrEnum):
    """How near a quota is to its limit."""

    OVER = "OVER"
    FULL = "FULL"
    ALARM = "ALARM"
    NOTICE = "NOTICE"
    ENOUGH = "ENOUGH"
    NONE = "NONE"


def level(*, limit: int, used: int) -> Level:
    """`used` is committed and other use together. OVER: the limit was lowered below it (C13)."""
    if used > limit:
        return Level.OVER
    if limit == 0:
        return Level.NONE
    if used == limit:
        return Level.FULL
    share = used / limit
    return Level.ALARM if share >= ALARM_SHARE else Level.NOTICE if share >= NOTICE_SHARE else Level.ENOUGH
