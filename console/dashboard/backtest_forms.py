"""The form of a backtest: which demand, and what to compare under it."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms

from claims.models import InstanceType
from console.common.errors import InvalidArgument
from console.organizations.models import Organization
from deployments.backtests.asked import Asked, Variant
from deployments.backtests.baselines import BASELINES
from deployments.backtests.services import MOST_BYTES
from deployments.models import Deployment
from deployments.models.deployment import GPU_COUNTS
from deployments.selectors import deployments_of

ROWS = 3  # variants that the page has room for
RECORDED, TRACE = "recorded", "trace"
USUAL = timedelta(hours=24)
MINUTE = "%Y-%m-%dT%H:%M"
OF_A_VARIANT = re.compile(r"variants\[(\d+)\]\.(\w+)")


def moment(label: str, **kwargs: Any) -> forms.DateTimeField:
    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format=MINUTE)
    return forms.DateTimeField(label=label, required=False, widget=widget, **kwargs)


class BacktestForm(forms.Form):
    """What is replayed, and the policies beside the variants."""

    deployment = forms.ChoiceField(help_text="Its settings of today are what everything is compared with.")
    demand = forms.ChoiceField(
        choices=[(RECORDED, "Recorded: what really came"), (TRACE, "A trace from a file")],
        help_text="Requests that are replayed.",
    )  # fmt: skip
    start = moment("From (UTC)", help_text="Of recorded demand: at most 8 days, of the last 60.")
    end = moment("Until (UTC)", help_text="Empty: now.")
    trace = forms.FileField(
        label="Trace", required=False, help_text="CSV of timestamp_s and service_s (optional), or of window_start_s, requests_per_s "
                                                 "and burstiness_cv; times in seconds. At most 16 MB and 500,000 rows.",
    )  # fmt: skip
    scale = forms.FloatField(label="Scale", initial=1, required=False, help_text="Times the requests of the trace.")
    mean_service_s = forms.FloatField(
        label="Mean service time, s", initial=8, required=False, help_text="Where the trace has none."
    )
    baselines = forms.MultipleChoiceField(
        label="Beside them", choices=list(BASELINES.items()), required=False, widget=forms.CheckboxSelectMultiple(attrs={"class": "form-check-input"}),
        help_text="Other autoscalers with their published defaults, within the deployment's min and max; and sizes that "
                  "nobody could have known.",
    )  # fmt: skip


class VariantForm(forms.Form):
    """What is other than it is set; empty is as it is set."""

    name = forms.CharField(max_length=40, required=False, help_text="Empty: named for what differs.")
    min = forms.IntegerField(label="Min replicas", min_value=1, required=False)
    max = forms.IntegerField(label="Max replicas", min_value=1, required=False)
    concurrency = forms.IntegerField(label="Target concurrency", min_value=1, required=False)
    scale_down_s = forms.FloatField(label="Scale-down delay, s", min_value=0, required=False)
    instance_type = forms.ChoiceField(label="Instance type", required=False)
    gpu_count = forms.TypedChoiceField(
        label="GPUs per replica", coerce=int, empty_value=None, required=False,
        choices=[("", "As set"), *((count, count) for count in GPU_COUNTS)],
    )  # fmt: skip
    slots = forms.IntegerField(label="Requests at once", min_value=1, required=False)
    start_up_s = forms.FloatField(label="Start-up time, s", min_value=0, required=False)
    usd_per_gpu_hour = forms.DecimalField(label="Price, USD a GPU-hour", min_value=0, required=False)
    claim_instances = forms.IntegerField(label="Only a claim of, instances", min_value=1, required=False)

    CORE = ("name", "min", "max", "concurrency", "scale_down_s")

    @property
    def core(self) -> list[Any]:
        return [self[name] for name in self.CORE]

    @property
    def machines(self) -> list[Any]:
        return [self[name] for name in self.fields if name not in self.CORE]

    @property
    def other_machines(self) -> bool:
        """Whether anything is said about machines."""
        return any(self.data.get(self.add_prefix(field.name)) or field.errors for field in self.machines)


class BacktestForms:
    """The form and its rows of variants."""

    def __init__(
        self, organization: Organization, data: Any = None, files: Any = None, initial: Mapping[str, Any] | None = None
    ) -> None:
        self.form = BacktestForm(data, files, initial=dict(initial or {}))
        self.variants = [
            VariantForm(data, prefix=f"v{row}", initial=_initial(initial or {}, f"v{row}-")) for row in range(ROWS)
        ]
        found = deployments_of(organization).order_by("name")
        self.form.fields["deployment"].choices = [(str(one.id), one.name) for one in found]  # type: ignore[attr-defined]
        types = [
            ("", "As set"),
            *((name, name) for name in InstanceType.objects.order_by("name").values_list("name", flat=True)),
        ]
        for row in self.variants:
            row.fields["instance_type"].choices = types  # type: ignore[attr-defined]

    def is_valid(self) -> bool:
        return all([self.form.is_valid(), *(row.is_valid() for row in self.variants)])

    @property
    def filled(self) -> list[int]:
        """Rows in which something is said."""
        return [
            place for place, row in enumerate(self.variants) if any(_said(value) for value in row.cleaned_data.values())
        ]

    def too_large(self) -> bool:
        """Whether the file is, before any of it is read; the form then says so."""
        trace = self.form.cleaned_data.get("trace")
        if trace is None or trace.size <= MOST_BYTES:
            return False
        self.form.add_error("trace", f"It has {trace.size:,} bytes; at most {MOST_BYTES:,} are taken.")
        return True

    def asked(self) -> Asked:
        data = self.form.cleaned_data
        variants = [Variant(**{name: value for name, value in self.variants[row].cleaned_data.items() if _said(value)})
                    for row in self.filled]  # fmt: skip
        if data["demand"] == TRACE:
            trace = data["trace"]
            return Asked(
                trace=trace.read() if trace else b"", trace_name=trace.name if trace else "",
                scale=1.0 if data["scale"] is None else data["scale"],
                mean_service_s=8.0 if data["mean_service_s"] is None else data["mean_service_s"],
                variants=variants, baselines=data["baselines"],
            )  # fmt: skip
        return Asked(start=_utc(data["start"]), end=_utc(data["end"]), variants=variants, baselines=data["baselines"])

    def add_violations(self, refusal: InvalidArgument) -> None:
        """Each on the field it belongs to, or above the form."""
        for one in refusal.violations:
            of = OF_A_VARIANT.fullmatch(one.field)
            if of and int(of[1]) < len(self.filled):
                self.variants[self.filled[int(of[1])]].add_error(of[2], one.description)
            else:
                self.form.add_error(one.field if one.field in self.form.fields else None, one.description)


def first_values(one: Deployment | None, asked: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """What the form begins with: the last day of the deployment, and what the address proposes (`?v0-max=9`)."""
    begun = {"demand": RECORDED, "start": now - USUAL, "end": now.replace(second=0, microsecond=0),
             "baselines": ["clairvoyant"], "scale": 1, "mean_service_s": 8}  # fmt: skip
    proposed = {name: value for name, value in asked.items() if name.startswith("v")}
    return begun | ({"deployment": str(one.id)} if one else {}) | proposed


def placeholders(forms_: Sequence[VariantForm], one: Deployment | None) -> None:
    """Show in empty fields what is set."""
    if one is None:
        return
    policy = one.autoscaling
    delay = policy.scale_down_delay.total_seconds() if policy.scale_down_delay else 300
    shown = {"min": policy.min, "max": policy.max, "concurrency": policy.concurrency or 8, "scale_down_s": f"{delay:g}"}
    for row in forms_:
        for name, value in shown.items():
            row.fields[name].widget.attrs["placeholder"] = f"{value}"


def _initial(initial: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in initial.items() if name.startswith(prefix)}


def _said(value: Any) -> bool:
    return value not in (None, "")


def _utc(at: datetime | None) -> datetime | None:
    return at.astimezone(UTC) if at else None
