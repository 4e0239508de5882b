"""How much of what claims hold is in use: looked at about once a minute, added up by the hour, kept for a month.

The ledger knows what a claim held, but placements go with their replicas: who used a claim yesterday is known only from
looking.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction
from django.db.models import Count, F, Q, Sum
from django.db.models.functions import TruncDay

from claims import locks
from claims.core.conditions import UNDER_USED as UNDER
from claims.core.conditions import holds, under_used
from claims.core.states import Status
from claims.models import CapacityClaim, ClaimUse
from claims.services import life
from console.common.notify import publish

LOOP = "meter loop"
DAY, KEPT = timedelta(hours=24), timedelta(days=30)
HOURS_KNOWN = 20  # of the last 24 with enough looks; with fewer nothing is said of a day
LOOKS_OF_AN_HOUR = 30
UNDER_USED = 0.2

LOOK = """
    INSERT INTO claims_claimuse (claim_id, hour, looks, gpus_used, gpus_held)
    SELECT claim_id, date_trunc('hour', %(now)s::timestamptz, 'UTC'), 1, sum(gpus_used), sum(gpus)
    FROM claims_instance
    WHERE claim_id IS NOT NULL AND state = 'READY' AND lost_at IS NULL
    GROUP BY claim_id ORDER BY claim_id
    ON CONFLICT (claim_id, hour) DO UPDATE SET
        looks = claims_claimuse.looks + 1,
        gpus_used = claims_claimuse.gpus_used + excluded.gpus_used,
        gpus_held = claims_claimuse.gpus_held + excluded.gpus_held
"""


@dataclass(frozen=True, slots=True)
class Use:
    """Of a claim's GPUs over the last 24 hours: the share that replicas held, and of how many GPUs on average."""

    share: float
    gpus: float

    @property
    def under(self) -> bool:
        return self.share < UNDER_USED


def claim_use_look(*, now: datetime) -> None:
    """Look at all claims once; drop what is kept no longer."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LOOK, {"now": now})
        ClaimUse.objects.filter(hour__lt=now - KEPT).delete()


def under_use_note(*, now: datetime) -> list[CapacityClaim]:
    """Let the condition `UnderUsed` of every claim say what its use of the last day is; those of which it changed. A
    claim whose use is not known keeps what was said."""
    claims = list(CapacityClaim.objects.exclude(status=Status.DELETING).order_by("key"))
    use = use_of_day(claims, now)
    changed = [one for one in claims if one.key in use and use[one.key].under != holds(one.conditions, UNDER)]
    return [one for one in changed if _noted(one, use[one.key].under, now)]


def _noted(claim: CapacityClaim, under: bool, now: datetime) -> bool:
    """Write it, under the lock of the offering, unless the claim went meanwhile."""
    with transaction.atomic():
        locks.offerings_lock([claim.offering_id])
        found = CapacityClaim.objects.select_related("offering__zone").exclude(status=Status.DELETING)
        current = found.filter(key=claim.key).first()
        if current is None:
            return False
        said = under_used(current.conditions, under, UNDER_USED, current.offering.zone.name, now)
        life.conditions_set(claim=current, conditions=said, by=LOOP, now=now)
        publish("claims", [current.organization_id])
    return True


def use_of_day(claims: Iterable[CapacityClaim], now: datetime) -> dict[int, Use]:
    """By claim key its use in the last 24 hours, of claims of which enough of them is known: one query."""
    since = (now - DAY).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    rows = ClaimUse.objects.filter(claim__in=[one.key for one in claims], hour__gte=since, hour__lte=now)
    sums = rows.values_list("claim").annotate(Sum("gpus_used"), Sum("gpus_held"), Sum("looks"))
    known = sums.annotate(n=Count("id", filter=Q(looks__gte=LOOKS_OF_AN_HOUR))).filter(n__gte=HOURS_KNOWN).order_by()
    return {key: Use(used / held, held / looks) for key, used, held, looks, _ in known if held}


def last_good_days(claim_keys: Iterable[int], now: datetime) -> dict[int, datetime]:
    """By claim key the last whole day, UTC, on which it was not under-used; without it none is known. One query."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    rows = ClaimUse.objects.filter(claim__in=list(claim_keys), hour__lt=today)
    days = rows.annotate(day=TruncDay("hour", tzinfo=UTC)).values("claim", "day")
    sums = days.annotate(used=Sum("gpus_used"), held=Sum("gpus_held")).order_by("day")
    good = sums.filter(used__gte=UNDER_USED * F("held"))
    return dict(good.values_list("claim", "day"))  # in order of the days: the last stays
