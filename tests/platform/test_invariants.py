"""Each invariant is broken once, behind the back of every constraint, and has to be reported."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection

from console.common import clock
from console.dashboard.invariants import INVARIANTS, breaches
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db

NAMES = list(INVARIANTS)
INTERVAL = """INSERT INTO claims_usageinterval
    (kind, resource_key, organization_id, offering_id, instance_id, gpus, claim_kind, holder_id, holder_name, started_at,
     ended_at)
    SELECT '{kind}', {key}, o.key, i.offering_id, i.key, 1, '', gen_random_uuid(), 'x', now() - interval '1 hour', {end}
    FROM claims_instance i, organizations_organization o WHERE i.key = (SELECT min(key) FROM claims_instance {where})
    LIMIT 1"""
BREAKS = {
    "GPUs used of an instance are": "UPDATE claims_instance SET gpus_used = 3 WHERE gpus_used = 2",
    "GPUs of an instance are never": "UPDATE deployments_replicaplacement SET gpus = 99",
    "Placements of a live replica": "UPDATE deployments_replica SET gpus = 7",
    "An instance serves one": "UPDATE deployments_deployment SET organization_id = (SELECT max(key) FROM organizations_organization)",
    "An instance in a claim is held": "UPDATE claims_capacityclaim SET kind = 'CUSTOMER'",
    "No replica runs where": "UPDATE deployments_replica SET capacity_class = 1",
    "CUSTOMER claims fit": "UPDATE claims_capacityclaim SET kind = 'CUSTOMER', target = 999",
    "A READY claim has": "UPDATE claims_capacityclaim SET target = 1",
    "A claim is billed for": "UPDATE claims_instance SET claim_id = NULL, organization_id = NULL WHERE claim_id IS NOT NULL",
    "A replica is billed on demand": "UPDATE deployments_replica SET capacity_class = 1",
    "Intervals of one resource": INTERVAL.format(kind="CLAIM", key="(SELECT min(resource_key) FROM claims_usageinterval "
                                                 "WHERE kind = 'CLAIM')", end="NULL", where="WHERE claim_id IS NOT NULL"),
    "No on-demand interval": INTERVAL.format(kind="REPLICA", key="-1", end="clock_timestamp() + interval '5 seconds'", where="WHERE claim_id IS NOT NULL"),
    "Rated slices lie inside": """INSERT INTO claims_ratedslice (interval_id, organization_id, started_at, ended_at, rate,
        usd_per_gpu_hour, gpu_seconds, usd) SELECT id, organization_id, started_at - interval '1 day', started_at,
        'ON_DEMAND', 1, 1, 1 FROM claims_usageinterval LIMIT 1""",
    "States lie inside": "UPDATE deployments_replica SET state = 9",
    "A replica of a deployment": "DELETE FROM deployments_replicaplacement",
}  # fmt: skip


@pytest.fixture
def at_work(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 4)
    world.claim(cast.admin.actor, of, 2)
    world.settle()
    at = fleet.gateway(cast.admin.actor)
    fleet.deployment(cast.admin.actor, at, of, gpu_count=2, capacity_classes=("CAPACITY_CLASS_ON_DEMAND",))
    fleet.run(of.instance_type, clock.now(), 2)


def unprotect() -> None:
    """Take away what would refuse the damage: constraints and triggers of this test's transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype IN ('c', 'x') "
            "AND conrelid::regclass::text ~ '^(claims|deployments)_'"
        )
        for table, name in cursor.fetchall():
            cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')


def test_a_system_at_work_breaks_nothing(at_work: None) -> None:
    assert breaches() == []
    out = StringIO()
    call_command("check_invariants", stdout=out)
    assert out.getvalue() == f"{len(INVARIANTS)} invariants, 0 breaches\n"


def test_every_invariant_has_its_damage() -> None:
    assert len(BREAKS) == len(INVARIANTS)


@pytest.mark.parametrize("beginning", BREAKS)
def test_damage_is_reported(at_work: None, beginning: str) -> None:
    (name,) = [one for one in NAMES if one.startswith(beginning)]
    unprotect()
    with connection.cursor() as cursor:
        cursor.execute(BREAKS[beginning])
        assert cursor.rowcount > 0, "nothing was damaged"
    assert name in [breach.invariant for breach in breaches()]
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("check_invariants", stdout=out)
    assert ended.value.code == 1
    assert name in out.getvalue()
