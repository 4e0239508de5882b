"""Chromium against the web process as the stack starts it: uvicorn, the pool, the collected static files."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.error import URLError

import pytest
from django.conf import settings
from django.db import connection
from playwright.sync_api import Browser, BrowserContext, Page

from tests.cast import Cast, Member, make_cast

QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-quic"]  # fmt: skip
START_WITHIN_S = 60
REST_WITHIN_S = 30
LOOKS_AT_REST = 5  # a request may lie between two queries of its own


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    return {**browser_type_launch_args, "executable_path": found, "args": QUIET}


@pytest.fixture(scope="session")
def base_url() -> str:
    """Where `web` will answer: a port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def web(base_url: str, django_db_setup: None) -> Iterator[str]:
    database = settings.DATABASES["default"]
    environment = os.environ | {
        "DATABASE_URL": f"postgresql://{database['USER']}@/{database['NAME']}?host={database['HOST']}",
    }
    command = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity", "0"]
    subprocess.run(command, cwd=settings.BASE_DIR, env=environment, check=True)
    host, port = base_url.removeprefix("http://").split(":")
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "console.asgi:application", "--host", host, "--port", port,
         "--lifespan", "off", "--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "1"],
        cwd=settings.BASE_DIR, env=environment,
    )  # fmt: skip
    try:
        answers(base_url + "/healthz")
        yield base_url
    finally:
        process.terminate()
        process.wait(10)


def answers(address: str) -> None:
    until = time.monotonic() + START_WITHIN_S
    while True:
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except (URLError, TimeoutError):  # not there yet, or too busy to answer
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


@dataclass
class Site:
    """The running site, its people, and what their browsers complained about."""

    address: str
    cast: Cast
    browser: Browser
    complaints: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    def open(self, who: Member, path: str = "/", *, width: int = 1440, theme: str = "light", zone: str = "UTC") -> Page:
        """A new browser of this size, theme and time zone, signed in, on a page. (By the form: tests/browser.)"""
        scheme: Any = theme
        context = self.browser.new_context(
            base_url=self.address,
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            timezone_id=zone,
        )
        self.contexts.append(context)
        session = who.browser().cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": self.address}])
        page = context.new_page()
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(path)
        return page

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


@pytest.fixture
def site(web: str, browser: Browser, transactional_db: None) -> Iterator[Site]:
    found = Site(web, make_cast(), browser)
    yield found
    for context in found.contexts:
        context.close()
    comes_to_rest()
    assert found.complaints == []


def comes_to_rest() -> None:
    """Wait until `web` answers no request of a closed page any more: the flush after a test and such a request would
    lock the same tables in two orders."""
    until = time.monotonic() + REST_WITHIN_S
    busy = """SELECT query FROM pg_stat_activity
              WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"""
    quiet = 0
    while quiet < LOOKS_AT_REST:
        with connection.cursor() as cursor:
            cursor.execute(busy)
            running = cursor.fetchall()
        quiet = 0 if running else quiet + 1
        if time.monotonic() > until:
            pytest.fail(f"the web process still works on {running} {REST_WITHIN_S} s after its pages were closed")
        time.sleep(0.05)
