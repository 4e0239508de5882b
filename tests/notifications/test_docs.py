"""The example of docs/notifications.md verifies what Headroom sends, and nothing else."""

import re
import time
from collections.abc import Callable

import pytest
from django.conf import settings

from console.common import clock
from console.notifications import channels, delivering
from console.notifications.messages import TYPES
from console.notifications.models import Kind
from tests.cast import Cast
from tests.notifications.receivers import Receiver

DOCS = (settings.BASE_DIR / "docs" / "notifications.md").read_text()


def example() -> Callable[..., bool]:
    found = re.search(r"```python\n(.*?)```", DOCS, re.DOTALL)
    assert found
    names: dict[str, Callable[..., bool]] = {}
    exec(found[1], names)
    return names["verify"]


@pytest.mark.django_db
def test_the_example_verifies_a_webhook(cast: Cast, hook: Receiver, private: None) -> None:
    channel, secret = channels.channel_create(
        actor=cast.admin.actor, organization=cast.organization, type="WEBHOOK", name="pager", target=hook.url,
        kinds=["BUDGET"],
    )  # fmt: skip
    channels.channel_test(actor=cast.admin.actor, channel=channel, now=clock.now())
    delivering.deliver_pass(now=clock.now())
    (got,) = hook.got
    verify = example()
    assert verify(secret, got.headers, got.body)
    assert not verify(secret, got.headers, got.body + b" ")
    assert not verify(secret, {**got.headers, "webhook-id": "msg_another"}, got.body)
    assert not verify(secret, got.headers, got.body, time.time() + 301)
    assert not verify("whsec_" + "A" * 44, got.headers, got.body)


def test_every_kind_and_type_is_in_the_table() -> None:
    assert [kind for kind in Kind if f"`{kind.value}`" not in DOCS] == []
    assert [type for type in TYPES.values() if f"`{type}`" not in DOCS] == []
