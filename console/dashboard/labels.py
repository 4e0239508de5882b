"""Labels on pages: shown, edited as lines `key=value`, and asked for in a list's filter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms

from console.common.errors import InvalidArgument
from console.common.labels import MOST_LABELS, wanted_labels

MOST_SHOWN = 3  # in the row of a list
MOST_TEXT = 1000  # characters of a filter
Wanted = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Label:
    """One label, and the query of lists that have it."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}"

    @property
    def query(self) -> str:
        return urlencode({"label": str(self)})


@dataclass(frozen=True, slots=True)
class Few:
    """What the row of a list has room for, and how many more there are."""

    shown: Sequence[Label]
    more: int


def in_order(labels: Mapping[str, str]) -> list[Label]:
    return [Label(key, labels[key]) for key in sorted(labels)]


def few(labels: Mapping[str, str]) -> Few:
    found = in_order(labels)
    return Few(found[:MOST_SHOWN], max(0, len(found) - MOST_SHOWN))


def lines_of(labels: Mapping[str, str]) -> str:
    return "\n".join(map(str, in_order(labels)))


def labels_in(text: str) -> dict[str, str]:
    """What lines `key=value` say; ValueError, in words, for a line that is none and for a key that comes twice."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        key, equals, value = (part.strip() for part in line.strip().partition("="))
        if not (key or equals):
            continue
        if not equals:
            raise ValueError(f"line {number} is not key=value")
        if key in found:
            raise ValueError(f"line {number}: {key} is there already")
        found[key] = value
    return found


def asked_labels(text: str) -> Wanted | None:
    """What the text of a filter asks for: labels with commas or spaces between; None where nothing can be like that."""
    try:
        return wanted_labels(text.replace(",", " ").split())
    except InvalidArgument:
        return None


class LabelLines(forms.CharField):
    """Labels as lines `key=value`. What keys and values may be is for the services to say."""

    widget = forms.Textarea

    def __init__(self, **given: Any) -> None:
        super().__init__(required=False, max_length=20_000, **given)

    def clean(self, value: Any) -> dict[str, str]:
        text = super().clean(value)
        try:
            return labels_in(text)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


def lines_field(label: str, hint: str) -> LabelLines:
    widget = forms.Textarea(attrs={"rows": 4, "spellcheck": "false"})
    return LabelLines(label=label, help_text=hint, widget=widget)


class LabelsForm(forms.Form):
    """All labels of a claim or a deployment; `seen` are those that the editor found."""

    labels = lines_field(
        "One key=value a line", f"Such as team=search. At most {MOST_LABELS}; what is not here is taken away."
    )
    seen = LabelLines(widget=forms.HiddenInput)

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> "LabelsForm":
        return cls(initial={"labels": lines_of(labels), "seen": lines_of(labels)}, auto_id="labels_%s")
