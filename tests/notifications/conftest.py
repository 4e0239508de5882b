from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from console.notifications.channels import CHOSEN, channel_create
from console.notifications.models import Channel
from tests.cast import Cast
from tests.notifications.receivers import Receiver, receiver


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def private(settings: Settings) -> None:
    """Webhooks may go to this machine."""
    settings.WEBHOOK_PRIVATE = True


@pytest.fixture
def channel(cast: Cast, hook: Receiver, private: None) -> Channel:
    """A webhook of ours that wants everything."""
    made, _ = channel_create(
        actor=cast.admin.actor, organization=cast.organization, type="WEBHOOK", name="pager", target=hook.url,
        kinds=CHOSEN,
    )  # fmt: skip
    return made
