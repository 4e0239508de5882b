"""The recount finds what it is there to find: a ledger or a bill that was tampered with."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection

from claims import metering
from claims.models import Offering
from console.common import clock
from tests import fleet, world
from tests.cast import Cast
from tests.clockwork import advance
from tests.faults import life
from tests.model.recount import bill_differs, ledger_differs, write_down

pytestmark = pytest.mark.django_db(transaction=True)
USAGE = "claims_usageinterval"
TAMPERED = {
    "a gap": f"UPDATE {USAGE} SET started_at = started_at + interval '1 minute' WHERE kind = 'CLAIM'",
    "an end too early": f"UPDATE {USAGE} SET ended_at = started_at + interval '1 minute' WHERE kind = 'REPLICA'",
    "one that is missing": f"DELETE FROM {USAGE} WHERE kind = 'REPLICA'",
    "one in two parts": f"""
        UPDATE {USAGE} SET ended_at = started_at + interval '1 minute' WHERE kind = 'CLAIM';
        INSERT INTO {USAGE} SELECT (jsonb_populate_record(one, jsonb_build_object('id', one.id + 1000,
            'started_at', one.ended_at, 'ended_at', NULL))).* FROM {USAGE} one WHERE kind = 'CLAIM'""",
}  # fmt: skip


@pytest.fixture
def spent(cast: Cast, of: Offering) -> Cast:
    """Hours of a claim and a deployment on demand, both still there."""
    write_down()
    world.pool(of, 3)
    world.claim(cast.admin.actor, of, 1)
    fleet.deployment(
        cast.admin.actor, fleet.gateway(cast.admin.actor), of, capacity_classes=("CAPACITY_CLASS_ON_DEMAND",)
    )
    life.settle()
    advance(timedelta(hours=5))
    metering.meter_pass(clock.now())
    return cast


def tamper(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET session_replication_role = replica; {sql}; SET session_replication_role = DEFAULT")


def test_what_nobody_tampered_with_agrees(spent: Cast) -> None:
    assert ledger_differs() == []
    assert bill_differs(spent.organization, clock.now()) == []


@pytest.mark.parametrize("what", TAMPERED)
def test_a_ledger_that_is_wrong_is_found(spent: Cast, what: str) -> None:
    tamper(TAMPERED[what])
    assert len(ledger_differs()) == 1


def cheaper() -> None:
    tamper("UPDATE claims_ratedday SET usd = usd - 0.01")


def rated_twice() -> None:
    tamper("UPDATE claims_metercursor SET rated_until = rated_until - interval '1 hour'")


@pytest.mark.parametrize("change", [cheaper, rated_twice])
def test_a_bill_that_is_wrong_is_found(spent: Cast, change: Callable[[], None]) -> None:
    change()
    assert bill_differs(spent.organization, clock.now()) != []
