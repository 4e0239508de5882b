"""The deliver loop: takes what is due, sends it outside any transaction, and writes down what came of it.

A delivery is taken with a lease: whoever takes it has counted the attempt and moved its time to the lease's end, so two
workers never make the same attempt, and one that a killed worker was making is made again once the lease has ended. So
a receiver may get a message twice (with the same id), never not at all.
"""

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from random import SystemRandom

from django.db import connection, transaction
from django.db.models import QuerySet

from console.common import clock
from console.common.notify import publish
from console.notifications.models import UNDER_WAY, Attempt, Channel, Delivery, DeliveryState, Notification
from console.notifications.sending import Outcome, send
from console.organizations.actors import system
from console.organizations.services import audit_record

LOOP = "deliver"
LEASE = timedelta(seconds=120)  # well above the longest attempt
AT_ONCE = 16
LOOKS_EVERY_S = 1.0
BEGINS_FOR_S = 8.0  # a pass begins no attempt after that, so that it ends in time
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=10), timedelta(hours=2)
JITTER = 0.2
KEPT = timedelta(days=400)
DROPPED_AT_ONCE = 1000
LOST = "Not known what came of it: the worker ended meanwhile; it was sent again"
GONE = "The receiver answered 410: it wants nothing any more"

# At most one at a time for each channel, as far as it can be seen: one that hangs must not take up every place.
_TAKE = """
    WITH first AS (
        SELECT id, row_number() OVER (PARTITION BY channel_id ORDER BY next_at, id) AS place
        FROM notifications_delivery d
        WHERE state IN ('WAITING', 'SENDING') AND next_at <= %(now)s AND NOT EXISTS (
            SELECT 1 FROM notifications_delivery o
            WHERE o.channel_id = d.channel_id AND o.state = 'SENDING' AND o.next_at > %(now)s)
    ), due AS (
        SELECT d.id, d.state FROM notifications_delivery d
        WHERE d.id IN (SELECT id FROM first WHERE place = 1)
          AND d.state IN ('WAITING', 'SENDING') AND d.next_at <= %(now)s
        ORDER BY d.next_at, d.id LIMIT %(most)s FOR UPDATE SKIP LOCKED
    )
    UPDATE notifications_delivery d SET state = 'SENDING', next_at = %(until)s, attempts = d.attempts + 1,
           in_a_row = d.in_a_row + 1
    FROM due WHERE d.id = due.id
    RETURNING d.id, due.state"""


def deliver_pass(*, now: datetime) -> int:
    """Send what is due; returns how many attempts were made."""
    until, made = time.monotonic() + BEGINS_FOR_S, 0
    running: dict[Future[Outcome], Delivery] = {}
    forget(now=now)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="deliver") as pool:
        while True:
            if time.monotonic() < until and len(running) < AT_ONCE:
                at = clock.now()
                for one in deliveries_take(most=AT_ONCE - len(running), now=at):
                    running[pool.submit(send, one, int(at.timestamp()))] = one
            if not running:
                return made
            done, _ = wait(running, timeout=LOOKS_EVERY_S, return_when=FIRST_COMPLETED)
            for future in done:
                delivery_record(delivery=running.pop(future), outcome=outcome_of(future), now=clock.now())
                made += 1


def outcome_of(future: "Future[Outcome]") -> Outcome:
    """A fault of ours is an attempt that failed: it must not stop the other deliveries, nor be tried at once again."""
    try:
        return future.result()
    except Exception as error:
        return Outcome(False, 0, error=f"Could not be sent: {type(error).__name__}"[:500])


def deliveries_take(*, most: int, now: datetime) -> list[Delivery]:
    """Take up to `most` deliveries that are due, each attempt counted and leased to the caller."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_TAKE, {"now": now, "until": now + LEASE, "most": most})
            taken: dict[int, str] = dict(cursor.fetchall())
        found = list(with_all(sorted(taken))) if taken else []
        lost = [one for one in found if taken[one.pk] == DeliveryState.SENDING]
        Attempt.objects.bulk_create(
            [Attempt(delivery=one, number=one.attempts - 1, at=now - LEASE, error=LOST) for one in lost],
            ignore_conflicts=True,
        )
    return found


def with_all(ids: Sequence[int]) -> QuerySet[Delivery]:
    return Delivery.objects.filter(pk__in=ids).select_related("notification__organization", "channel")


def delivery_record(*, delivery: Delivery, outcome: Outcome, now: datetime) -> bool:
    """Write down what came of an attempt; False where its lease had ended and somebody else has taken it since."""
    delivered = outcome.ok
    next_at = now + wait_after(delivery.in_a_row, outcome)
    ended = delivered or outcome.gone or next_at > delivery.give_up_at
    state = DeliveryState.DELIVERED if delivered else DeliveryState.FAILED if ended else DeliveryState.WAITING
    with transaction.atomic():
        if outcome.gone:  # the channel before its deliveries, as whoever turns it off by hand
            _end(delivery, now)
        mine = Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.SENDING, attempts=delivery.attempts)
        moved = mine.update(state=state, next_at=next_at, last_status=outcome.status, last_error=outcome.error,
                            ended_at=now if ended else None)  # fmt: skip
        Attempt.objects.bulk_create(
            [Attempt(delivery=delivery, number=delivery.attempts, at=now - timedelta(seconds=outcome.seconds),
                     seconds=outcome.seconds, ok=delivered, status=outcome.status, error=outcome.error,
                     answer=outcome.answer)],
            ignore_conflicts=True,
        )  # fmt: skip
        publish("notifications", [delivery.channel.organization_id])
    return bool(moved)


def wait_after(in_a_row: int, outcome: Outcome) -> timedelta:
    """Until the next attempt: twice as long each time, up to two hours, give or take a fifth so that receivers who came
    back are not met by all at once; longer where the receiver asks for it."""
    doubled: timedelta = FIRST_WAIT * 2 ** min(in_a_row - 1, 20)
    jittered = min(doubled, LONGEST_WAIT) * SystemRandom().uniform(1 - JITTER, 1 + JITTER)
    return max(jittered, timedelta(seconds=outcome.retry_after_s or 0))


def _end(delivery: Delivery, now: datetime) -> None:
    """Turn off the channel, since its receiver said so; what else is under way to it is cancelled."""
    channel = delivery.channel
    others = Delivery.objects.filter(channel=channel, state__in=UNDER_WAY).exclude(pk=delivery.pk)
    if Channel.objects.filter(pk=channel.pk, enabled=True).update(enabled=False, disabled_because=GONE):
        audit_record(actor=system(LOOP), action="channel.disable", obj_type="Channel", obj_id=str(channel.pk),
                     obj_name=channel.name, before={"enabled": True}, after={"enabled": False, "because": GONE},
                     organization=channel.organization)  # fmt: skip
    others.update(state=DeliveryState.CANCELLED, ended_at=now, last_error=GONE)


def forget(*, now: datetime) -> None:
    """Drop what is older than is kept, some at a time."""
    old = Notification.objects.filter(created_at__lt=now - KEPT).order_by("created_at").values("pk")[:DROPPED_AT_ONCE]
    Notification.objects.filter(pk__in=old).delete()
