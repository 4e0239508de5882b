"""The form of a recurring window: a recurrence is chosen, not written."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.forms.boundfield import BoundField

from claims.core.recurrence import MOST_INTERVAL, WEEKDAYS, Freq, Recurrence, parsed
from claims.core.window_rules import WindowAsked
from claims.core.windows import LONGEST, zone_names
from claims.models.recurring import RecurringWindow
from console.dashboard.forms import CountForm

DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTH_DAYS = [("", "The day of the first"), *((str(one), f"Day {one}") for one in range(1, 32)), ("-1", "The last day")]
WALL = "%Y-%m-%dT%H:%M"
# Which field says what the services refuse.
PATHS = {"start": "start", "duration": "hours", "recurrence": "repeats", "time_zone": "zone", "instance_count": "count",
         "until": "until"}  # fmt: skip


TIMES = ["zone", "start", "hours", "minutes", "repeats", "interval", "days", "month_day", "until"]


class RecurringForm(forms.Form):
    """When a window comes."""

    zone = forms.ChoiceField(label="Time zone", help_text="Beginnings keep their place on its clock.")
    start = forms.CharField(
        label="First begins", widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format=WALL),
        help_text="Wall time of the time zone.",
    )  # fmt: skip
    hours = forms.IntegerField(
        label="Lasts, hours", min_value=0, max_value=LONGEST // timedelta(hours=1), initial=1,
        help_text="Exactly so long, whatever the clocks do.",
    )  # fmt: skip
    minutes = forms.IntegerField(label="and minutes", min_value=0, max_value=59, initial=0)
    repeats = forms.ChoiceField(
        choices=[(Freq.DAILY.value, "By days"), (Freq.WEEKLY.value, "By weeks"), (Freq.MONTHLY.value, "By months")]
    )
    interval = forms.IntegerField(
        label="Every", min_value=1, max_value=MOST_INTERVAL, initial=1, help_text="1: each day, week or month."
    )
    days = forms.MultipleChoiceField(
        label="Days of the week", choices=list(zip(WEEKDAYS, DAY_NAMES, strict=True)), required=False,
        widget=forms.CheckboxSelectMultiple, help_text="By weeks; none: the day of the first.",
    )  # fmt: skip
    month_day = forms.MultipleChoiceField(
        label="Days of the month", choices=MONTH_DAYS[1:], required=False, help_text="By months; none: the day of the first.",
        widget=forms.SelectMultiple(attrs={"size": 4}),
    )  # fmt: skip
    until = forms.DateField(
        label="Until", required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="The last day on which it may begin. Empty: for good.",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        zone = self.fields["zone"]
        assert isinstance(zone, forms.ChoiceField)
        zone.choices = [(one, one) for one in sorted(zone_names())]

    def clean_start(self) -> datetime:
        try:
            return datetime.strptime(self.cleaned_data["start"], WALL)  # noqa: DTZ007 - its zone is another field
        except ValueError as error:
            raise forms.ValidationError("must be a day and a time, such as 2026-12-01T08:00") from error

    def own(self) -> list[BoundField]:
        """The fields that say something else than when."""
        return [field for field in self if field.name not in TIMES]

    def times(self) -> dict[str, Any]:
        """When it is asked for, by the names of what is asked for."""
        data = self.cleaned_data
        return {
            "start": data["start"], "duration": timedelta(hours=data["hours"], minutes=data["minutes"]),
            "recurrence": str(recurrence_of(data)), "time_zone": data["zone"], "until": data["until"],
        }  # fmt: skip


class WindowForm(RecurringForm, CountForm):
    """What is asked for; the rules are the services'."""

    field_order = ["count", *TIMES]

    def asked(self) -> WindowAsked:
        return WindowAsked(instance_count=self.cleaned_data["count"], **self.times())


def recurrence_of(data: dict[str, Any]) -> Recurrence:
    freq = Freq(data["repeats"])
    days: tuple[int, ...] = ()
    if freq == Freq.WEEKLY:
        days = tuple(WEEKDAYS.index(one) for one in data["days"])
    elif freq == Freq.MONTHLY:
        days = tuple(sorted(map(int, data["month_day"]), key=lambda one: (one < 0, one)))
    return Recurrence(freq, data["interval"], days)


def times_of(row: RecurringWindow) -> dict[str, Any]:
    """The form's values for when a window comes that is to be changed."""
    minutes = row.duration // timedelta(minutes=1)
    rule = parsed(row.recurrence)
    weekly = rule.freq == Freq.WEEKLY
    return {
        "zone": row.time_zone, "start": datetime.combine(row.first, row.at).strftime(WALL),
        "hours": minutes // 60, "minutes": minutes % 60, "until": row.until,
        "repeats": rule.freq.value, "interval": rule.interval,
        "days": [WEEKDAYS[one] for one in rule.days] if weekly else [],
        "month_day": [] if weekly else [str(one) for one in rule.days],
    }  # fmt: skip
