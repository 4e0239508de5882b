"""The numbers of docs/billing.md are those that Headroom computes."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from claims import metering
from claims.models import QuotaChange, RatedSlice, Statement, UsageInterval
from claims.recount.count import recount
from claims.services import price_set
from claims.statements.closing import statements_pass
from console.common import clock
from console.common.ids import new_id
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db
APRIL = datetime(2026, 4, 3, tzinfo=UTC)


def at(day: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, second, tzinfo=UTC)


def table(first: str) -> list[list[str]]:
    """Rows of the document's table whose head begins so."""
    lines = iter(Path("docs/billing.md").read_text().splitlines())
    next(line for line in lines if line.startswith(f"| {first} |"))
    next(lines)
    found: list[list[str]] = []
    for line in lines:
        if not line.startswith("|"):
            return found
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def number(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


@pytest.fixture
def march(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Statement:
    of, prod, chat = world.offering(), new_id(), new_id()
    monkeypatch.setattr(clock, "now", lambda: at(1))
    for when, other in ((at(1), 1), (at(11, 18, 20), 0)):
        QuotaChange.objects.create(organization=cast.organization, offering=of, limit=9, reserved=2, other_usage=other,
                                   at=when)  # fmt: skip
    price_set(actor=world.PLATFORM, instance_type=of.instance_type, zone=None, kind="ON_DEMAND",  # type: ignore[arg-type]
              usd=Decimal(11), starts=at(11, 6))  # fmt: skip
    used = [("prod", prod, 4, at(10, 12), at(12)), ("prod", prod, 4, at(10, 12, 0, 30), at(12)),
            ("chat", chat, 1, at(10, 9), at(10, 9, 0, 45))]  # fmt: skip
    for key, (name, holder, gpus, started, ended) in enumerate(used):
        claim = name == "prod"
        UsageInterval.objects.create(
            kind="CLAIM" if claim else "REPLICA", resource_key=key, organization=cast.organization, offering=of,
            instance=world.gone(of), gpus=gpus, claim_kind="CUSTOMER" if claim else "", holder_id=holder,
            holder_name=name, started_at=started, ended_at=ended,
        )  # fmt: skip
    metering.meter_pass(APRIL)
    assert statements_pass(now=APRIL) == 1
    return Statement.objects.get()


def test_b6_the_lines_of_the_document_are_those_of_the_statement(march: Statement) -> None:
    *rows, total = table("line")
    written = {(name, rate, number(seconds), number(price), number(amount))
               for name, rate, seconds, price, _, amount in rows}  # fmt: skip
    lines = march.lines.all()
    assert written == {
        (one.holder_name, one.rate, Decimal(one.gpu_seconds), one.usd_per_gpu_hour, one.amount) for one in lines
    }
    assert number(total[-1]) == march.total
    for _, _, seconds, price, exact, _ in rows:
        assert abs(number(seconds) * number(price) / 3600 - number(exact.rstrip("."))) < Decimal("0.0001")


def test_b2_the_pieces_of_the_document_are_those_of_the_meter(march: Statement) -> None:
    rows = table("from")
    for rate, name in (("RESERVED", "reserved"), ("ON_DEMAND", "on demand")):
        written = sum(number(row[4].split("=")[1]) for row in rows if row[3] == name)
        slices = RatedSlice.objects.filter(rate=rate, interval__kind="CLAIM")
        assert written == sum(slices.values_list("gpu_seconds", flat=True))
    for _, _, _, _, text in rows:
        gpus, seconds = text.split("=")[0].split("x")
        assert number(gpus) * number(seconds) == number(text.split("=")[1])


def test_b6_the_recount_agrees_with_the_document(march: Statement) -> None:
    assert recount().summary == "3 intervals, 4 lines, 0 differences"
