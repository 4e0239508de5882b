"""The audit trail in plain words: what was done, and values as a reader says them. The API has them as they are stored."""

import re
from functools import lru_cache

from django.apps import apps

from deployments.models import CapacityClass

# What was done to the object that is named beside it.
ACTIONS = {
    "backtest.cancel": "Backtest cancelled",
    "backtest.create": "Backtest asked for",
    "budget.clear": "Budget removed",
    "budget.set": "Budget set",
    "channel.change": "Notification channel changed",
    "channel.create": "Notification channel created",
    "channel.delete": "Notification channel deleted",
    "channel.disable": "Notification channel switched off, as its receiver asked",
    "channel.rotate": "Secret of a notification channel renewed",
    "channel.test": "Notification channel tried out",
    "claim.create": "Claim created",
    "claim.delete": "Claim deleted",
    "claim.labels": "Labels of a claim changed",
    "claim.resize": "Claim resized",
    "claim.withdraw": "Reduction of a claim withdrawn",
    "delivery.replay": "Notification sent again",
    "deployment.autoscaling": "Autoscaling of a deployment changed",
    "deployment.create": "Deployment created",
    "deployment.delete": "Deployment deleted",
    "deployment.disable": "Deployment disabled",
    "deployment.enable": "Deployment enabled",
    "deployment.freeze": "Scaling of a deployment frozen",
    "deployment.labels": "Labels of a deployment changed",
    "deployment.shadow": "Shadow switched",
    "schedule.create": "Schedule window added",
    "schedule.change": "Schedule window changed",
    "schedule.delete": "Schedule window deleted",
    "deployment.memory": "Memory that a model needs set",
    "deployment.lookahead": "Look-ahead switched",
    "deployment.pin": "Deployment pinned to a size",
    "deployment.release": "Hold on a deployment ended",
    "deployment.update": "Deployment changed",
    "deployment.zones": "Deployment given other zones, as its gateways changed",
    "fleet.freeze": "Scaling of the whole fleet frozen",
    "fleet.pin": "Whole fleet pinned",
    "fleet.release": "Hold on the whole fleet ended",
    "gateway.create": "Gateway created",
    "gateway.delete": "Gateway deleted",
    "gateway.update": "Gateway changed",
    "history.cancel": "Making of simulated history cancelled",
    "history.request": "Simulated history asked for",
    "instance.bad": "Instance marked bad",
    "instance.clear": "Work on an instance ended",
    "instance.cordon": "Instance cordoned",
    "instance.drain": "Instance drained for work",
    "member.remove": "Member removed",
    "member.set": "Member given a role",
    "note.create": "Note written on the charts",
    "note.delete": "Note deleted from the charts",
    "notice.acknowledge": "Notice acknowledged",
    "notice.show": "Notice shown again",
    "notice.snooze": "Notice snoozed",
    "objective.clear": "Objective of a deployment removed",
    "objective.set": "Objective of a deployment set",
    "offering.claimable": "Whether an offering can be claimed changed",
    "offering.restore": "Offering restored",
    "offering.withdraw": "Offering withdrawn",
    "organization.create": "Organization created",
    "organization.freeze": "Scaling of all deployments frozen",
    "organization.pin": "All deployments pinned",
    "organization.release": "Hold on all deployments ended",
    "pool.adopt": "Machines that were there taken into a pool",
    "pool.resize": "Pool resized",
    "price.set": "Price set",
    "quota.approve": "Request for quota approved",
    "quota.recall": "Request for quota taken back",
    "quota.refuse": "Request for quota refused",
    "quota.request": "More quota asked for",
    "quota.set": "Quota set",
    "replica.restart": "Replica asked to start anew",
    "statement.close": "Statement closed",
    "token.create": "Token created",
    "token.revoke": "Token revoked",
    "window.change": "Window of a claim changed",
    "window.create": "Window of a claim created",
    "window.delete": "Window of a claim deleted",
}  # fmt: skip

# Values that are stored as names and whose words are not simply these in lower case.
VALUES = {
    "API_TYPE_OPENAI": "OpenAI",
    "BAD": "marked bad",
    "CORDON": "cordoned",
    "DRAIN": "being drained",
    "FREEZE": "frozen",
    "PIN": "pinned",
}  # fmt: skip
WIRE = re.compile(r"(STATUS|CAPACITY_CLASS|CAPACITY_TYPE|API_TYPE)_([A-Z_]+)")  # names of the vendor's API
MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?(Z|\+00:00)")


def action_in_words(name: str) -> str:
    return ACTIONS.get(name) or name.replace(".", " ").replace("_", " ").capitalize()


@lru_cache(maxsize=1)
def stored_names() -> frozenset[str]:
    """Every name that a field of a model can have, and those of capacity classes."""
    fields = [field for model in apps.get_models() for field in model._meta.get_fields()]
    choices = [value for field in fields for value, _ in getattr(field, "flatchoices", ())]
    names = {value for value in choices if isinstance(value, str) and value.isupper()}
    return frozenset(names | set(CapacityClass.labels))


def value_in_words(value: str) -> str:
    """A stored name, or one of the API, as a reader says it, and a time as pages write them; anything else as it is."""
    if moment := MOMENT.fullmatch(value):
        return f"{moment[1]} {moment[2]} UTC"
    wire = WIRE.fullmatch(value)
    if not wire and value not in stored_names():
        return value
    return VALUES.get(value) or (wire[2] if wire else value).lower().replace("_", " ")
