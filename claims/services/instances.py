"""Instances change hands here. Every function is called under the lock of the offering (W1)."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.conf import settings

from claims import ledger
from claims.core import allocation
from claims.core.allocation import InUse
from claims.core.reductions import takes_effect
from claims.core.states import HELD_STATES, PENDING_STATES, InstanceState
from claims.models import CapacityClaim, ClaimKind, Instance, Offering, Source, UsageKind, Work
from claims.selectors import pool_live, unclaimed
from console.common.ids import new_id
from console.common.rows import rows_insert

LARGEST_STEP = 1000  # instances requested for one claim or pool in one pass, so that a pass stays short
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=10), timedelta(minutes=10)


def new_instances(
    *, offering: Offering, source: Source, count: int, now: datetime, claim: CapacityClaim | None = None
) -> list[Instance]:
    """Rows that say these machines are wanted; the provision loop takes it from there."""
    wanted = machines(offering=offering, source=source, count=count, now=now, claim=claim)
    rows_insert(wanted)
    return wanted


def machines(
    *, offering: Offering, source: Source, count: int, now: datetime, claim: CapacityClaim | None = None
) -> list[Instance]:
    """As many machines as they are asked for, for the caller to store: later and later while those before them do not join
    (C6)."""
    stem = f"{offering.zone.name}-{offering.instance_type.name}".lower()
    failures = claim.join_failures if claim else offering.join_failures
    return [
        Instance(
            name=f"{stem}-{new_id().hex[-10:]}",
            offering=offering,
            source=source,
            state=InstanceState.REQUESTED,
            claim=claim,
            organization_id=claim.organization_id if claim else None,
            gpus=offering.instance_type.gpus,
            created_at=now,
            claimed_at=now if claim else None,
            join_failures=failures,
            next_attempt_at=now + retry_after(failures) if failures else None,
        )
        for _ in range(count)
    ]


def retry_after(failures: int) -> timedelta:
    """How long to wait for the next machine after so many in a row did not join."""
    return min(FIRST_RETRY * (1 << min(max(0, failures - 1), 10)), LONGEST_RETRY)


def free_pool_keys(offering_key: int, most: int) -> list[int]:
    """Pool instances that nobody holds, in the order in which claims take them."""
    free = unclaimed(offering_key).filter(organization__isnull=True)
    return list(free.order_by("key").values_list("key", flat=True)[:most])


def give_to_claim(*, claim: CapacityClaim, keys: Sequence[int], now: datetime) -> list[Instance]:
    """Set pool instances aside for the claim, which pays for them from now on (B1). The claimant's own on-demand
    replicas on them stay where they are and cost nothing more (C4, B8)."""
    ledger.close_on_demand(instance_keys=keys, now=now)
    Instance.objects.filter(key__in=keys).update(
        claim=claim, organization_id=claim.organization_id, claimed_at=now, kept=False
    )
    relieve(claim=claim, count=len(keys), now=now)
    got = list(Instance.objects.filter(key__in=keys).order_by("key"))
    ledger.open_claim_intervals(claim=claim, instances=got, now=now)
    return got


def relieve(*, claim: CapacityClaim, count: int, now: datetime) -> None:
    """`count` instances have come to the claim: they take the place of as many that the platform drains, which the
    claim stops paying for at this moment, while what runs there still moves away."""
    draining = Instance.objects.filter(
        claim=claim, state=InstanceState.DRAINING, lost_at__isnull=True, relieved_at__isnull=True
    )
    replaced = draining.filter(work=Work.BAD) | draining.filter(work=Work.DRAIN, source=Source.POOL)
    keys = list(replaced.order_by("key").values_list("key", flat=True)[:count])
    if keys:
        Instance.objects.filter(key__in=keys).update(relieved_at=now)
        ledger.close_intervals(kind=UsageKind.CLAIM, resource_keys=keys, now=now)


def reduction_wait(*, claim: CapacityClaim, held: int, now: datetime) -> bool:
    """When a claim that holds `held` gives up what is beyond what it now wants (C7): sets `reduction_at` and `reduced_at`,
    unsaved. Whether that waits."""
    effect = None
    if claim.kind == ClaimKind.SERVERLESS:
        effect = takes_effect(
            held=held, target=claim.wanted, scheduled=claim.reduction_at, last=claim.reduced_at,
            interval=settings.REDUCTION_INTERVAL, now=now,
        )  # fmt: skip
    waits = effect is not None and effect > now
    claim.reduction_at = effect if waits else None
    claim.reduced_at = claim.reduced_at if effect is None or waits else now
    return waits


def give_up(*, instances: Iterable[Instance], now: datetime) -> None:
    """The claim no longer wants these: free ones go at once, ones in use are drained first (C10)."""
    chosen = list(instances)
    drain(keys=[one.key for one in chosen if one.gpus_used > 0 and one.state == InstanceState.READY], now=now)
    let_go(instances=[one for one in chosen if one.gpus_used == 0], now=now)


def drain(*, keys: Sequence[int], now: datetime) -> None:
    """Nothing new is placed here; by the deadline the scale loop has moved or stopped what runs (C10)."""
    Instance.objects.filter(key__in=keys).update(
        state=InstanceState.DRAINING, drain_until=now + settings.DRAIN_DEADLINE, kept=False
    )


def undrain(*, keys: Sequence[int]) -> None:
    """Back to work: what is still there stays."""
    Instance.objects.filter(key__in=keys, state=InstanceState.DRAINING, lost_at__isnull=True).update(
        state=InstanceState.READY, drain_until=None
    )


def let_go(*, instances: Sequence[Instance], now: datetime) -> None:
    """Instances with no GPU in use leave their claim: back to the pool, or away; billing ends here (B1)."""
    held = {one.key for one in instances if one.state in HELD_STATES}
    back = {one.key for one in instances if one.key in held and one.source == Source.POOL and one.work != Work.BAD}
    ledger.close_intervals(kind=UsageKind.CLAIM, resource_keys=held, now=now)
    Instance.objects.filter(key__in=back).update(
        state=InstanceState.READY, claim=None, organization=None, claimed_at=None, drain_until=None, relieved_at=None
    )
    send_away(keys=[one.key for one in instances if one.key not in back])


def send_away(*, keys: Sequence[int]) -> None:
    """Ask the backend to take these away; the provision loop does."""
    Instance.objects.filter(key__in=keys).update(
        state=InstanceState.RELEASING, drain_until=None, kept=False, next_attempt_at=None, leased_until=None
    )


def pool_drained(*, offering: Offering) -> None:
    """Pool instances that the platform drained and that are empty now: bad ones go, others stay, cordoned."""
    empty = Instance.objects.filter(
        offering=offering, source=Source.POOL, state=InstanceState.DRAINING, claim__isnull=True, gpus_used=0,
        lost_at__isnull=True,
    )  # fmt: skip
    done = list(empty.order_by("key").values_list("key", "work"))
    if done:
        send_away(keys=[key for key, work in done if work == Work.BAD])
        undrain(keys=[key for key, work in done if work != Work.BAD])


def pool_reconcile(*, offering: Offering, awaited: int, now: datetime) -> int:
    """Bring the managed pool nearer to the size the platform wants. Only free instances ever go, and machines still
    joining beyond those that claims wait for (`awaited`): claims come first (C13).

    Returns how many instances were requested or released.
    """
    pool = Instance.objects.filter(offering=offering, source=Source.POOL)
    missing = min(offering.pool_wanted - pool_live(offering.key), LARGEST_STEP)
    if missing > 0:
        new_instances(offering=offering, source=Source.POOL, count=missing, now=now)
    if missing >= 0:
        return missing
    joining = pool.filter(state__in=PENDING_STATES)
    spare = max(0, joining.count() - awaited)
    going = list(joining.order_by("-key").values_list("key", flat=True)[: min(-missing, spare)])
    idle = pool.filter(state=InstanceState.READY, organization__isnull=True).exclude(work="").order_by("-key")
    going += list(idle.values_list("key", flat=True)[: -missing - len(going)])
    going += free_pool_keys(offering.key, LARGEST_STEP)[::-1][: -missing - len(going)]
    send_away(keys=going)
    return len(going)


def keep(*, offering: Offering, claims_wait: bool) -> None:
    """Mark the pool instances that take no new replica: the emptiest while a claim waits (C4), all of them once the
    offering is withdrawn (C13)."""
    in_use = unclaimed(offering.key).filter(gpus_used__gt=0)
    kept: set[int] = set()
    if offering.withdrawn_at:
        kept = set(in_use.values_list("key", flat=True))
    elif claims_wait:
        chosen = allocation.to_keep(InUse(*row) for row in in_use.values_list("key", "gpus_used", "kept"))
        kept = set() if chosen is None else {chosen}
    before = set(Instance.objects.filter(offering=offering, kept=True).values_list("key", flat=True))
    if before - kept:
        Instance.objects.filter(key__in=before - kept).update(kept=False)
    if kept - before:
        Instance.objects.filter(key__in=kept - before).update(kept=True)
