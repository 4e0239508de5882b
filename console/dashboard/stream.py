"""The event stream of a page: which topics changed for the organization the viewer looks at, and the new chart points.

One LISTEN connection a process hears PostgreSQL's notifications. Points are made only of what
open pages draw, once for all that draw the same and at most once a second, then fanned out; a browser costs a queue.
"""

import asyncio
import contextvars
import json
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
import psycopg.conninfo
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections, connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

from console.common.notify import CHANNEL
from console.dashboard import points
from console.dashboard.lateness import late_names_apart
from console.organizations.actors import Actor
from console.organizations.models import Organization

log = logging.getLogger(__name__)

HEARTBEAT_S = 15.0
LIFE_S = 600.0  # then the browser connects anew, and its sign-in and membership are looked at again
GAP_S = 1.0  # between two events of a topic, however many changes there are
WAITING_EVENTS = 50  # a browser that does not read loses the oldest; each event only says "look again"
RECONNECTED = "reconnected"
LATE, LATE_LOOK_S = "late", 10.0
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 30.0


@dataclass(eq=False)
class Listener:
    """One open page; `shown` is whose values its charts draw (`points.newest`)."""

    organization: int
    shown: str = ""
    events: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(WAITING_EVENTS))

    def offer(self, event: str) -> None:
        if self.events.full():
            self.events.get_nowait()
        self.events.put_nowait(event)


class Hub:
    """The process's one LISTEN connection, opened with the first page and kept."""

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()
        self.changed: set[tuple[int, str]] = set()
        self.woken = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    def join(self, listener: Listener) -> None:
        self.listeners.add(listener)
        if not self.tasks or any(task.done() for task in self.tasks):
            for task in self.tasks:
                task.cancel()
            # A context of their own: the request's ends with the page that happened to be first.
            make, context = asyncio.get_running_loop().create_task, contextvars.Context()
            self.woken = asyncio.Event()
            parts = (self._hear(), self._tell(), self._watch())
            self.tasks = [make(part, context=context) for part in parts]

    def leave(self, listener: Listener) -> None:
        self.listeners.discard(listener)

    async def _hear(self) -> None:
        wait = FIRST_RETRY_S
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(conninfo(), autocommit=True) as listening:
                    await listening.execute(f"LISTEN {CHANNEL}")
                    for listener in self.listeners:
                        listener.offer(json.dumps({"topic": RECONNECTED}))
                    wait = FIRST_RETRY_S
                    async for notice in listening.notifies():
                        self.note(notice.payload)
            except (psycopg.Error, OSError) as error:
                log.warning("the event stream lost the database (%s)", type(error).__name__)
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_RETRY_S)

    def note(self, payload: str) -> None:
        """Remember what a notification says changed, where somebody looks at it."""
        with suppress(ValueError, KeyError, TypeError):
            event = json.loads(payload)
            topic, organizations = str(event["topic"]), event["organizations"]
            watched = {listener.organization for listener in self.listeners}
            chosen = watched if organizations == "all" else watched & set(organizations)
            self.changed |= {(key, topic) for key in chosen}
            self.woken.set()

    async def _tell(self) -> None:
        while True:
            await self.woken.wait()
            self.woken.clear()
            changed, self.changed = self.changed, set()
            for key, topic in sorted(changed):
                shown = {listener.shown for listener in self.listeners if listener.organization == key}
                events = await sync_to_async(events_apart)(key, topic, shown)
                for listener in self.listeners:
                    if listener.organization == key:  # one that came meanwhile has just loaded its charts
                        listener.offer(events.get(listener.shown) or json.dumps({"topic": topic}))
            await asyncio.sleep(GAP_S)

    async def _watch(self) -> None:
        """A loop that has stopped says nothing, so somebody has to look: pages hear when another is late, or none."""
        known: frozenset[str] | None = None
        while True:
            late = await sync_to_async(late_names_apart)() if self.listeners else None
            if late is not None and known is not None and late != known:
                for listener in self.listeners:
                    listener.offer(json.dumps({"topic": LATE}))
            known = known if late is None else late
            await asyncio.sleep(LATE_LOOK_S)


hub = Hub()


def conninfo() -> str:
    database: dict[str, Any] = settings.DATABASES["default"]
    return psycopg.conninfo.make_conninfo(
        dbname=database["NAME"], user=database["USER"], password=database["PASSWORD"], host=database["HOST"],
        port=database["PORT"] or None,
    )  # fmt: skip


def events_of(organization_key: int, topic: str, shown: Collection[str]) -> dict[str, str]:
    """The event for each of `shown`; without points when the database does not answer, so that pages ask for
    themselves."""
    try:
        found = points.newest(organization_key, topic, shown)
    except (DatabaseError, Organization.DoesNotExist):
        found = {one: {} for one in shown}
    return {one: json.dumps({"topic": topic, **event}) for one, event in found.items()}


def events_apart(organization_key: int, topic: str, shown: Collection[str]) -> dict[str, str]:
    """For a thread of its own, which leaves no connection behind."""
    try:
        return events_of(organization_key, topic, shown)
    finally:
        connection.close()


@require_safe
async def events(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """Server-sent events: `data: {"topic": "deployments", "at": ..., "values": {...}}`.

    `?of=` says whose values the page draws: the id of a deployment or claim, or `fleet`; without it events carry none.
    The tenant is decided here, by the session, and again when the stream's life ends.
    """
    organization = await sync_to_async(organization_key)(request)
    if organization is None:
        return HttpResponse("Sign in first.", status=403, content_type="text/plain")
    listener = Listener(organization, points.holder(request.GET.get("of", "")))
    response = StreamingHttpResponse(flow(listener), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


def organization_key(request: HttpRequest) -> int | None:
    """The organization looked at, for who may; None for others.

    The connection goes back to the pool here. Django gives it back when the answer ends, which takes minutes.
    """
    try:
        actor: Actor = request.actor  # type: ignore[attr-defined]
        if actor.organization is None or (actor.role is None and not actor.is_platform):
            return None
        return actor.organization.key
    finally:
        close_old_connections()


async def flow(listener: Listener) -> AsyncIterator[bytes]:
    ends = asyncio.get_running_loop().time() + LIFE_S
    hub.join(listener)
    try:
        yield b"retry: 1000\n\n"
        while (left := ends - asyncio.get_running_loop().time()) > 0:
            try:
                event = await asyncio.wait_for(listener.events.get(), min(HEARTBEAT_S, left))
            except TimeoutError:
                yield b": still here\n\n"
            else:
                yield f"data: {event}\n\n".encode()
    finally:
        hub.leave(listener)
