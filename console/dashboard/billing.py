"""A month's bill as tables: by claim, deployment, type, zone, day or the values of a label. Every row knows the intervals it is the sum of."""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse

from claims.bills import REST_OF, Amount, Month, amount, amounts
from claims.core.rating import PriceMissing
from claims.forecast import Forecast
from claims.labels import Holder
from claims.metering import UsageRow
from claims.models import CapacityClaim, Offering, UsageKind
from console.organizations.models import Organization
from deployments.models import Deployment


@dataclass(frozen=True, slots=True)
class Line:
    """A row: what it is called, its page where it has one, what picks its intervals, and its amounts."""

    name: str
    id: str
    url: str | None
    chosen: Mapping[str, str]
    amount: Amount
    share: float
    gone: bool = False
    ahead: Decimal | None = None

    @property
    def foreseen(self) -> Decimal | None:
        return None if self.ahead is None else self.amount.total + self.ahead

    @property
    def query(self) -> str:
        return urlencode(self.chosen)


@dataclass(frozen=True, slots=True)
class Table:
    """One way to cut the bill. `kind` is what has lines of its own; all of the other kind is one line, called `rest`, so
    that the lines add up to the whole."""

    key: Callable[[UsageRow, Mapping[int, Offering]], Hashable]
    title: str
    kind: UsageKind | None = None
    rest: str = ""
    note: str = ""

    def key_of(self, row: UsageRow, offerings: Mapping[int, Offering]) -> Hashable:
        return self.key(row, offerings) if self.kind in (None, row.kind) else None

    @property
    def heading(self) -> str:
        return self.title[0].lower() + self.title[1:]


TABLES = {
    "claim": Table(lambda row, _: row.holder_id, "Claim", UsageKind.CLAIM, REST_OF[UsageKind.REPLICA],
                   "Claims are paid for each instance from ready to release, used or not; what runs on them costs no more. "
                   "Replicas on the unclaimed pool are one row."),
    "deployment": Table(lambda row, _: row.holder_id, "Deployment", UsageKind.REPLICA, REST_OF[UsageKind.CLAIM],
                        "Replicas on the unclaimed pool, for their GPUs. Replicas on claims are paid with the claim: all "
                        "claims are one row."),
    "type": Table(lambda row, offerings: offerings[row.offering_key].instance_type.name, "Instance type"),
    "zone": Table(lambda row, offerings: offerings[row.offering_key].zone.name, "Zone"),
    "day": Table(lambda row, _: row.day, "Day (UTC)"),
}  # fmt: skip


LABEL = "label:"
Labels = Mapping[Holder, Mapping[str, str]]
REST = "-"  # the id of the line of what has no such label, or is of the other kind; no value is that
OTHER_KIND = {"claim": "replica", "deployment": "claim"}


def table_of(by: str, labels: Labels) -> Table:
    """One of `TABLES`, or for `label:team` that of the label's values among these labels; None is what has no such one."""
    if not by.startswith(LABEL):
        return TABLES[by]
    key = by.removeprefix(LABEL)
    return Table(
        lambda row, _: labels.get((row.kind, row.holder_id), {}).get(key), f"Label {key}",
        note="Labels of now, in past months too. Claims and replicas on demand count where their own label says; replicas on "
             "claims are paid with the claim.",
    )  # fmt: skip


def label_keys(labels: Labels) -> list[str]:
    return sorted({key for mine in labels.values() for key in mine})


def lines(
    organization: Organization,
    by: str,
    rows: Iterable[UsageRow],
    offerings: Mapping[int, Offering],
    month: Month,
    labels: Labels,
) -> list[Line]:
    """Dearest first and the rest last, days in their order. At most one query."""
    table, rows = table_of(by, labels), list(rows)
    whole, names = amount(rows).total, {row.holder_id: row.holder_name for row in rows}
    sums = amounts(rows, lambda row: table.key_of(row, offerings))
    there = holders_there(organization, by, names)
    found = [line_of(by, key, sum_, names, there, whole, month) for key, sum_ in sums.items()]
    if by == "day":
        return sorted(found, key=lambda one: one.id)
    return sorted(found, key=lambda one: (by in OTHER_KIND and one.id == REST, -one.amount.total, one.name, one.id))


def line_of(
    by: str, key: Any, sums: Amount, names: Mapping[UUID, str], there: Collection[UUID], whole: Decimal, month: Month
) -> Line:
    share = float(sums.total / whole) if whole else 0.0
    if by.startswith(LABEL):
        return label_line(by.removeprefix(LABEL), key, sums, share, month)
    if key is None:
        return Line(TABLES[by].rest, REST, None, {"month": month.name, "kind": OTHER_KIND[by]}, sums, share)
    chosen = {"month": month.name, by: f"{key:%Y-%m-%d}" if isinstance(key, datetime) else str(key)}
    if isinstance(key, UUID):
        gone = key not in there
        url = None if gone and by == "deployment" else reverse(by, args=[key])  # a deleted claim has a page
        return Line(names[key], str(key), url, chosen, sums, share, gone)
    return Line(chosen[by], chosen[by], None, chosen, sums, share)


def label_line(key: str, value: str | None, sums: Amount, share: float, month: Month) -> Line:
    if value is None:
        return Line(f"no label {key}", REST, None, {"month": month.name, "unlabelled": key}, sums, share)
    name = value or "(empty)"
    return Line(name, value, None, {"month": month.name, "label": f"{key}={value}"}, sums, share)


def ahead_by_line(
    by: str, found: Forecast, offerings: Mapping[int, Offering], labels: Labels
) -> dict[str, Decimal]:  # fmt: skip
    """What is still to come this month for each line of the table, by the line's id. Days have none."""
    sums: dict[str, Decimal] = {}
    table = table_of(by, labels)
    for (kind, holder, _, offering), usd in found.ahead.items():
        keys = {"claim": str(holder), "deployment": str(holder), "type": offerings[offering].instance_type.name,
                "zone": offerings[offering].zone.name}  # fmt: skip
        if by.startswith(LABEL):
            keys[by] = labels.get((kind, holder), {}).get(by.removeprefix(LABEL), REST)
        if by in keys:
            line = keys[by] if table.kind in (None, kind) else REST
            sums[line] = sums.get(line, Decimal(0)) + usd
    return sums


def holders_there(organization: Organization, by: str, ids: Iterable[UUID]) -> set[UUID]:
    """Those of the claims or deployments that are still there."""
    models: dict[str, type[CapacityClaim | Deployment]] = {"claim": CapacityClaim, "deployment": Deployment}
    if by not in models:
        return set()
    there = models[by]._default_manager.filter(organization=organization, id__in=list(ids))
    return set(there.values_list("id", flat=True))


def csv_rows(by: str, month: Month, found: Sequence[Line]) -> Iterable[list[str]]:
    """The table as it is on the page, with exact amounts."""
    yield ["month", "by", "name", "id", "gpu_seconds", "reserved_gpu_seconds", "on_demand_gpu_seconds", "reserved_usd",
           "on_demand_usd", "total_usd"]  # fmt: skip
    for line in found:
        sums = line.amount
        yield [month.name, by, line.name, line.id, str(sums.gpu_seconds), str(sums.reserved_seconds),
               str(sums.on_demand_seconds), f"{sums.reserved:f}", f"{sums.on_demand:f}", f"{sums.total:f}"]  # fmt: skip


def without_price(missing: PriceMissing) -> str:
    one = Offering.objects.select_related("zone", "instance_type").get(key=missing.offering)
    rate = missing.rate.lower().replace("_", "-")
    return f"{one} has no {rate} price at {missing.at:%Y-%m-%d %H:%M} UTC, so amounts are not known. It is never free."
