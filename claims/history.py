"""What happened to a claim, newest first: what somebody asked for (the audit trail), how its status and conditions changed
(its events), and which instances it got and gave up (the ledger). Nothing is stored for it that is there already.

A page is read from each of them and merged. The place of an entry is its time, its source and its number there, so that
a cursor goes on exactly where the page before ended.
"""

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from heapq import merge
from itertools import islice
from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import TruncSecond

from claims.models import CapacityClaim, ClaimEvent, UsageInterval, UsageKind
from console.common.errors import NotFound
from console.common.paging import decode_cursor, encode_cursor, refuse_cursor
from console.common.words import counted
from console.organizations.models import AuditEvent, Organization

MOST = 2**63 - 1
NAMED = 3  # instances of one moment that are named; of more the number is told
SYSTEM = "Headroom"
WITHIN = timedelta(microseconds=999_999)


class Names(ArrayAgg):
    """As many as are told."""

    template = f"({ArrayAgg.template})[1:{NAMED}]"


class Kind(StrEnum):
    REQUEST = "REQUEST"
    STATUS = "STATUS"
    CONDITION = "CONDITION"
    INSTANCES = "INSTANCES"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry stands: later is greater."""

    at: datetime
    source: int
    number: int


@dataclass(frozen=True, slots=True)
class Entry:
    """`what` is the action of a request, `Status`, the type of a condition, or ALLOCATED, GIVEN_UP, LOST of instances;
    `before` and `after` are what changed, in the words of the API, or of a request the numbers it was about."""

    place: Place
    at: datetime
    kind: Kind
    who: str
    what: str
    text: str
    before: Any = None
    after: Any = None
    reason: str = ""
    instances: int = 0


def claim_name(organization: Organization, id: uuid.UUID) -> str:
    """The name of a claim of the organization that is there or was; NotFound where there never was one."""
    there = CapacityClaim.objects.filter(organization=organization, id=id).values_list("name", flat=True)
    asked = _requests(organization, id).values_list("object_name", flat=True)
    found = there.first() or asked.first() or _held(organization, id).values_list("holder_name", flat=True).first()
    if not found:
        raise NotFound("CapacityClaim", id)
    return found


@dataclass(frozen=True, slots=True)
class ClaimGone:
    """A claim that was deleted, as far as the audit trail, its events and the ledger have it. `last` is what it held last;
    None: it never held an instance."""

    id: uuid.UUID
    name: str
    created_at: datetime | None
    gone_at: datetime | None
    last: UsageInterval | None


def claim_gone(organization: Organization, id: uuid.UUID) -> ClaimGone:
    """Four queries. NotFound where there never was one; of one that is still there, `gone_at` is None."""
    name = claim_name(organization, id)
    made = _requests(organization, id).order_by("at", "id").values_list("at", flat=True).first()
    gone = ClaimEvent.objects.filter(organization=organization, claim_id=id, what="Status", after="GONE")
    last = _held(organization, id).select_related("offering__zone", "offering__instance_type").order_by("-started_at")
    return ClaimGone(id, name, made, gone.values_list("at", flat=True).first(), last.first())


def claim_history(
    organization: Organization, id: uuid.UUID, limit: int, before: Place | None = None
) -> tuple[list[Entry], Place | None]:
    """So many entries from there on, and the place after which the next page begins; None: there is no more. Five
    queries, however much there is."""
    parts = [read(organization, id, source, limit + 1, before) for source, read in enumerate(SOURCES)]
    rows = list(islice(merge(*parts, key=lambda one: order_of(one.place), reverse=True), limit + 1))
    return rows[:limit], rows[limit - 1].place if len(rows) > limit else None


def cursor_of(place: Place) -> str:
    return encode_cursor([place.at.isoformat(), place.source, place.number])


def place_from(cursor: str | None) -> Place | None:
    """The place that a cursor stands for; InvalidArgument where it stands for none."""
    if not cursor:
        return None
    match decode_cursor(cursor):
        case [str(at), int(source), int(number)] if 0 <= number <= MOST:
            try:
                return Place(datetime.fromisoformat(at).astimezone(), source, number)
            except (ValueError, OverflowError):
                pass
    return refuse_cursor()


def order_of(place: Place) -> tuple[datetime, int, int]:
    return place.at, place.source, place.number


def older(source: int, before: Place | None) -> Q:
    """Rows of a source that come after the place."""
    if before is None:
        return Q()
    earlier, same = Q(at__lt=before.at), Q(at=before.at)
    if source < before.source:
        return earlier | same
    return earlier | (same & Q(id__lt=before.number)) if source == before.source else earlier


def _requests(organization: Organization, id: uuid.UUID) -> QuerySet[AuditEvent]:
    return AuditEvent.objects.filter(organization=organization, object_type="CapacityClaim", object_id=str(id))


def asked_then(organization: Organization, ids: Collection[uuid.UUID], at: datetime) -> dict[uuid.UUID, int]:
    """How many instances claims were asked to have at that time; those left out have been asked for as many since. One
    query."""
    later = AuditEvent.objects.filter(
        organization=organization, object_type="CapacityClaim", object_id__in=[str(id) for id in ids], at__gt=at
    )
    found: dict[uuid.UUID, int] = {}
    for one in later.order_by("at", "id"):
        count = _count_in(one.before)
        if count is not None:
            found.setdefault(uuid.UUID(one.object_id), count)
    return found


def _held(organization: Organization, id: uuid.UUID) -> QuerySet[UsageInterval]:
    return UsageInterval.objects.filter(organization=organization, kind=UsageKind.CLAIM, holder_id=id)


def _asked(organization: Organization, id: uuid.UUID, source: int, most: int, before: Place | None) -> Iterator[Entry]:
    rows = _requests(organization, id).filter(older(source, before)).order_by("-at", "-id")[:most]
    for one in rows:
        yield Entry(Place(one.at, source, one.id), one.at, Kind.REQUEST, one.actor, one.action, in_words(one), one.before,
                    one.after)  # fmt: skip


def in_words(event: AuditEvent) -> str:
    """The labels that were given, or how many instances were asked for."""
    labels = (event.after or {}).get("labels")
    if labels is None:
        return counts_in_words(event)
    return ", ".join(f"{key}={labels[key]}" for key in sorted(labels)) or "none"


def counts_in_words(event: AuditEvent) -> str:
    """From how many instances to how many, as far as the event has that."""
    counts = (_count_in(event.before), _count_in(event.after))
    before, after = (None if one is None else counted(one, "instance") for one in counts)
    return f"from {before} to {after}" if before and after else before or after or ""


def _count_in(values: Mapping[str, Any] | None) -> int | None:
    """Instances that an audit event has before or after it: a creation writes them otherwise than a change."""
    count = (values or {}).get("instanceCount", (values or {}).get("instance_count"))
    return None if count is None else int(count)


def _told(organization: Organization, id: uuid.UUID, source: int, most: int, before: Place | None) -> Iterator[Entry]:
    rows = ClaimEvent.objects.filter(organization=organization, claim_id=id).filter(older(source, before))
    for one in rows.order_by("-at", "-id")[:most]:
        kind = Kind.STATUS if one.what == "Status" else Kind.CONDITION
        yield Entry(Place(one.at, source, one.id), one.at, kind, one.actor, one.what, one.message, one.before or None, one.after,
                    one.reason)  # fmt: skip


def _of_ledger(what: str, field: str, which: Q, text: str) -> Callable[..., Iterator[Entry]]:
    """Instances of one moment together. The ledger cuts seconds off: what it has of a second is told after what led to it."""

    def read(
        organization: Organization, id: uuid.UUID, source: int, most: int, before: Place | None
    ) -> Iterator[Entry]:
        held = _held(organization, id).filter(which)
        until = {f"{field}__{'lte' if source < before.source else 'lt'}": before.at - WITHIN} if before else {}
        timed = held.filter(**{f"{field}__isnull": False}, **until).order_by().values_list(field)
        rows = timed.annotate(n=Count("id"), names=Names("instance__name")).order_by(f"-{field}")
        for at, count, names in rows[:most]:
            named = f": {', '.join(sorted(names))}" if count <= NAMED else ""
            yield Entry(Place(at + WITHIN, source, 0), at, Kind.INSTANCES, SYSTEM, what,
                        f"{counted(count, 'instance')} {text}{named}", instances=count)  # fmt: skip

    return read


LOST = Q(instance__lost_at__isnull=False) & Q(ended_at__gte=TruncSecond(F("instance__lost_at")))
# Of one moment the last of them is told first: what was asked for came before what came of it.
SOURCES: tuple[Callable[..., Iterator[Entry]], ...] = (
    _asked,
    _of_ledger("ALLOCATED", "started_at", Q(), "allocated"),
    _of_ledger("GIVEN_UP", "ended_at", ~LOST, "given up"),
    _of_ledger("LOST", "ended_at", LOST, "lost"),
    _told,
)
