"""The event stream of a page: which topics changed for the organization the viewer looks at.

One LISTEN connection a process hears PostgreSQL's notifications and fans them out; a browser costs a queue.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
import psycopg.conninfo
from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

from console.common.notify import CHANNEL
from console.organizations.actors import Actor

log = logging.getLogger(__name__)

HEARTBEAT_S = 15.0
WAITING_EVENTS = 50  # a browser that does not read loses the oldest; each event only says "look again"
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 30.0


@dataclass(eq=False)
class Listener:
    """One open page."""

    organization: int
    events: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(WAITING_EVENTS))

    def offer(self, topic: str) -> None:
        if self.events.full():
            self.events.get_nowait()
        self.events.put_nowait(topic)


class Hub:
    """The process's one LISTEN connection, opened with the first page and kept."""

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()
        self.task: asyncio.Task[None] | None = None

    def join(self, listener: Listener) -> None:
        self.listeners.add(listener)
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._run())

    def leave(self, listener: Listener) -> None:
        self.listeners.discard(listener)

    async def _run(self) -> None:
        wait = FIRST_RETRY_S
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(conninfo(), autocommit=True) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    self._all("reconnected")
                    wait = FIRST_RETRY_S
                    async for notice in connection.notifies():
                        self._fan_out(notice.payload)
            except (psycopg.Error, OSError) as error:
                log.warning("the event stream lost the database (%s)", type(error).__name__)
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_RETRY_S)

    def _fan_out(self, payload: str) -> None:
        with suppress(ValueError, KeyError, TypeError):
            event = json.loads(payload)
            topic, organizations = str(event["topic"]), event["organizations"]
            chosen = None if organizations == "all" else set(organizations)
            for listener in self.listeners:
                if chosen is None or listener.organization in chosen:
                    listener.offer(topic)

    def _all(self, topic: str) -> None:
        for listener in self.listeners:
            listener.offer(topic)


hub = Hub()


def conninfo() -> str:
    database: dict[str, Any] = settings.DATABASES["default"]
    return psycopg.conninfo.make_conninfo(
        dbname=database["NAME"], user=database["USER"], password=database["PASSWORD"], host=database["HOST"],
        port=database["PORT"] or None,
    )  # fmt: skip


@require_safe
async def events(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """Server-sent events: `data: {"topic": "deployments"}`. The tenant is decided here, once, by the session."""
    organization = await sync_to_async(organization_key)(request)
    if organization is None:
        return HttpResponse("Sign in first.", status=403, content_type="text/plain")
    response = StreamingHttpResponse(flow(Listener(organization)), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


def organization_key(request: HttpRequest) -> int | None:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if actor.organization is None or (actor.role is None and not actor.is_platform):
        return None
    return actor.organization.key


async def flow(listener: Listener) -> AsyncIterator[bytes]:
    hub.join(listener)
    try:
        yield b"retry: 3000\n\n"
        while True:
            try:
                topic = await asyncio.wait_for(listener.events.get(), HEARTBEAT_S)
            except TimeoutError:
                yield b": still here\n\n"
            else:
                yield f"data: {json.dumps({'topic': topic})}\n\n".encode()
    finally:
        hub.leave(listener)
