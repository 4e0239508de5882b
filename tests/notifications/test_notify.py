"""What happened is noted once, and put on its way to the channels that want it."""

import threading
from datetime import datetime
from typing import Any

import pytest
from django.db import connection, transaction

from console.common import clock
from console.notifications.channels import channel_change, channel_create, channel_delete
from console.notifications.models import Channel, Delivery, Kind, Notification
from console.notifications.services import notify
from console.organizations.models import Organization
from tests.cast import Cast

AT_ONCE = 8


def told(organization: Organization, key: str = "budget:2026-11:100:80", kind: Kind = Kind.BUDGET, **more: Any) -> bool:
    now: datetime = more.pop("now", None) or clock.now()
    return notify(
        organization=organization, kind=kind, key=key, subject="80 % spent", text="$80 of $100", now=now, **more
    )


@pytest.mark.django_db
def test_the_same_occurrence_is_told_once(cast: Cast, channel: Channel) -> None:
    assert told(cast.organization, path="/billing", data={"percent": 80})
    assert not told(cast.organization, path="/elsewhere", data={"percent": 81})
    one = Notification.objects.get()
    assert (one.subject, one.path, one.data) == ("80 % spent", "/billing", {"percent": 80})
    assert Delivery.objects.count() == 1


@pytest.mark.django_db
def test_each_organization_has_its_own_keys(cast: Cast, channel: Channel) -> None:
    assert told(cast.organization)
    assert told(cast.other), "another organization's"
    assert Delivery.objects.get().notification.organization == cast.organization, "and gets nothing of ours"


@pytest.mark.django_db
def test_only_channels_that_want_the_kind_and_are_enabled_get_it(cast: Cast, channel: Channel) -> None:
    def another(name: str, kinds: list[str]) -> Channel:
        return channel_create(actor=cast.admin.actor, organization=cast.organization, type="EMAIL", name=name,
                              target=f"{name}@example.com", kinds=kinds)[0]  # fmt: skip

    wants, other, off, gone = another("a", ["BUDGET"]), another("b", ["SHORTAGE"]), another("c", ["BUDGET"]), another("d", ["BUDGET"])  # fmt: skip
    channel_change(actor=cast.admin.actor, channel=off, enabled=False, now=clock.now())
    channel_delete(actor=cast.admin.actor, channel=gone, now=clock.now())
    told(cast.organization)
    assert set(Delivery.objects.values_list("channel", flat=True)) == {channel.pk, wants.pk}
    assert other.pk not in Delivery.objects.values_list("channel", flat=True)


@pytest.mark.django_db
def test_nothing_is_told_where_the_change_is_rolled_back(cast: Cast, channel: Channel) -> None:
    with transaction.atomic():
        assert told(cast.organization)
        transaction.set_rollback(True)
    assert not Notification.objects.exists()
    assert told(cast.organization), "so it can be told when it happens after all"


@pytest.mark.django_db
def test_a_long_subject_is_cut_and_a_key_that_is_too_long_is_a_fault(cast: Cast) -> None:
    notify(organization=cast.organization, kind=Kind.BUDGET, key="k", subject="x" * 500, text="", now=clock.now())
    assert len(Notification.objects.get().subject) == 200
    with pytest.raises(AssertionError):
        told(cast.organization, key="x" * 201)


@pytest.mark.django_db(transaction=True)
def test_told_by_many_at_once_it_is_told_once(cast: Cast, channel: Channel) -> None:
    now, answers, barrier = clock.now(), [], threading.Barrier(AT_ONCE)

    def tell() -> None:
        barrier.wait(timeout=20)
        try:
            answers.append(told(cast.organization, now=now))
        finally:
            connection.close()

    threads = [threading.Thread(target=tell) for _ in range(AT_ONCE)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(timeout=30)
    assert sorted(answers) == [False] * (AT_ONCE - 1) + [True]
    assert (Notification.objects.count(), Delivery.objects.count()) == (1, 1)
