"""The part "Objective" of a deployment's page, its form, and the page with what was chosen."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django import forms

from deployments.core.objective import Objective
from deployments.history.selectors import history_span
from deployments.models import Deployment, DeploymentObjective, ObjectiveChoice
from deployments.models.objective import LEAST_SHARE, MOST_SHARE
from deployments.objective.demand import Came, came
from deployments.objective.selectors import choices_of
from deployments.objective.words import (
    advice_in_words,
    percent,
    setting_in_words,
    trigger_in_words,
    why_in_words,
)

SHOWN = 20
PATHS = {"share": "percent", "longest_wait": "percent", "price_ceiling": "price_ceiling"}


class ObjectiveForm(forms.Form):
    """What is to be served. The rules are the service's."""

    percent = forms.DecimalField(
        label="Requests that wait at most 1 s, %", min_value=Decimal(str(100 * LEAST_SHARE)),
        max_value=Decimal(str(100 * MOST_SHARE)), decimal_places=2, initial=Decimal(99),
        help_text="50 to 99.9. 99 suits what people wait for.",
    )  # fmt: skip
    price_ceiling = forms.DecimalField(
        label="At most, USD an hour", required=False, max_digits=9, decimal_places=2, min_value=Decimal("0.01"),
        help_text="All replicas at the on-demand price. Empty: max alone.",
    )  # fmt: skip

    @property
    def share(self) -> float:
        return float(self.cleaned_data["percent"] / 100)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A choice with its sentences."""

    row: ObjectiveChoice
    trigger: str
    why: str
    setting: str
    advice: list[str]

    @property
    def before_hours(self) -> float | None:
        return self.row.before_gpu_hours

    @property
    def saved(self) -> float | None:
        """GPU-hours less than the setting before, as a share of those."""
        before, after = self.row.before_gpu_hours, self.row.expected_gpu_hours
        return None if not before or after is None else 1 - after / before


@dataclass(frozen=True, slots=True)
class Part:
    """What the card of the deployment's page shows."""

    row: DeploymentObjective
    setting: str
    chosen: Chosen | None
    asked: str
    last_hour: str | None

    @property
    def state(self) -> str:
        """`short`, `met`, `unknown`: how the last hour stands against the objective."""
        if self.row.reached is None:
            return "unknown"
        return "met" if self.row.reached >= self.row.share else "short"


def part_of(row: DeploymentObjective | None) -> Part | None:
    if row is None:
        return None
    return Part(
        row=row,
        setting=setting_in_words(row.target, row.scale_down_delay, row.floor, row.ahead),
        chosen=chosen_of(row.choice) if row.choice else None,
        asked=percent(row.share),
        last_hour=None if row.reached is None else percent(row.reached),
    )


def chosen_of(row: ObjectiveChoice) -> Chosen:
    setting = setting_in_words(row.target, row.scale_down_delay, row.floor, row.ahead)
    return Chosen(row, trigger_in_words(row), why_in_words(row), setting, advice_in_words(row))


def form_of(row: DeploymentObjective | None, *, money: bool) -> ObjectiveForm:
    """As it is set now. Who does not see money sees no ceiling, and may not set any."""
    form = ObjectiveForm(auto_id="objective_%s", initial={} if row is None else {
        "percent": Decimal(str(round(row.share * 100, 4))).normalize(), "price_ceiling": row.price_ceiling})  # fmt: skip
    if not money:
        del form.fields["price_ceiling"]
    return form


def objective_context(
    one: Deployment, row: DeploymentObjective | None, now: datetime, before: int | None
) -> dict[str, Any]:
    """What the page of its own shows. Few queries, however many choices there are."""
    choices = choices_of(one, SHOWN + 1, before)
    since = row.set_at if row else now
    real = came(one, since, now) if row else Came(None, None)
    return {
        "deployment": one,
        "objective": part_of(row),
        "came": real,
        "came_share": None if real.share is None else percent(real.share),
        "since": max(since, now - timedelta(days=1)),
        "choices": [chosen_of(choice) for choice in choices[:SHOWN]],
        "older": choices[SHOWN - 1].pk if len(choices) > SHOWN else None,
        "made": history_span([one.key]),
        "known_hours": Objective().known + 1,
    }
