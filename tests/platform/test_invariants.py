"""Each invariant is broken once, behind the back of every constraint, and has to be reported."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection

from claims.models import Instance
from console.common import clock
from console.dashboard.invariants import INVARIANTS, breaches
from deployments.models import PlannerState
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
    "The bound of what": """INSERT INTO claims_quota (organization_id, offering_id, "limit", reserved, other_usage,
        committed_bound) SELECT organization_id, offering_id, 9, 0, 0, target - 1 FROM claims_capacityclaim;
        UPDATE claims_capacityclaim SET kind = 'CUSTOMER'""",
    "No claim has more": "UPDATE claims_capacityclaim SET target = 1",
    "A reduction that waits": "UPDATE claims_capacityclaim SET reduction_at = now()",
    "One pool instance is kept": "UPDATE claims_instance SET kept = true WHERE claim_id IS NULL",
    "No more than one instance": "UPDATE claims_instance SET kept = true",
    "Work on a machine": "UPDATE claims_instance SET work = 'DRAIN'",
    "Instances count": "UPDATE claims_instance SET replicas = 3",
    "A claim is billed for": "UPDATE claims_instance SET claim_id = NULL, organization_id = NULL WHERE claim_id IS NOT NULL",
    "A replica is billed on demand": "UPDATE claims_usageinterval SET gpus = 1 WHERE kind = 'REPLICA'",
    "Intervals of one resource": INTERVAL.format(kind="CLAIM", key="(SELECT min(resource_key) FROM claims_usageinterval "
                                                 "WHERE kind = 'CLAIM')", end="NULL", where="WHERE claim_id IS NOT NULL"),
    "A claim's tenure of": INTERVAL.format(kind="REPLICA", key="-1", end="clock_timestamp() + interval '5 seconds'", where="WHERE claim_id IS NOT NULL"),
    "Rated slices lie inside": """INSERT INTO claims_ratedslice (interval_id, organization_id, started_at, ended_at, rate,
        usd_per_gpu_hour, gpu_seconds, usd) SELECT id, organization_id, started_at - interval '1 day', started_at,
        'ON_DEMAND', 1, 1, 1 FROM claims_usageinterval LIMIT 1""",
    "All use is rated": """INSERT INTO claims_metercursor (organization_id, rated_until, closed_until, problem)
        SELECT DISTINCT organization_id, now() + interval '1 hour', now() + interval '1 hour', ''
        FROM claims_usageinterval""",
    "The sum of a day": """INSERT INTO claims_ratedday (organization_id, day, kind, holder_id, holder_name, offering_id,
        rate, gpu_seconds, usd) SELECT organization_id, '2026-01-01T00:00Z', kind, holder_id, holder_name, offering_id,
        'ON_DEMAND', 1, 1 FROM claims_usageinterval LIMIT 1""",
    "States lie inside": "UPDATE deployments_replica SET state = 9",
    "A replacement and": "UPDATE deployments_replica SET replaces_id = key",
    "A hold is of": """INSERT INTO deployments_hold (id, kind, reason, created_by, created_at, ended_at, ended_by)
        VALUES (gen_random_uuid(), 'FREEZE', 'x', 'x', now(), now() - interval '1 hour', 'x')""",
    "A replica of a deployment": "DELETE FROM deployments_replicaplacement",
}  # fmt: skip


# The other ways to break one that has several.
WAITS = "UPDATE claims_capacityclaim SET target = 9, status = 'STATUS_UPDATING'; "
MORE = [
    ("No claim has more", "UPDATE claims_capacityclaim SET target = 3"),
    ("A reduction that waits", "UPDATE claims_capacityclaim SET kind = 'CUSTOMER', target = 1, reduction_at = now()"),
    ("One pool instance is kept", WAITS),
    ("One pool instance is kept", WAITS + "UPDATE claims_instance SET kept = true WHERE claim_id IS NOT NULL"),
    ("One pool instance is kept", "UPDATE claims_offering SET withdrawn_at = now()"),
    ("No replica runs where", "UPDATE claims_instance SET source = 'CUSTOMER'"),
    ("No replica runs where", """UPDATE claims_instance SET claimed_at = now() - interval '1 minute',
        claim_id = (SELECT key FROM claims_capacityclaim) WHERE gpus_used > 0"""),
    ("A claim is billed for", "UPDATE claims_instance SET relieved_at = now() WHERE claim_id IS NOT NULL"),
    ("A claim is billed for", "UPDATE claims_usageinterval SET holder_id = gen_random_uuid() WHERE kind = 'CLAIM'"),
    ("A replica is billed on demand", "UPDATE claims_usageinterval SET ended_at = started_at WHERE kind = 'REPLICA'"),
    ("Work on a machine", """UPDATE claims_instance SET work = 'DRAIN', work_reason = 'x', work_at = now()
        WHERE gpus_used > 0"""),
    ("Work on a machine", "UPDATE claims_instance SET state = 'DRAINING' WHERE gpus_used > 0"),
    ("Work on a machine", "UPDATE claims_instance SET relieved_at = now()"),
    ("Rated slices lie inside", """INSERT INTO claims_ratedslice (interval_id, organization_id, started_at, ended_at, rate,
        usd_per_gpu_hour, gpu_seconds, usd) SELECT id, organization_id, started_at, started_at + interval '1 second',
        'ON_DEMAND', 1, 3600, 2 FROM claims_usageinterval LIMIT 1"""),
    ("A hold is of", """INSERT INTO deployments_hold
        (id, kind, reason, created_by, created_at, ended_by, deployment_id, organization_id)
        SELECT gen_random_uuid(), 'FREEZE', 'x', 'x', now(), '', d.key, o.key
        FROM deployments_deployment d, organizations_organization o WHERE o.key <> d.organization_id LIMIT 1"""),
]  # fmt: skip


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


@pytest.mark.thorough
@pytest.mark.parametrize(("beginning", "damage"), [*BREAKS.items(), *MORE])
def test_damage_is_reported(at_work: None, beginning: str, damage: str) -> None:
    (name,) = [one for one in NAMES if one.startswith(beginning)]
    unprotect()
    with connection.cursor() as cursor:
        cursor.execute(damage)
        assert cursor.rowcount > 0, "nothing was damaged"
    assert name in [breach.invariant for breach in breaches()]
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("check_invariants", stdout=out)
    assert ended.value.code == 1
    assert name in out.getvalue()


def test_c4_a_conversion_is_no_damage_until_a_tick_has_left_its_replicas_on_demand(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of)
    start = clock.now()
    fleet.run(of.instance_type, start, 2)
    claim = world.claim(cast.admin.actor, of, 1)
    assert Instance.objects.get().claim == claim, "converted in place"
    assert breaches() == []
    PlannerState.objects.update(at=clock.now() + timedelta(seconds=9))
    assert [one.invariant.split(":")[0] for one in breaches()] == ["No replica runs where it may not"]
    fleet.tick(of.instance_type, clock.now() + timedelta(seconds=14))
    assert breaches() == []
