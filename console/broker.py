"""Kombu's Redis transport, but a worker outlives its broker.

A transport forgets its connection when that is closed, as it is at once when the broker goes. Yet the channel then
wants to put back what the running tasks hold, and each task, once it is done, to acknowledge: both ask the transport
where the broker is, and with kombu 5.7 meet an AttributeError that ends the worker. Here it keeps what it was told.
"""

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis


class Transport(redis.Transport):
    @property
    def client(self) -> Any:
        return self._client

    @client.setter
    def client(self, connection: Any) -> None:
        if connection is not None:
            self._client = connection


def outlive() -> None:
    """From now on addresses of Redis and Valkey are served by this transport."""
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:Transport"))
