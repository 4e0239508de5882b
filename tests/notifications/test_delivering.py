"""Deliveries: signed, tried again for a day, taken by one worker at a time, never lost, replayed when asked."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from console.common import clock
from console.common.errors import FailedPrecondition
from console.loops.models import Loop
from console.notifications import channels, delivering, signing, tasks
from console.notifications.models import Attempt, Channel, Delivery, DeliveryState, Kind, Notification
from console.notifications.sending import Outcome, send
from console.notifications.services import notify
from console.notifications.tasks import deliver
from console.organizations.models import AuditEvent
from tests.cast import Cast
from tests.notifications.receivers import Mailbox, Receiver, answers, hangs, mail_server, receiver

pytestmark = pytest.mark.django_db


def tell(cast: Cast, key: str = "k", now: datetime | None = None) -> Delivery:
    assert notify(
        organization=cast.organization, kind=Kind.QUOTA_NOTICE, key=key, subject="80 % used", text="8 of 10 used",
        path="/quota", data={"used": 8}, now=now or clock.now(),
    )  # fmt: skip
    return Delivery.objects.get(notification__key=key)


def run() -> int:
    return delivering.deliver_pass(now=clock.now())


def due_now() -> None:
    """As if the wait were over."""
    Delivery.objects.update(next_at=clock.now() - timedelta(seconds=1))


def verified(secret: str, got: dict[str, str], body: bytes) -> bool:
    """As a receiver does it, with nothing of ours."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{got['webhook-id']}.{got['webhook-timestamp']}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(one, wanted) for one in got["webhook-signature"].split(" "))


def test_a_webhook_arrives_signed(cast: Cast, hook: Receiver, private: None) -> None:
    _, secret = channels.channel_create(
        actor=cast.admin.actor, organization=cast.organization, type="WEBHOOK", name="pager", target=hook.url,
        kinds=["QUOTA_NOTICE"],
    )  # fmt: skip
    delivery = tell(cast)
    assert run() == 1
    (got,) = hook.got
    assert verified(secret, got.headers, got.body)
    assert not verified("whsec_" + base64.b64encode(b"another").decode(), got.headers, got.body)
    assert abs(int(got.headers["webhook-timestamp"]) - time.time()) < 5
    sent = json.loads(got.body)
    assert sent["type"] == "quota.notice"
    assert sent["data"] | {"url": ""} == {
        "id": str(delivery.notification_id), "organization": "cw12ab", "kind": "QUOTA_NOTICE", "subject": "80 % used",
        "text": "8 of 10 used", "url": "", "details": {"used": 8},
    }  # fmt: skip
    assert sent["data"]["url"].startswith("http")
    assert sent["data"]["url"].endswith("/quota")
    assert (got.method, got.headers["content-type"]) == ("POST", "application/json")
    delivery.refresh_from_db()
    assert (delivery.state, delivery.last_status, delivery.attempts) == (DeliveryState.DELIVERED, 200, 1)
    attempt = Attempt.objects.get()
    assert (attempt.ok, attempt.status, attempt.answer) == (True, 200, "ok")
    assert run() == 0, "what is delivered is not sent again"


def test_what_fails_is_tried_again_later_and_later_with_the_same_id(
    cast: Cast, channel: Channel, hook: Receiver
) -> None:
    hook.replies = [answers(500, b"not today"), answers(503), answers(204, b"")]
    delivery = tell(cast)
    waits = []
    for _ in range(2):
        run()
        delivery.refresh_from_db()
        assert delivery.state == DeliveryState.WAITING
        waits.append((delivery.next_at - clock.now()).total_seconds())
        assert run() == 0, "not before its time"
        due_now()
    assert 7 < waits[0] < 12.1
    assert 15 < waits[1] < 24.1
    run()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 3)
    assert len({one.headers["webhook-id"] for one in hook.got}) == 1
    log = list(Attempt.objects.order_by("number").values_list("number", "ok", "status", "answer"))
    assert log == [(1, False, 500, "not today"), (2, False, 503, "ok"), (3, True, 204, "")]


def test_the_back_off_grows_to_two_hours_and_ends_after_a_day(cast: Cast, channel: Channel) -> None:
    waits = [delivering.wait_after(n, Outcome(False, 0)).total_seconds() for n in range(1, 200)]
    assert all(0.8 * 10 * 2**n <= waits[n] <= 1.2 * 10 * 2**n for n in range(9))
    assert max(waits) <= 2 * 3600 * 1.2
    assert len({round(one, 3) for one in waits[20:]}) > 100, "with jitter"
    delivery, now = tell(cast), clock.now()
    for n in range(1, 60):
        Delivery.objects.update(state=DeliveryState.SENDING, attempts=n, in_a_row=n, ended_at=None)
        delivery.refresh_from_db()
        assert delivering.delivery_record(delivery=delivery, outcome=Outcome(False, 1, 500, "Answered 500"), now=now)
        delivery.refresh_from_db()
        if delivery.state == DeliveryState.FAILED:
            break
        now = delivery.next_at
    assert delivery.state == DeliveryState.FAILED
    assert timedelta(hours=20) < now - delivery.created_at <= timedelta(hours=24)
    assert delivery.ended_at == now
    assert 15 < n < 30


def test_a_receiver_that_asks_for_time_gets_it(cast: Cast, channel: Channel, hook: Receiver) -> None:
    hook.replies = [answers(429, Retry_After="600")]
    delivery = tell(cast)
    run()
    delivery.refresh_from_db()
    assert 590 < (delivery.next_at - clock.now()).total_seconds() <= 600


def test_a_receiver_that_is_gone_turns_the_channel_off(cast: Cast, channel: Channel, hook: Receiver) -> None:
    hook.replies = [answers(410)]
    delivery, waits = tell(cast), tell(cast, "later")
    run()
    waits.refresh_from_db()
    assert (waits.state, len(hook.got)) == (DeliveryState.CANCELLED, 1), "the others are not tried any more"
    delivery.refresh_from_db()
    channel.refresh_from_db()
    assert (delivery.state, channel.enabled) == (DeliveryState.FAILED, False)
    assert "410" in channel.disabled_because
    assert AuditEvent.objects.filter(action="channel.disable", object_id=str(channel.pk)).exists()


def test_a_delivery_can_be_replayed_with_the_same_id(cast: Cast, channel: Channel, hook: Receiver) -> None:
    delivery = tell(cast)
    run()
    channels.delivery_replay(actor=cast.admin.actor, delivery=delivery, now=clock.now())
    assert run() == 1
    first, second = hook.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.in_a_row) == (DeliveryState.DELIVERED, 2, 1)


def test_one_that_failed_is_replayed_for_another_day(cast: Cast, channel: Channel, hook: Receiver) -> None:
    hook.replies = [answers(500), answers(500), answers(200)]
    delivery = tell(cast, now=clock.now() - timedelta(hours=24))
    run()
    delivery.refresh_from_db()
    assert delivery.state == DeliveryState.FAILED
    channels.delivery_replay(actor=cast.admin.actor, delivery=delivery, now=clock.now())
    run()
    delivery.refresh_from_db()
    assert delivery.state == DeliveryState.WAITING, "it is tried again and not given up at once"
    due_now()
    run()
    delivery.refresh_from_db()
    assert delivery.state == DeliveryState.DELIVERED


def test_one_that_is_being_sent_is_not_sent_by_a_replay(cast: Cast, channel: Channel) -> None:
    delivery = tell(cast)
    delivering.deliveries_take(most=1, now=clock.now())
    channels.delivery_replay(actor=cast.admin.actor, delivery=delivery, now=clock.now())
    assert run() == 0
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == (DeliveryState.SENDING, 1)


def test_a_disabled_channel_gets_nothing_and_what_waited_is_cancelled(
    cast: Cast, channel: Channel, hook: Receiver
) -> None:
    delivery = tell(cast)
    channels.channel_change(actor=cast.admin.actor, channel=channel, enabled=False, now=clock.now())
    assert run() == 0
    delivery.refresh_from_db()
    assert (delivery.state, delivery.last_error) == (DeliveryState.CANCELLED, channels.TURNED_OFF)
    with pytest.raises(FailedPrecondition):
        channels.delivery_replay(actor=cast.admin.actor, delivery=delivery, now=clock.now())
    delivery.refresh_from_db()
    assert delivery.state == DeliveryState.CANCELLED
    channels.channel_change(actor=cast.admin.actor, channel=channel, enabled=True, now=clock.now())
    channels.delivery_replay(actor=cast.admin.actor, delivery=delivery, now=clock.now())
    assert run() == 1
    assert len(hook.got) == 1


def test_one_deleted_while_it_is_sent_stays_cancelled(cast: Cast, channel: Channel) -> None:
    tell(cast)
    (taken,) = delivering.deliveries_take(most=1, now=clock.now())
    channels.channel_delete(actor=cast.admin.actor, channel=channel, now=clock.now())
    assert not delivering.delivery_record(
        delivery=taken, outcome=Outcome(False, 1, 500, "Answered 500"), now=clock.now()
    )
    taken.refresh_from_db()
    assert taken.state == DeliveryState.CANCELLED
    assert Attempt.objects.get().status == 500, "the log has it all the same"


def test_after_a_rotation_both_secrets_sign_for_a_day(cast: Cast, channel: Channel, hook: Receiver) -> None:
    old = signing.secret_of(channel.salt)
    new = channels.channel_rotate(actor=cast.admin.actor, channel=channel, now=clock.now())
    assert new != old
    tell(cast)
    run()
    (got,) = hook.got
    assert verified(old, got.headers, got.body)
    assert verified(new, got.headers, got.body)
    Channel.objects.update(old_salt_until=clock.now() - timedelta(seconds=1))
    tell(cast, "later")
    run()
    assert not verified(old, hook.got[1].headers, hook.got[1].body)
    assert verified(new, hook.got[1].headers, hook.got[1].body)


def test_a_worker_killed_between_sending_and_noting_it_sends_again_with_the_same_id(
    cast: Cast, channel: Channel, hook: Receiver
) -> None:
    delivery = tell(cast)
    now = clock.now()
    (taken,) = delivering.deliveries_take(most=8, now=now)
    assert send(taken, int(now.timestamp())).ok
    # Here it dies. Nothing happens as long as its lease lasts, then it is sent again.
    assert run() == 0
    Delivery.objects.update(next_at=clock.now())
    assert run() == 1
    first, second = hook.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 2)
    assert [one.error for one in Attempt.objects.order_by("number")] == [delivering.LOST, ""]


def test_one_who_comes_back_after_its_lease_changes_nothing(cast: Cast, channel: Channel, hook: Receiver) -> None:
    delivery = tell(cast)
    (slow,) = delivering.deliveries_take(most=8, now=clock.now())
    Delivery.objects.update(next_at=clock.now())
    run()
    assert not delivering.delivery_record(delivery=slow, outcome=Outcome(False, 200, 500, "late"), now=clock.now())
    delivery.refresh_from_db()
    assert (delivery.state, delivery.last_error) == (DeliveryState.DELIVERED, "")


@pytest.mark.django_db(transaction=True)
def test_workers_at_once_make_each_attempt_once(cast: Cast, channel: Channel, hook: Receiver) -> None:
    for n in range(30):
        tell(cast, f"k{n}")
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait(timeout=20)
        try:
            run()
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(timeout=60)
    ids = [one.headers["webhook-id"] for one in hook.got]
    assert len(ids) == len(set(ids)) == 30
    assert set(Delivery.objects.values_list("state", "attempts")) == {("DELIVERED", 1)}


def test_a_channel_that_hangs_does_not_hold_up_the_others(
    cast: Cast, channel: Channel, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as slow:
        slow.replies = [hangs(3)]
        channels.channel_create(actor=cast.admin.actor, organization=cast.organization, type="WEBHOOK", name="slow",
                                target=slow.url, kinds=["QUOTA_NOTICE"])  # fmt: skip
        for n in range(5):
            notify(organization=cast.organization, kind=Kind.QUOTA_NOTICE, key=f"k{n}", subject="s", text="t",
                   now=clock.now())  # fmt: skip
        monkeypatch.setattr(delivering, "BEGINS_FOR_S", 1.0)
        run()
        assert len(hook.got) == 5
        assert len(slow.got) == 1


def test_a_pass_that_meets_a_fault_of_ours_goes_on(
    cast: Cast, channel: Channel, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as second:
        channels.channel_create(actor=cast.admin.actor, organization=cast.organization, type="WEBHOOK", name="second",
                                target=second.url, kinds=["QUOTA_NOTICE"])  # fmt: skip

        def faulty(delivery: Delivery, timestamp: int) -> Outcome:
            if delivery.channel_id == channel.pk:
                raise RuntimeError("a defect")
            return send(delivery, timestamp)

        monkeypatch.setattr(delivering, "send", faulty)
        notify(organization=cast.organization, kind=Kind.QUOTA_NOTICE, key="k", subject="s", text="t", now=clock.now())
        assert run() == 2
        assert len(second.got) == 1
    failed = Delivery.objects.get(channel=channel)
    assert (failed.state, failed.last_error) == (DeliveryState.WAITING, "Could not be sent: RuntimeError")


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_it_is_sent(
    cast: Cast, channel: Channel, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(cast)
    seen: list[list[str]] = []

    def looked(delivery: Delivery, timestamp: int) -> Outcome:
        with connection.cursor() as cursor:
            cursor.execute("SELECT state FROM pg_stat_activity WHERE datname = current_database() "
                           "AND pid <> pg_backend_pid() AND backend_type = 'client backend'")  # fmt: skip
            seen.append([row[0] for row in cursor.fetchall()])
        connection.close()
        return send(delivery, timestamp)

    monkeypatch.setattr(delivering, "send", looked)
    run()
    assert seen
    assert "idle" in seen[0]
    assert not [state for state in seen[0] if "transaction" in state]


@pytest.fixture
def mailbox(settings: Settings) -> Iterator[Mailbox]:
    with mail_server() as box:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", box.port, 5
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        yield box


@pytest.fixture
def letters(cast: Cast) -> Channel:
    return channels.channel_create(
        actor=cast.admin.actor, organization=cast.organization, type="EMAIL", name="on call",
        target="oncall@example.com", kinds=["QUOTA_NOTICE"],
    )[0]  # fmt: skip


def test_a_letter_arrives(cast: Cast, letters: Channel, mailbox: Mailbox) -> None:
    delivery = tell(cast)
    run()
    (letter,) = mailbox.letters
    text = letter.decode()
    assert mailbox.recipients == ["oncall@example.com"]
    assert "Subject: [Headroom] 80 % used" in text
    assert "8 of 10 used" in text
    assert "/quota" in text
    assert f"msg_{delivery.notification_id.hex}" in text, "its Message-ID is the same in every attempt"
    delivery.refresh_from_db()
    assert delivery.state == DeliveryState.DELIVERED


def test_a_letter_that_is_refused_waits_and_says_why(cast: Cast, letters: Channel, mailbox: Mailbox) -> None:
    delivery = tell(cast)
    mailbox.refuse_recipient = True
    run()
    delivery.refresh_from_db()
    assert delivery.state == DeliveryState.WAITING
    assert "550 no such mailbox" in delivery.last_error
    mailbox.refuse_recipient, mailbox.code = False, "451 too busy"
    due_now()
    run()
    delivery.refresh_from_db()
    assert "451" in delivery.last_error
    mailbox.code = "250 taken"
    due_now()
    run()
    assert len(mailbox.letters) == 1


def test_a_subject_of_several_lines_adds_no_header(cast: Cast, letters: Channel, mailbox: Mailbox) -> None:
    notify(organization=cast.organization, kind=Kind.QUOTA_NOTICE, key="k", subject="a\r\nBcc: b@example.com", text="t",
           now=clock.now())  # fmt: skip
    run()
    assert b"\r\nBcc:" not in mailbox.letters[0]


def test_without_a_mail_server_letters_are_files(
    cast: Cast, letters: Channel, settings: Settings, tmp_path: Path
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = tmp_path / "mail"
    tell(cast)
    run()
    (written,) = (tmp_path / "mail").iterdir()
    assert "80 % used" in written.read_text()


def test_the_task_is_a_pass_of_its_loop(cast: Cast, channel: Channel, hook: Receiver) -> None:
    tell(cast)
    deliver()
    deliver()
    assert len(hook.got) == 1
    assert Loop.objects.get(name="deliver").passes == 1


def test_one_pass_a_process_so_that_receivers_that_hang_leave_threads_to_others(cast: Cast, hook: Receiver) -> None:
    with tasks._here:
        deliver()
    assert not Loop.objects.exists(), "it did not even begin"
    deliver()
    assert Loop.objects.get(name="deliver").passes == 1


def test_what_is_old_is_dropped_and_nothing_else(cast: Cast, channel: Channel) -> None:
    old, now = clock.now() - delivering.KEPT - timedelta(hours=1), clock.now()
    tell(cast, "old", old)
    tell(cast, "young", now)
    delivering.forget(now=now)
    assert [one.key for one in Notification.objects.all()] == ["young"]
    assert Delivery.objects.count() == 1
