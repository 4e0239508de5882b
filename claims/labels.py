"""Labels of claims and deployments as they are now, and of what is gone as they were last. They sort pages, lists and bills."""

import uuid
from collections.abc import Iterable, Mapping
from typing import TypeVar

from django.db.models import Model, Q, QuerySet

from claims.models import Labels, UsageKind
from console.organizations.models import Organization

Row = TypeVar("Row", bound=Model)
Holder = tuple[str, uuid.UUID]  # kind and id, as the ledger has them


def labels_get(organization: Organization, kind: UsageKind, id: uuid.UUID) -> dict[str, str]:
    """Of one claim or deployment; empty where there are none."""
    return labels_of(organization, kind, [id]).get(id, {})


def labels_of(organization: Organization, kind: UsageKind, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, dict[str, str]]:
    """By id, of those that have any: one query."""
    found = Labels.objects.filter(organization=organization, kind=kind, holder_id__in=list(ids))
    return dict(found.exclude(labels={}).order_by("id").values_list("holder_id", "labels"))


def labels_of_all(organization: Organization) -> dict[Holder, dict[str, str]]:
    """Of everything that has any, what is gone too: one query."""
    found = Labels.objects.filter(organization=organization).exclude(labels={}).order_by("id")
    return {(kind, holder): labels for kind, holder, labels in found.values_list("kind", "holder_id", "labels")}


def holders_with(labels: Mapping[Holder, Mapping[str, str]], key: str, value: str | None = None) -> frozenset[Holder]:
    """Those that have the label; None: with any value."""
    return frozenset(
        one for one, mine in labels.items() if key in mine and value in (None, mine[key])
    )  # fmt: skip


def labelled(
    rows: "QuerySet[Row]", organization: Organization, kind: UsageKind, wanted: Mapping[str, str | None] | None
) -> "QuerySet[Row]":
    """Those of the organization's claims or deployments that have all these labels (`common.labels.wanted_labels`)."""
    if wanted is None:
        return rows.none()
    if not wanted:
        return rows
    values = {key: value for key, value in wanted.items() if value is not None}
    asked = Q(labels__has_keys=[key for key in wanted if key not in values]) & Q(labels__contains=values)
    found = Labels.objects.filter(asked, organization=organization, kind=kind)
    return rows.filter(id__in=found.values("holder_id"))
