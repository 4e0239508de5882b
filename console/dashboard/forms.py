"""How forms look, and the forms of the pages. Rules are the services'; forms only know shapes."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.forms.boundfield import BoundField
from django.forms.renderers import TemplatesSetting

from console.dashboard.labels import lines_field
from deployments.core.params import Params


class TablerField(BoundField):
    """Adds the classes of the UI kit, and says when the field is wrong."""

    def as_widget(self, widget: Any = None, attrs: Any = None, only_initial: bool = False) -> Any:
        widget = widget or self.field.widget
        attrs = dict(attrs or {})
        kind = "form-select" if isinstance(widget, forms.Select) else "form-control"
        if not isinstance(widget, forms.CheckboxInput | forms.RadioSelect | forms.CheckboxSelectMultiple):
            attrs.setdefault("class", kind + (" is-invalid" if self.errors else ""))
        return super().as_widget(widget, attrs, only_initial)


class TablerRenderer(TemplatesSetting):
    form_template_name = "parts/form.html"
    field_template_name = "parts/field.html"
    bound_field_class = TablerField


ON, OFF = "on", "off"


class AutoscalingForm(forms.Form):
    """The autoscaling block of a deployment; empty means unset."""

    min = forms.IntegerField(label="Min replicas", min_value=1, help_text="Never fewer run. At least 1.")
    max = forms.IntegerField(label="Max replicas", min_value=1, help_text="Never more run. Equal to min: fixed size.")
    concurrency = forms.IntegerField(
        label="Target concurrency", min_value=1, required=False,
        help_text="Requests that one replica is to have in flight. Empty: 8.",
    )  # fmt: skip
    priority = forms.IntegerField(
        label="Priority", min_value=0, max_value=1000, required=False,
        help_text="0 to 1000; higher gets scarce GPUs first. Empty: 0.",
    )  # fmt: skip
    classes = forms.ChoiceField(
        label="Capacity", required=False,
        choices=[
            ("", "Reserved, then on demand (default)"),
            ("CAPACITY_CLASS_RESERVED", "Reserved only: the organization's claims"),
            ("CAPACITY_CLASS_ON_DEMAND", "On demand only: the unclaimed pool"),
            ("CAPACITY_CLASS_RESERVED,CAPACITY_CLASS_ON_DEMAND", "Reserved, then on demand (stated)"),
            ("CAPACITY_CLASS_ON_DEMAND,CAPACITY_CLASS_RESERVED", "On demand, then reserved"),
        ],
    )  # fmt: skip
    scale_down_s = forms.FloatField(
        label="Scale-down delay, seconds", min_value=0, max_value=86_400, required=False,
        help_text=f"Shrinks to the most that load asked for within so long. Empty: {Params().scale_down_s:g}.",
    )  # fmt: skip
    look_ahead = forms.ChoiceField(
        label="Look-ahead", required=False, initial=ON, choices=[(ON, "On (default)"), (OFF, "Off")],
        help_text="Keeps replicas for what is expected by the time that another would be ready; never fewer than load asks for.",
    )  # fmt: skip


class DeploymentForm(AutoscalingForm):
    """A new deployment."""

    field_order = [
        "name",
        "gateway",
        "engine",
        "instance_type",
        "gpu_count",
        "model_name",
        "model_bucket",
        "model_path",
        "model_memory_gib",
    ]

    scale_down_s = None  # type: ignore[assignment]  # set once there is something to shrink
    name = forms.CharField(max_length=63, help_text="Letters, digits and hyphens; fixed afterwards.")
    gateway = forms.ChoiceField(help_text="Its zones limit where replicas may run.")
    engine = forms.ChoiceField(label="Engine and version")
    instance_type = forms.ChoiceField(label="Instance type")
    gpu_count = forms.TypedChoiceField(
        label="GPUs per replica", coerce=int, choices=[(count, count) for count in (1, 2, 4, 8, 16)]
    )
    model_name = forms.CharField(label="Model name", max_length=63, help_text="What callers ask for.")
    model_memory_gib = forms.IntegerField(
        label="GPU memory of the weights, GiB", min_value=1, max_value=100_000, required=False,
        help_text="Of one replica. Empty: estimated from the model's name.",
    )  # fmt: skip
    model_bucket = forms.CharField(label="Bucket of the weights", max_length=63)
    model_path = forms.CharField(label="Path in the bucket", max_length=1024)
    labels = lines_field("Labels, one key=value a line", "Such as team=search. They sort lists, bills and exports.")


UNTIL_ENDED = "ended"
SPANS = {"1h": ("1 hour", timedelta(hours=1)), "4h": ("4 hours", timedelta(hours=4)), "12h": ("12 hours", timedelta(hours=12)),
         "1d": ("1 day", timedelta(days=1)), "7d": ("7 days", timedelta(days=7))}  # fmt: skip


class FreezeForm(forms.Form):
    """Why scaling is to stop, and for how long."""

    reason = forms.CharField(max_length=200, help_text="Others read it: an incident, a launch, a test.")
    lasts = forms.ChoiceField(
        label="Until", choices=[("", "Choose"), *((key, f"{words} from now") for key, (words, _) in SPANS.items()),
                                (UNTIL_ENDED, "somebody ends it")],
    )  # fmt: skip

    def expires_at(self, now: datetime) -> datetime | None:
        """None: until it is ended."""
        lasts = self.cleaned_data["lasts"]
        return None if lasts == UNTIL_ENDED else now + SPANS[lasts][1]


class HoldForm(FreezeForm):
    """A freeze or a pin of one deployment."""

    field_order = ["kind", "size", "reason", "lasts"]

    kind = forms.ChoiceField(
        label="What", choices=[("FREEZE", "Freeze: the size stays as it is"), ("PIN", "Pin: to a number of replicas")]
    )
    size = forms.IntegerField(label="Replicas", min_value=1, required=False, help_text="Of a pin; within min and max.")


class NoteForm(forms.Form):
    """A note on the charts."""

    text = forms.CharField(label="What happened", max_length=200)
    at = forms.DateTimeField(
        label="When (UTC)", required=False, help_text="Empty: now.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )  # fmt: skip

    def moment(self) -> datetime | None:
        at: datetime | None = self.cleaned_data["at"]
        return at.astimezone(UTC) if at else None


class MemoryForm(forms.Form):
    """What the model needs."""

    gib = forms.IntegerField(
        label="GPU memory of the weights, GiB", min_value=1, max_value=100_000, required=False,
        help_text="Of one replica. Empty: estimated from the model's name.",
    )  # fmt: skip


class BulkForm(forms.Form):
    """What to do with the deployments that are ticked."""

    action = forms.ChoiceField(choices=[("priority", "Set priority"), ("enable", "Enable"), ("disable", "Disable")])
    priority = forms.IntegerField(min_value=0, max_value=1000, required=False, help_text="0 to 1000.")

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        if data.get("action") == "priority" and data.get("priority") is None and "priority" not in self.errors:
            self.add_error("priority", "value is required: 0 to 1000")
        return data


class CountForm(forms.Form):
    """A new size of a claim."""

    count = forms.IntegerField(label="Instances", min_value=1, max_value=2**32 - 1)
