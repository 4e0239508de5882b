"""`python -m bench.creations CLIENTS SECONDS`: as many creations of claims on one quota row as so many processes manage, in
the installation that the environment names. Says what came of it as JSON."""

import json
import multiprocessing
import os
import sys
import time
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
django.setup()

from django.db import connection  # noqa: E402

from claims.catalogue import catalogue_load  # noqa: E402
from claims.core.rules import ClaimResources  # noqa: E402
from claims.models import CapacityClaim, Offering  # noqa: E402
from claims.selectors import quota_of  # noqa: E402
from claims.services import claim_create, quota_set  # noqa: E402
from console.common import clock  # noqa: E402
from console.common.errors import FailedPrecondition  # noqa: E402
from console.dashboard.demo import acting, organization  # noqa: E402
from console.organizations.actors import Actor, system  # noqa: E402
from console.organizations.models import Role  # noqa: E402
from console.organizations.services import token_create  # noqa: E402

TYPE, ZONE = "gb200-4x", "US-WEST-04A"
LIMIT = 100_000


def main(clients: int, seconds: float) -> dict[str, Any]:
    catalogue_load()
    whose = organization("cwbe0d", "bench-claims", "Bench of claims")
    of = Offering.objects.select_related("zone", "instance_type").get(instance_type__name=TYPE, zone__name=ZONE)
    quota_set(actor=system("bench"), organization=whose, offering=of, limit=LIMIT, reserved=0, other_usage=0)
    _, secret = token_create(actor=acting(whose), organization=whose, name="bench", role=Role.ADMIN, now=clock.now())
    connection.close()
    with multiprocessing.get_context("fork").Pool(clients) as pool:
        made = sum(pool.starmap(create, [(acting(whose), of, number, seconds) for number in range(clients)]))
    row = quota_of(whose, of)
    assert CapacityClaim.objects.filter(organization=whose).count() == made
    return {"made": made, "beyond": row.over, "secret": secret}


def create(actor: Actor, of: Offering, number: int, seconds: float) -> int:
    """Claims of one instance each, for so long; how many were made."""
    wanted, made = ClaimResources(TYPE, 1, "CAPACITY_TYPE_CUSTOMER", (ZONE,)), 0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        try:
            claim_create(
                actor=actor, organization=actor.require_organization(), name=f"s{number}-{made}", resources=wanted
            )
        except FailedPrecondition:
            continue
        made += 1
    return made


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), float(sys.argv[2]))))
