"""`python -m bench.claimed COUNT`: so many claims of the large fleet's organization, in the installation that the environment
names. Says a token and the id of one of them as JSON."""

import json
import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
django.setup()

from claims.core.rules import ClaimResources  # noqa: E402
from claims.models import Offering  # noqa: E402
from claims.services import claim_create, quota_set  # noqa: E402
from console.common import clock  # noqa: E402
from console.dashboard.demo import acting  # noqa: E402
from console.organizations.actors import system  # noqa: E402
from console.organizations.models import Organization, Role  # noqa: E402
from console.organizations.services import token_create  # noqa: E402

TYPE, ZONE = "b200-8x", "US-EAST-01A"
LIMIT = 100_000


def main(count: int) -> dict[str, str]:
    whose = Organization.objects.get(slug="bench")
    of = Offering.objects.select_related("zone", "instance_type").get(instance_type__name=TYPE, zone__name=ZONE)
    quota_set(actor=system("bench"), organization=whose, offering=of, limit=LIMIT, reserved=0, other_usage=0)
    _, secret = token_create(actor=acting(whose), organization=whose, name="bench", role=Role.ADMIN, now=clock.now())
    wanted = ClaimResources(TYPE, 1, "CAPACITY_TYPE_CUSTOMER", (ZONE,))
    made = [claim_create(actor=acting(whose), organization=whose, name=f"c{number:04}", resources=wanted)
            for number in range(count)]  # fmt: skip
    return {"secret": secret, "claim": str(made[0].id)}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
