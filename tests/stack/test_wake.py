"""Wake-ups are sent when the transaction commits, and not again and again (W4)."""

from typing import Any

import pytest
from celery import current_app
from django.db import transaction

from console.common import wake

pytestmark = pytest.mark.django_db(transaction=True)

QUEUE, TASK, OTHER = "only-for-this-test", "claims.tasks.fulfil", "claims.tasks.provision"


@pytest.fixture(autouse=True)
def nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wake, "_sent", {})
    taken()


def taken() -> list[Any]:
    """The names of the tasks that wait in the queue, which is empty afterwards."""
    found = []
    with current_app.connection_for_write() as connection, connection.SimpleQueue(QUEUE) as queue:
        while queue.qsize():
            message = queue.get_nowait()
            found.append(message.headers["task"])
            message.ack()
    return found


def test_w4_a_loop_is_woken_up_once_the_transaction_has_committed() -> None:
    with transaction.atomic():
        wake.wake_on_commit(TASK, QUEUE)
        assert taken() == []
    assert taken() == [TASK]


def test_w4_a_loop_that_was_woken_up_a_moment_ago_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wake, "AGAIN_AFTER_S", 600.0)
    for task in (TASK, OTHER, TASK, TASK, OTHER):
        wake.wake_on_commit(task, QUEUE)
    assert taken() == [TASK, OTHER]
    monkeypatch.setattr(wake, "AGAIN_AFTER_S", 0.0)
    wake.wake_on_commit(TASK, QUEUE)
    assert taken() == [TASK]
