"""What was chosen, and why, in sentences; and what would have met an objective that nothing met."""

from datetime import timedelta
from typing import Any

from console.common.words import counted
from deployments.models import ObjectiveChoice, Trigger, Unavailable, Why

TRIGGERS = {
    Trigger.SET: "The objective was set.", Trigger.DAILY: "A day had passed since the choice before.",
    Trigger.POLICY: "Min, max, slots or the price ceiling had changed.",
    Trigger.STARTUP: "Start-ups take another time than the choice before went by.",
    Trigger.SHORT: "Over the last hour fewer requests were served in time than the objective asks for.",
    Trigger.ENOUGH: "Enough has been seen to choose by.",
}  # fmt: skip
WHYS = {
    Why.PRESET: "Too little has been seen to choose by: the preset.",
    Why.CHEAPEST: "The cheapest setting that would have met the objective.",
    Why.KEPT: "The setting gone by still meets the objective, and no other is cheaper by 2 %.",
    Why.NEAREST: "No setting would have met the objective; this one lacks least for what it costs.",
}
LACKS = {
    Unavailable.COUNTERS: "Not available: the runtime counted no request in the time that could be replayed.",
    Unavailable.STARTUPS: "Not available yet: no replica of the model has been seen to start, so its start-up time is unknown.",
}


def percent(share: float) -> str:
    """Two decimals, rounded down: what falls short never shows as reached."""
    return f"{int(share * 1e4 + 1e-6) / 100:.2f} %"


def span(seconds: float) -> str:
    """Minutes from two of them on."""
    return f"{seconds / 60:.3g} min" if seconds >= 120 else f"{seconds:.3g} s"


def why_in_words(choice: ObjectiveChoice) -> str:
    if choice.lacks:
        return LACKS[Unavailable(choice.lacks)]
    return WHYS[Why(choice.why)]


def trigger_in_words(choice: ObjectiveChoice) -> str:
    return TRIGGERS[Trigger(choice.trigger)]


def setting_in_words(target: int, delay: timedelta, floor: int, ahead: float) -> str:
    kept = f", at least {counted(floor, 'replica')}" if floor else ""
    most = f"{counted(target, 'request')} a replica"
    looks = f", a margin for growth that suffices {percent(ahead)} of the time" if ahead else ""
    return f"{most}{looks}, {span(delay.total_seconds())} until it shrinks{kept}"


def advice_in_words(choice: ObjectiveChoice) -> list[str]:
    """A sentence each; none where the objective was met."""
    return [one for each in choice.advice if (one := _advised(each, choice))]


def _advised(each: dict[str, Any], choice: ObjectiveChoice) -> str:
    match each.get("kind"):
        case "share":
            return f"Under min {choice.min} and max {choice.max} no setting reaches more than {percent(each['share'])}."
        case "max":
            return f"A max of {each['max']} instead of {choice.max} would have met it: {percent(each['share'])}."
        case "startup":
            now = f" instead of {span(choice.startup.total_seconds())}" if choice.startup else ""
            return f"Start-ups of {span(each['seconds'])}{now} would have met it: {percent(each['share'])}."
        case "capacity":
            return f"For {each['hours']:g} h of the last day no GPUs were to be had: settings do not help against that."
    return ""
