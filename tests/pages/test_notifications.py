"""The pages of notifications: channels, their secrets, the log, replay."""

import re
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from console.common import clock
from console.notifications import channels, delivering
from console.notifications.models import Channel, Delivery, Kind, Notification
from console.notifications.services import notify
from console.organizations.models import AuditEvent
from tests.cast import Cast
from tests.notifications.receivers import answers, receiver

pytestmark = pytest.mark.django_db

FORM = {"name": "pager", "target": "https://hooks.example.com/a", "kinds": ["SHORTAGE", "BUDGET"]}


def shown(page: str) -> str:
    found = re.search(r'value="(whsec_[A-Za-z0-9+/=]{40,})"', page.replace("&#x3D;", "="))
    assert found
    return found[1]


def made(cast: Cast, **changes: Any) -> Channel:
    given = {
        "type": "WEBHOOK",
        "name": "pager",
        "target": "https://hooks.example.com/a",
        "kinds": ["SHORTAGE"],
    } | changes
    return channels.channel_create(actor=cast.admin.actor, organization=cast.organization, **given)[0]


def tell(cast: Cast, key: str = "k", kind: Kind = Kind.SHORTAGE) -> None:
    notify(organization=cast.organization, kind=kind, key=key, subject=f"chat is short ({key})", text="3 of 5 wanted",
           path="/deployments", data={"wanted": 5}, now=clock.now())  # fmt: skip


def test_the_secret_of_a_webhook_is_shown_once(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    browser = cast.admin.browser()
    answer = browser.post(reverse("channel-new"), FORM)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    secret, channel = shown(answer.content.decode()), Channel.objects.get()
    assert channel.kinds == ["SHORTAGE", "BUDGET"]
    assert channel.created_by == cast.admin.user
    for address in (reverse("notifications"), reverse("channel", args=[channel.id]), reverse("audit")):
        assert secret not in browser.get(address).content.decode()
    assert secret not in str(list(Channel.objects.values())) + str(list(AuditEvent.objects.values()))
    assert not any(secret in str(one.get_decoded()) for one in Session.objects.all())
    assert secret not in caplog.text


def test_a_new_secret_is_asked_about_first(cast: Cast) -> None:
    browser, channel = cast.admin.browser(), made(cast)
    address = reverse("channel-rotate", args=[channel.id])
    before = channel.salt
    assert "Make a new secret?" in browser.get(address).content.decode()
    channel.refresh_from_db()
    assert channel.salt == before
    answer = browser.post(address)
    assert answer.status_code == 201
    assert shown(answer.content.decode())
    channel.refresh_from_db()
    assert (channel.old_salt, channel.salt != before) == (before, True)


@pytest.mark.parametrize(("changes", "said"), [
    ({"name": ""}, "required"), ({"target": "http://example.com/"}, "must begin with https://"),
    ({"target": "https://10.0.0.7/"}, "private or reserved"), ({"target": "https://localhost/"}, "this machine itself"),
    ({"kinds": []}, "required"), ({"kinds": ["TEST"]}, "Select a valid choice"),
])  # fmt: skip
def test_a_wrong_form_makes_no_channel(cast: Cast, changes: dict[str, Any], said: str) -> None:
    answer = cast.admin.browser().post(reverse("channel-new"), {**FORM, **changes})
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not Channel.objects.exists()


def test_a_mailbox_is_a_channel_and_the_page_says_where_letters_go(cast: Cast, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    browser, address = cast.admin.browser(), reverse("channel-new") + "?type=email"
    assert "does not leave this machine" in browser.get(address).content.decode()
    assert browser.post(address, {**FORM, "target": "nobody"}).status_code == 422
    assert browser.post(address, {**FORM, "target": "oncall@example.com"}).status_code == 302
    assert Channel.objects.get().type == "EMAIL"
    assert "does not leave this machine" in browser.get(reverse("notifications")).content.decode()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    assert "does not leave this machine" not in browser.get(reverse("notifications")).content.decode()


def test_a_channel_is_changed_disabled_and_deleted(cast: Cast) -> None:
    browser, channel = cast.admin.browser(), made(cast)
    page = reverse("channel", args=[channel.id])
    assert browser.post(page, {"name": "phone", "kinds": ["BUDGET"]}).status_code == 302
    browser.post(reverse("channel-switch", args=[channel.id]), {"enabled": "0"})
    channel.refresh_from_db()
    assert (channel.name, channel.kinds, channel.enabled) == ("phone", ["BUDGET"], False)
    assert "Disabled" in browser.get(page).content.decode()
    assert browser.post(reverse("channel-test", args=[channel.id]), follow=True).status_code == 200
    assert not Delivery.objects.exists(), "a disabled one is not tested"
    assert "Delete phone?" in browser.get(reverse("channel-delete", args=[channel.id])).content.decode()
    assert Channel.objects.filter(deleted_at=None).exists()
    browser.post(reverse("channel-delete", args=[channel.id]))
    assert browser.get(page).status_code == 404
    assert "phone" not in browser.get(reverse("notifications")).content.decode().replace("phone is deleted", "")


def test_a_test_is_sent_seen_and_sent_again(cast: Cast, settings: Any) -> None:
    settings.WEBHOOK_PRIVATE = True
    browser = cast.admin.browser()
    with receiver() as hook:
        hook.replies = [answers(500, b"<b>not today</b>"), answers(200)]
        channel = made(cast, target=hook.url)
        answer = browser.post(reverse("channel-test", args=[channel.id]), follow=True)
        assert "Not tried yet" in answer.content.decode()
        delivering.deliver_pass(now=clock.now())
        delivery = Delivery.objects.get()
        page = browser.get(reverse("delivery", args=[delivery.pk])).content.decode()
        assert "Answered 500" in page
        assert "&lt;b&gt;not today&lt;/b&gt;" in page
        assert "Waiting" in page
        browser.post(reverse("delivery-replay", args=[delivery.pk]))
        delivering.deliver_pass(now=clock.now())
        page = browser.get(reverse("delivery", args=[delivery.pk])).content.decode()
        assert "Delivered" in page
        assert page.count("<tr>") == 3
        assert len(hook.got) == 2
    assert (
        reverse("delivery", args=[delivery.pk]) in browser.get(reverse("channel", args=[channel.id])).content.decode()
    )


def test_the_log_shows_what_the_role_may_see(cast: Cast) -> None:
    tell(cast)
    tell(cast, "money", Kind.BUDGET)
    address = reverse("notifications")
    viewer = cast.viewer.browser().get(address).content.decode()
    assert "chat is short (k)" in viewer
    assert "(money)" not in viewer
    assert "New webhook" not in viewer
    assert "(money)" in cast.billing.browser().get(address).content.decode()
    assert "chat is short" not in cast.outsider.browser().get(address).content.decode()
    only = cast.admin.browser().get(address, {"kind": "BUDGET"}).content.decode()
    assert "(k)" not in only
    assert "(money)" in only


def test_pages_ask_as_often_however_much_there_is(cast: Cast) -> None:
    browser, channel = cast.admin.browser(), made(cast)
    tell(cast)
    addresses = [reverse("notifications"), reverse("channel", args=[channel.id]),
                 reverse("delivery", args=[Delivery.objects.get().pk])]  # fmt: skip
    few = [queries(browser, address) for address in addresses]
    for n in range(20):
        tell(cast, f"k{n}")
        made(cast, name=f"c{n}")
    assert [queries(browser, address) for address in addresses] == few
    assert max(few) <= 16


def queries(browser: Any, address: str) -> int:
    with CaptureQueriesContext(connection) as found:
        assert browser.get(address).status_code == 200
    return len(found)


def test_what_was_sent_to_nobody_says_why_and_where_that_is_set(cast: Cast) -> None:
    tell(cast)
    browser = cast.admin.browser()
    alone = browser.get(reverse("notifications")).content.decode()
    assert "Not sent: no channel was set to receive this kind." in alone
    assert f'<a href="{reverse("channel-new")}">New webhook</a>' in alone
    made(cast, kinds=["BUDGET"])
    listed = browser.get(reverse("notifications")).content.decode()
    assert '<a href="#channels">What channels receive</a>' in listed
    page = browser.get(reverse("notification", args=[Notification.objects.get().id])).content.decode()
    assert f"no channel of {cast.organization.name} was set to receive “" in page
    assert f'href="{reverse("notifications")}#channels"' in page
    assert "Not sent" not in cast.viewer.browser().get(reverse("notifications")).content.decode()
