"""A task that runs while the broker goes: what a worker does with its connection then, step by step."""

import signal
import subprocess
from contextlib import suppress
from typing import Any

import pytest
from kombu import Connection, Exchange, Queue
from kombu.transport import redis
from redis import Redis

from console import broker
from console.celery import app
from console.stack.processes import end
from tests.stack.stacks import running_broker, until

pytestmark = [pytest.mark.stack]


def left_unacknowledged(transport: Any) -> int:
    """Messages that the broker, killed and started again while a task ran, still holds when the task is done."""
    with running_broker() as (server, first):
        connection: Any = Connection(server.url)
        connection.transport_cls = transport
        work = Queue("work", Exchange("work"), "work")
        begun: list[Any] = []
        with connection.Producer() as producer:
            producer.publish("begin", exchange=work.exchange, routing_key="work", declare=[work])
        connection.Consumer(work, on_message=begun.append).consume()
        connection.Consumer(Queue("orders"), channel=connection.channel()).consume()  # a worker's remote control
        connection.drain_events(timeout=5)
        with suppress(TimeoutError):
            connection.drain_events(timeout=0.1)  # both wait for the next message
        end(first, signal.SIGKILL, 5)
        connection.collect(socket_timeout=1)
        connection.close()
        second = server.start(subprocess.DEVNULL)
        try:
            until(server.answers, 20, "the broker did not start again")
            begun[0].ack()
            return int(Redis(unix_socket_path=str(server.socket)).hlen("unacked"))
        finally:
            end(second, signal.SIGTERM, 5)


def test_a_task_that_was_running_is_acknowledged_once_the_broker_is_back() -> None:
    assert left_unacknowledged(broker.Transport) == 0


def test_with_kombus_own_transport_the_worker_would_end() -> None:
    """Once this fails, kombu is mended and `console.broker` can go."""
    with pytest.raises(AttributeError, match="hostname"):
        left_unacknowledged(redis.Transport)


def test_workers_use_ours() -> None:
    assert isinstance(app.connection_for_read("redis+socket:///tmp/valkey.sock").transport, broker.Transport)
