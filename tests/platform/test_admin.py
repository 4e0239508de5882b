"""The platform's tooling: through the services, with the audit trail, and for staff alone."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims.models import Instance, Offering, Quota, QuotaChange
from claims.selectors import quota_of
from console.organizations.models import AuditEvent, Membership, Organization
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db

LISTS = ["claims_quota", "claims_offering", "claims_price", "claims_zone", "claims_instancetype", "claims_capacityclaim",
         "claims_instance", "claims_usageinterval", "claims_ratedslice", "claims_quotachange", "claims_quotarequest", "notifications_notification", "notifications_channel", "notifications_delivery", "claims_metercursor", "deployments_deployment",
         "deployments_gateway", "deployments_replica", "deployments_decision", "organizations_organization",
         "organizations_membership", "organizations_user", "organizations_apitoken", "organizations_auditevent"]  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_every_list_opens_for_the_platform_alone(cast: Cast, name: str) -> None:
    of = world.offering()
    world.pool(of, 1)
    world.quota(cast.organization, of, limit=3)
    world.claim(cast.admin.actor, of, 1)
    address = reverse(f"admin:{name}_changelist")
    assert cast.platform.browser().get(address).status_code == 200
    assert cast.admin.browser().get(address).status_code == 302


def test_quota_is_raised_through_the_service_with_commitments_beside_it(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=3)
    world.claim(cast.admin.actor, of, 2, "CUSTOMER")
    browser, row = cast.platform.browser(), Quota.objects.get()
    page = browser.get(reverse("admin:claims_quota_changelist")).content.decode()
    assert '<td class="field-committed">2</td>' in page
    assert '<td class="field-free">1</td>' in page
    browser.post(reverse("admin:claims_quota_change", args=[row.pk]), {"limit": 9, "reserved": 4, "other_usage": 1})
    after = quota_of(cast.organization, of)
    assert (after.limit, after.reserved, after.other_usage, after.free) == (9, 4, 1, 6)
    assert list(QuotaChange.objects.values_list("limit", flat=True)) == [3, 9]
    event = AuditEvent.objects.filter(action="quota.set").latest("id")
    assert event.before is not None
    assert event.after is not None
    assert (event.actor, event.before["limit"], event.after["limit"]) == ("platform", 3, 9)


def test_a_quota_that_cannot_be_is_refused_and_changes_nothing(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=3)
    address = reverse("admin:claims_quota_change", args=[Quota.objects.get().pk])
    cast.platform.browser().post(address, {"limit": -1, "reserved": 0, "other_usage": 0})
    cast.platform.browser().post(address, {"limit": 2_000_000, "reserved": 0, "other_usage": 0})
    assert list(Quota.objects.values_list("limit", flat=True)) == [3]
    assert QuotaChange.objects.count() == 1


def test_a_pool_grows_through_the_service(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    address = reverse("admin:claims_offering_change", args=[of.key])
    cast.platform.browser().post(address, {"pool_size": 3, "claimable": "on"})
    assert Offering.objects.get(key=of.key).pool_size == 3
    world.everything_arrives()
    assert Instance.objects.filter(state="READY").count() == 3
    assert AuditEvent.objects.filter(action="pool.resize").count() == 1


def test_organizations_and_members_are_made_with_an_audit_event(cast: Cast) -> None:
    browser = cast.platform.browser()
    browser.post(reverse("admin:organizations_organization_add"), {"id": "cwabcd", "slug": "new", "name": "New"})
    made = Organization.objects.get(slug="new")
    browser.post(
        reverse("admin:organizations_membership_add"),
        {"user": cast.viewer.user.pk, "organization": made.key, "role": "admin"},
    )
    assert Membership.objects.get(organization=made).role == "admin"
    actions = AuditEvent.objects.filter(organization=made).values_list("action", flat=True)
    assert sorted(actions) == ["member.set", "organization.create"]


def test_the_ledger_and_the_audit_trail_are_read_only(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    world.claim(cast.admin.actor, of, 1)
    browser = cast.platform.browser()
    for name in ("claims_usageinterval", "organizations_auditevent"):
        assert browser.get(reverse(f"admin:{name}_add")).status_code == 403
    for name in ("organizations_apitoken", "claims_instance"):
        assert browser.get(reverse(f"admin:{name}_add")).status_code == 403


@pytest.mark.parametrize("name", ["claims_quota", "claims_offering", "claims_instance", "claims_usageinterval"])
def test_lists_do_not_ask_more_for_more_rows(cast: Cast, name: str) -> None:
    browser, address = cast.platform.browser(), reverse(f"admin:{name}_changelist")

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert browser.get(address).status_code == 200
        return len(found)

    def more(types: list[str]) -> None:
        for type_ in types:
            of = world.offering(type_=type_)
            world.pool(of, 2)
            world.quota(cast.organization, of, limit=5)
            world.claim(cast.admin.actor, of, 1, name=type_)

    more(["gb200-4x"])
    queries()
    before = queries()
    more(["b200-8x", "gd-1xgh200", "gd-8xl40s-i128"])
    assert queries() == before
