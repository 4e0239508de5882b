"""Recurring windows over the API, those of claims and of deployments alike."""

from datetime import datetime, timedelta
from typing import Any

from rest_framework import serializers

from claims.core.conditions import timestamp
from claims.core.windows import LONGEST, Occurrence
from console.common.errors import FieldViolation, InvalidArgument

WALL = "%Y-%m-%dT%H:%M"
MINUTE = timedelta(minutes=1)
MOST_MINUTES = LONGEST // MINUTE


class RecurringShape(serializers.Serializer):  # type: ignore[type-arg]
    start = serializers.CharField(help_text="Wall time of the time zone at which it first begins: 2026-12-01T08:00.")
    durationMinutes = serializers.IntegerField(help_text="It lasts exactly so long, whatever the clocks do.")
    recurrence = serializers.CharField(help_text="FREQ=DAILY, WEEKLY or MONTHLY with INTERVAL, BYDAY, BYMONTHDAY.")
    timeZone = serializers.CharField(help_text="Name in the IANA database: Europe/Berlin.")


class OccurrenceShape(serializers.Serializer):  # type: ignore[type-arg]
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()


def given_in(sent: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """What was sent of a window, by the names of what is asked for; `names`: those of the fields that only its kind has.
    InvalidArgument for times of another form."""
    named = {"recurrence": "recurrence", "timeZone": "time_zone", "until": "until", **names}
    given = {name: sent[key] for key, name in named.items() if key in sent}
    wrong: list[FieldViolation] = []
    if "start" in sent:
        given["start"] = _wall(sent["start"], wrong)
    if "durationMinutes" in sent:
        if not 1 <= sent["durationMinutes"] <= MOST_MINUTES:
            wrong.append(FieldViolation("duration_minutes", f"must be from 1 to {MOST_MINUTES}"))
        else:
            given["duration"] = sent["durationMinutes"] * MINUTE
    if wrong:
        raise InvalidArgument(wrong)
    return given


def _wall(text: str, wrong: list[FieldViolation]) -> datetime | None:
    try:
        return datetime.strptime(text, WALL)  # noqa: DTZ007 - a wall time; its zone has a field of its own
    except ValueError:
        wrong.append(FieldViolation("start", "must be a wall time without an offset, such as 2026-12-01T08:00"))
        return None


def occurrence_to(one: Occurrence | None) -> dict[str, str] | None:
    return {"start": timestamp(one.start), "end": timestamp(one.end)} if one else None
