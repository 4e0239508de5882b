"""Labels on pages: shown, edited as lines `key=value`, and asked for in a list's filter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


class LabelsForm(forms.Form):
    """All labels of a claim or a deployment, a line each; `seen` are those that the editor found."""

    labels = forms.CharField(
        label="One key=value a line", required=False, max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text=f"Such as team=search. At most {MOST_LABELS}; what is not here is taken away.",
    )  # fmt: skip
    seen = forms.CharField(required=False, max_length=20_000, widget=forms.HiddenInput)

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> "LabelsForm":
        return cls(initial={"labels": lines_of(labels), "seen": lines_of(labels)}, auto_id="labels_%s")

    def clean_labels(self) -> dict[str, str]:
        return _read(self.cleaned_data["labels"])

    def clean_seen(self) -> dict[str, str]:
        return _read(self.cleaned_data["seen"])


def _read(text: str) -> dict[str, str]:
    try:
        return labels_in(text)
    except ValueError as error:
        raise forms.ValidationError(str(error)) from error
