"""The pages of notifications and of requests for quota, in light and dark, wide and narrow."""

import re

import pytest
from playwright.sync_api import expect

from claims.services import quota_request_create, quota_request_refuse
from console.common import clock
from console.notifications.channels import CHOSEN, channel_change, channel_create, channel_test
from console.notifications.models import Attempt, Delivery, DeliveryState, Kind, Notification
from console.notifications.services import notify
from tests import world
from tests.pages.browser.conftest import Site
from tests.screens import found_by_axe, on_every_screen, too_wide

pytestmark = [pytest.mark.browser]

LONG = "https://hooks.example.com/services/T00000000/B00000000/" + "x" * 80


def addresses(site: Site) -> list[str]:
    """With channels of both kinds, deliveries in every state, a long log, and requests for quota."""
    cast, now, of = site.cast, clock.now(), world.offering()
    actor, organization = cast.admin.actor, cast.organization
    world.quota(organization, of, limit=20, other_usage=17)
    pager, _ = channel_create(
        actor=actor, organization=organization, type="WEBHOOK", name="pager", target=LONG, kinds=CHOSEN
    )
    mail, _ = channel_create(actor=actor, organization=organization, type="EMAIL", name="on call",
                             target="oncall@example.com", kinds=["SHORTAGE"])  # fmt: skip
    for kind in CHOSEN:
        notify(organization=organization, kind=kind, key=kind, subject=f"{kind.label}: something happened", now=now,
               text="3 of 5 wanted replicas have GPUs, since 2026-11-27 16:00 UTC.", path="/quota", data={"wanted": 5})  # fmt: skip
    one = channel_test(actor=actor, channel=pager, now=now)
    for number in range(1, 5):
        Attempt.objects.create(delivery=one, number=number, at=now, seconds=0.2 * number, status=500, error="Answered 500",
                               answer="<html>" + "y" * 300)  # fmt: skip
    Delivery.objects.filter(pk=one.pk).update(attempts=4, last_status=500, last_error="Answered 500")
    for kind, state in ((Kind.BUDGET, DeliveryState.DELIVERED), (Kind.SHORTAGE, DeliveryState.FAILED)):
        Delivery.objects.filter(notification__kind=kind).update(state=state, ended_at=now)
    channel_change(actor=actor, channel=mail, enabled=False, now=now)
    asked = quota_request_create(
        actor=actor, organization=organization, offering=of, wanted=40, reason="Launch", now=now
    )
    quota_request_refuse(actor=world.PLATFORM, request=asked, comment="Nothing is left in this zone.", now=now)
    quota_request_create(actor=actor, organization=organization, offering=of, wanted=30, reason="Fewer then", now=now)
    told = Notification.objects.get(kind=Kind.SHORTAGE)
    return ["/notifications", "/notifications?kind=BUDGET", f"/notifications/{told.id}", "/notifications/channels/new",
            "/notifications/channels/new?type=email", f"/notifications/channels/{pager.id}",
            f"/notifications/channels/{mail.id}", f"/notifications/channels/{pager.id}/rotate",
            f"/notifications/channels/{pager.id}/delete", f"/notifications/deliveries/{one.pk}",
            "/quota", "/quota/US-WEST-04A/gb200-4x", "/quota/US-WEST-04A/gb200-4x/request"]  # fmt: skip


@on_every_screen
def test_pages_of_notifications_are_whole_for_everybody(site: Site, theme: str, width: int) -> None:
    found = addresses(site)
    page = site.open(site.cast.admin, width=width, theme=theme)
    for address in found:
        page.goto(address)
        assert too_wide(page) <= 0, address
        assert found_by_axe(page) == [], address


def test_a_webhook_is_made_by_keyboard_and_its_secret_shown(site: Site) -> None:
    page = site.open(site.cast.admin, "/notifications/channels/new", width=390)
    page.get_by_label("Name").fill("pager")
    page.get_by_label("Address").fill("https://hooks.example.com/a")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Secret")).to_have_value(re.compile("whsec_.{40,}"))
    assert too_wide(page) <= 0
    assert found_by_axe(page) == []
    page.get_by_role("link", name="I have copied it").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="pager")).to_be_visible()
