"""The platform's lists with many organizations: as many queries, and pages as long, as with a few."""

from collections.abc import Callable
from datetime import time, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims.models import (
    CapacityClaim,
    ClaimWindow,
    Instance,
    MeterCursor,
    Quota,
    QuotaChange,
    RatedSlice,
    UsageInterval,
)
from console.common import clock
from console.organizations.admin import OrganizationFilter, RoomyAdmin
from console.organizations.models import ApiToken, AuditEvent, Membership, Organization, User
from deployments.models import AutoscalingPolicy, Decision, Deployment, Gateway, Replica, ReplicaPlacement
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db
LISTS = [
    (model._meta.label_lower, reverse_name)
    for model in admin.site._registry
    if (reverse_name := f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
]  # fmt: skip
LONGEST = 250_000  # bytes of a list of 50 rows


def many(count: int, start: int = 0) -> None:
    """So many organizations with one of everything that the lists show; no loop runs on them."""
    of, now = world.offering(), clock.now()
    names = [f"many{number:05}" for number in range(start, start + count)]
    organizations = Organization.objects.bulk_create(
        Organization(id=f"cw{start + place:04x}", slug=name, name=name.title()) for place, name in enumerate(names)
    )
    users = User.objects.bulk_create(User(username=name) for name in names)

    def each(model: type[Any], *others: Any, **fields: Any) -> list[Any]:
        """A row for each organization; `others` are functions of its place that give more fields."""
        return list(model.objects.bulk_create(
            model(**{"organization": one, **fields, **{key: value for make in others for key, value in make(place).items()}})
            for place, one in enumerate(organizations)
        ))  # fmt: skip

    def named(place: int) -> dict[str, Any]:
        return {"name": names[place]}

    each(Membership, lambda place: {"user": users[place]}, role="viewer")
    each(
        ApiToken,
        named,
        lambda place: {"sha256": f"{names[place]:0>64}", "created_by": users[place]},
        prefix="hr_x",
        role="viewer",
    )
    each(
        AuditEvent,
        lambda place: {"object_name": names[place]},
        actor="x",
        action="claim.create",
        object_type="CapacityClaim",
        object_id="1",
    )
    each(Quota, offering=of, limit=9, reserved=0, other_usage=0)
    each(QuotaChange, lambda place: {"user": users[place]}, offering=of, at=now, limit=9, reserved=0, other_usage=0)
    each(MeterCursor, rated_until=now, closed_until=now)
    claims = each(CapacityClaim, named, offering=of, kind="CUSTOMER", target=1)
    ClaimWindow.objects.bulk_create(
        ClaimWindow(claim=one, first=now.date(), at=time(8), duration=timedelta(hours=1), recurrence="FREQ=DAILY",
                    time_zone="UTC", count=2)
        for one in claims
    )  # fmt: skip
    machines = each(
        Instance,
        named,
        lambda place: {"claim": claims[place]},
        offering=of,
        source="CUSTOMER",
        state="READY",
        gpus=4,
        gpus_used=1,
    )
    spans = each(UsageInterval, lambda place: {"instance": machines[place], "resource_key": machines[place].key,
                                               "holder_id": claims[place].id, "holder_name": names[place]},
                 kind="CLAIM", claim_kind="CUSTOMER", offering=of, gpus=4, started_at=now - timedelta(hours=2))  # fmt: skip
    each(RatedSlice, lambda place: {"interval": spans[place]}, started_at=now - timedelta(hours=2), ended_at=now - timedelta(hours=1), rate="RESERVED", gpu_seconds=14400, usd_per_gpu_hour=1, usd=4)  # fmt: skip
    each(Gateway, named, sent_zones=[], status="STATUS_READY", auth={}, routing={}, endpoints=[])
    deployments = each(Deployment, named, instance_type=of.instance_type, engine="vllm", sent_instance_type="x", gpu_count=1,
                       model_name="m", model_bucket="b", model_path="p")  # fmt: skip
    AutoscalingPolicy.objects.bulk_create(AutoscalingPolicy(deployment=one, min=1, max=2) for one in deployments)
    replicas = Replica.objects.bulk_create(
        Replica(deployment=one, instance_type=of.instance_type, revision=1, capacity_class=1, state=2, gpus=1)
        for one in deployments
    )
    ReplicaPlacement.objects.bulk_create(
        ReplicaPlacement(replica=one, instance=at, gpus=1) for one, at in zip(replicas, machines, strict=True)
    )
    Decision.objects.bulk_create(
        Decision(
            deployment=one,
            organization=one.organization,
            at=now,
            current=1,
            wanted=2,
            granted=2,
            bound="NONE",
            record={},
        )
        for one in deployments
    )


def asked(browser: Client, address: str) -> tuple[int, int]:
    """Queries and bytes of a page."""
    with CaptureQueriesContext(connection) as found:
        page = browser.get(address)
    assert page.status_code == 200
    return len(found), len(page.content)


@pytest.mark.thorough
def test_every_list_asks_as_much_for_thousands_of_rows_as_for_some(cast: Cast) -> None:
    browser, looks = cast.platform.browser(), dict[str, tuple[int, int]]()
    many(60)
    addresses = {name: reverse(view) for name, view in LISTS}
    for name, address in addresses.items():
        asked(browser, address)
        looks[name] = asked(browser, address)
    many(2000, start=60)
    with connection.cursor() as cursor:  # as autovacuum does, which does not see what is not committed
        cursor.execute("ANALYZE")
    for name, address in addresses.items():
        queries, length = asked(browser, address)
        assert queries == looks[name][0], name
        assert length < LONGEST, name


def test_every_list_is_made_for_many_rows() -> None:
    for model, its in admin.site._registry.items():
        assert not its.show_full_result_count, model
        assert its.list_per_page <= 50, model
        for filter_ in its.list_filter:
            last = filter_.rpartition("__")[2] if isinstance(filter_, str) else ""
            assert last not in ("organization", "user", "claim", "instance", "deployment"), (
                f"{model} by {filter_} lists all"
            )
        assert isinstance(its, RoomyAdmin) or model is User


@pytest.mark.parametrize("view", ["claims_quota", "claims_capacityclaim", "claims_claimwindow", "claims_usageinterval", "deployments_deployment",
                                  "organizations_auditevent", "organizations_membership"])  # fmt: skip
def test_an_organization_beyond_the_first_is_found_by_filter_and_by_search(cast: Cast, view: str) -> None:
    many(OrganizationFilter.MOST + 5)
    last, browser = f"many{OrganizationFilter.MOST + 4:05}", cast.platform.browser()
    address = reverse(f"admin:{view}_changelist")
    first = browser.get(address).content.decode()
    assert f"?organization={last}" not in first
    assert "search for others" in first
    for query in ({"organization": last}, {"q": last}):
        assert browser.get(address, query).context["cl"].result_count == 1, query


def test_the_ledger_is_for_reading_alone(cast: Cast) -> None:
    many(1)
    browser = cast.platform.browser()
    look: Callable[[str, Any], str] = lambda view, row: reverse(f"admin:{view}_change", args=[row.pk])  # noqa: E731
    for view, row in (
        ("claims_usageinterval", UsageInterval.objects.get()), ("claims_ratedslice", RatedSlice.objects.get()),
        ("claims_quotachange", QuotaChange.objects.get()), ("claims_instance", Instance.objects.get()),
        ("claims_capacityclaim", CapacityClaim.objects.get()), ("deployments_replica", Replica.objects.get()),
    ):  # fmt: skip
        page = browser.get(look(view, row))
        assert page.status_code == 200
        assert 'name="_save"' not in page.content.decode()
        before = type(row).objects.values().get(pk=row.pk)
        assert browser.post(look(view, row), {"gpus": 1}).status_code == 403
        assert browser.post(reverse(f"admin:{view}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
        assert type(row).objects.values().get(pk=row.pk) == before
