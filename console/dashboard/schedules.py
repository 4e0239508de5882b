"""Windows of min and max of a deployment as pages have them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from django import forms

from claims.core.windows import Occurrence, occurrences
from claims.window_rows import window_of
from console.common import clock
from console.dashboard import window_forms
from console.dashboard.window_forms import TIMES, RecurringForm
from deployments.models import Deployment, ScheduleWindow
from deployments.schedules.selectors import Coming, coming, schedules_of
from deployments.schedules.services import ScheduleAsked
from deployments.startups import StartUps

PATHS = {**window_forms.PATHS, "min": "min", "max": "max"}
AHEAD, SHOWN = timedelta(days=30), 3
HOUR = timedelta(hours=1)


class ScheduleForm(RecurringForm):
    """What is asked for; the rules are the services'."""

    field_order = ["min", "max", *TIMES]

    min = forms.IntegerField(label="Min replicas", min_value=1, required=False, help_text="Empty: as otherwise.")
    max = forms.IntegerField(label="Max replicas", min_value=1, required=False, help_text="Empty: as otherwise.")

    def schedule(self) -> ScheduleAsked:
        return ScheduleAsked(min=self.cleaned_data["min"], max=self.cleaned_data["max"], **self.times())


@dataclass(frozen=True, slots=True)
class Effect:
    """What a window will do: its next occurrences, how many hours it is open in 30 days, and the replicas it adds to the
    min (0: none)."""

    next: Sequence[Occurrence]
    hours: float
    more: int
    gpu_hours: float


def effect_of(row: ScheduleWindow, deployment: Deployment, now: datetime) -> Effect:
    every = list(occurrences(window_of(row), now, now + AHEAD))
    hours = sum((min(one.end, now + AHEAD) - max(one.start, now)) / HOUR for one in every)
    more = max(0, (row.min or 0) - deployment.autoscaling.min)
    return Effect(list(islice(every, SHOWN)), hours, more, hours * more * deployment.gpu_count)


@dataclass(frozen=True, slots=True)
class Schedules:
    """`lead`: so much before a window begins its replicas are started; None where no replica has ever got ready."""

    rows: Sequence[Coming]
    lead: float | None  # seconds


def schedules_shown(one: Deployment, startups: Sequence[StartUps]) -> Schedules:
    """One query; `startups` are the deployment's."""
    mine = [each.p90.total_seconds() for each in startups if each.instance_type == one.instance_type.name]
    return Schedules(coming(schedules_of(one), clock.now()), mine[0] if mine else None)
