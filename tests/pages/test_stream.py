"""The event stream on a real PostgreSQL: who hears of what, and what happens when the connection is lost."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.db import connection, transaction
from django.test import AsyncClient, Client
from django.urls import reverse

from console.common.notify import LONGEST_PAYLOAD, publish
from console.dashboard import stream
from console.organizations.models import Membership, User
from tests.cast import Cast

application = get_asgi_application()  # without the pool of console.asgi, which would be that of all tests

pytestmark = pytest.mark.django_db(transaction=True)

SOON_S = 15.0
LISTENING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN headroom'"


@pytest.fixture(autouse=True)
def nobody_else_listens() -> None:
    """Pages of an earlier test went with its event loop, not by leaving."""
    stream.hub.listeners.clear()


class Page:
    """An open page: reads its stream line by line."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.lines = answer.streaming_content

    async def line(self) -> str:
        chunk = await asyncio.wait_for(anext(self.lines), SOON_S)
        return str(chunk.decode())

    async def topic(self) -> str:
        """The topic of the next event; heartbeats and the retry time are passed over."""
        while not (line := await self.line()).startswith("data: "):
            pass
        return str(json.loads(line.removeprefix("data: "))["topic"])

    async def until(self, topic: str) -> list[str]:
        """All topics up to this one."""
        heard = [await self.topic()]
        while heard[-1] != topic:
            heard.append(await self.topic())
        return heard


@asynccontextmanager
async def opened(user: User) -> AsyncIterator[Page]:
    client = AsyncClient()
    await sync_to_async(client.force_login)(user, backend="django.contrib.auth.backends.ModelBackend")
    page = Page(await client.get(reverse("events")))
    assert page.answer.status_code == 200
    assert (await page.line()).startswith("retry: ")
    try:
        yield page
    finally:
        await page.lines.aclose()


def run(story: Callable[[], Awaitable[None]]) -> None:
    """Run it so that what it asks of the database goes through the test's own connection."""
    async_to_sync(story)()


def listening() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(LISTENING)
        return [pid for (pid,) in cursor.fetchall()]


def held() -> int:
    """Connections besides the test's own and the listening one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND query <> 'LISTEN headroom'"
        )
        rows: list[tuple[int]] = cursor.fetchall()
    return rows[0][0]


def cut(pid: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])


tell = sync_to_async(publish)


def test_one_hears_of_ones_own_organization_and_of_no_other(cast: Cast) -> None:
    async def story() -> None:
        async with opened(cast.admin.user) as ours, opened(cast.outsider.user) as theirs:
            await ours.until("reconnected")
            await tell("billing", [cast.other.key])
            await tell("claims", [cast.organization.key])
            assert await ours.topic() == "claims", "billing was another organization's"
            assert "billing" in await theirs.until("billing")
            await tell("deployments", [cast.other.key])
            assert await theirs.topic() == "deployments", "claims was another organization's"

    run(story)


def test_what_names_too_many_organizations_reaches_all(cast: Cast) -> None:
    async def story() -> None:
        async with opened(cast.admin.user) as ours, opened(cast.outsider.user) as theirs:
            await ours.until("reconnected")
            await tell("claims", range(10**6, 10**6 + LONGEST_PAYLOAD // 8))
            assert "claims" in await ours.until("claims")
            assert "claims" in await theirs.until("claims")

    run(story)


def test_a_change_is_told_when_it_is_committed_and_not_before(cast: Cast) -> None:
    def taken_back() -> None:
        with transaction.atomic():
            publish("billing", [cast.organization.key])
            transaction.set_rollback(True)

    async def story() -> None:
        async with opened(cast.viewer.user) as page:
            await page.until("reconnected")
            await sync_to_async(taken_back)()
            await tell("claims", [cast.organization.key])
            assert await page.topic() == "claims"

    run(story)


def test_nothing_that_is_no_event_stops_the_stream(cast: Cast) -> None:
    def shout(text: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify('headroom', %s)", [text])

    async def story() -> None:
        async with opened(cast.admin.user) as page:
            await page.until("reconnected")
            for text in ("", "{", "[]", '{"topic": "x"}', '{"topic": "x", "organizations": 7}'):
                await sync_to_async(shout)(text)
            await tell("claims", [cast.organization.key])
            assert await page.topic() == "claims"

    run(story)


def test_many_pages_cost_one_connection_and_leave_nothing_behind_when_closed(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 0)  # as in the web process

    async def story() -> None:
        cookie = await sync_to_async(signed_in)(cast.admin.user)
        pages = [connected(cookie) for _ in range(5)]
        for page in pages:
            await page.send_input({"type": "http.request"})
            assert (await page.receive_output(SOON_S))["status"] == 200
            assert (await page.receive_output(SOON_S))["body"].startswith(b"retry: ")
        assert b"reconnected" in (await pages[0].receive_output(SOON_S))["body"]
        assert len(await sync_to_async(listening)()) == 1
        assert len(stream.hub.listeners) == 5
        assert await sync_to_async(held)() == 0, "open pages would use up the pool, and then no page answers"
        for page in pages:
            await page.send_input({"type": "http.disconnect"})
            await page.wait(SOON_S)
        assert not stream.hub.listeners

    run(story)


def signed_in(user: User) -> str:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def connected(cookie: str) -> Any:
    """`GET /events` as the web server hands it to the application."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": reverse("events"), "raw_path": reverse("events").encode(), "root_path": "", "query_string": b"",
        "headers": [(b"host", b"testserver"), (b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode())],
        "client": ("127.0.0.1", 1), "server": ("testserver", 80),
    }  # fmt: skip
    return ApplicationCommunicator(application, scope)  # type: ignore[no-untyped-call]


def test_a_lost_database_connection_comes_back_and_pages_are_told_to_look_again(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "FIRST_RETRY_S", 0.05)

    async def story() -> None:
        async with opened(cast.admin.user) as page:
            await page.until("reconnected")
            (pid,) = await sync_to_async(listening)()
            await sync_to_async(cut)(pid)
            assert await page.topic() == "reconnected"
            assert await sync_to_async(listening)() != [pid]
            await tell("claims", [cast.organization.key])
            assert await page.topic() == "claims"

    run(story)


def test_a_quiet_stream_says_that_it_is_still_there(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)

    async def story() -> None:
        async with opened(cast.admin.user) as page:
            await page.until("reconnected")
            assert (await page.line()).startswith(":")

    run(story)


def test_a_browser_that_does_not_read_loses_the_oldest_and_keeps_the_newest() -> None:
    async def story() -> None:
        listener = stream.Listener(1)
        for number in range(stream.WAITING_EVENTS + 3):
            listener.offer(str(number))
        kept = [listener.events.get_nowait() for _ in range(listener.events.qsize())]
        assert kept == [str(number) for number in range(3, stream.WAITING_EVENTS + 3)]

    run(story)


def test_no_proxy_and_no_browser_keeps_a_stream(cast: Cast) -> None:
    async def story() -> None:
        async with opened(cast.billing.user) as page:
            await page.until("reconnected")
            headers = page.answer.headers
            assert headers["Content-Type"] == "text/event-stream"
            assert (headers["Cache-Control"], headers["X-Accel-Buffering"]) == ("no-store", "no")

    run(story)


def test_who_is_not_signed_in_or_in_no_organization_gets_no_stream(cast: Cast) -> None:
    def leave() -> AsyncClient:
        Membership.objects.filter(user=cast.viewer.user).delete()
        client = AsyncClient()
        client.force_login(cast.viewer.user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    async def story() -> None:
        assert (await AsyncClient().get(reverse("events"))).status_code == 403
        alone = await sync_to_async(leave)()
        assert (await alone.get(reverse("events"))).status_code == 403
        assert not stream.hub.listeners

    run(story)


def test_open_pages_hear_that_a_loop_is_late(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LATE_LOOK_S", 0.05)
    seen = [frozenset[str](), frozenset[str](), frozenset({"scale"})]
    monkeypatch.setattr(stream, "late_names_apart", lambda: seen.pop(0) if len(seen) > 1 else seen[0])

    async def story() -> None:
        stream.hub.tasks.clear()
        async with opened(cast.viewer.user) as page:
            await page.until(stream.LATE)

    run(story)
