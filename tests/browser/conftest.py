"""The real stack with the demo, as `make run` starts it, once for all browser tests; simulated machines join in 10 to
20 seconds instead of minutes."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from bench.running import Stack, running_stack

QUIET = [
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic", "--no-sandbox",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    return {**browser_type_launch_args, "executable_path": found, "args": QUIET}


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with running_stack(DEMO="1", HEADROOM_DEMO_HISTORY="1", HEADROOM_SIM_SPEED="60") as running:
        yield running


class Complaints(list[str]):
    """What the console of the browser said: blocked by the policy, missing, thrown."""

    def listen(self, page: Page) -> Page:
        page.on("console", lambda one: self.append(one.text) if one.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.append(str(error)))
        return page


def password_of(stack: Stack, user: str) -> str:
    rows = [line.split() for line in (stack.state / "sign-ins").read_text().splitlines()]
    return next(row[1] for row in rows if row[0] == user)


def signed_in(context: BrowserContext, stack: Stack, user: str, complaints: Complaints) -> Page:
    page = complaints.listen(context.new_page())
    page.goto(f"{stack.url}/accounts/sign-in")
    page.fill("#id_username", user)
    page.fill("#id_password", password_of(stack, user))
    page.click("button[type=submit]")
    page.wait_for_url(f"{stack.url}/")
    return page


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    heard = Complaints()
    yield heard
    assert heard == []


@pytest.fixture
def operator(browser: Browser, stack: Stack, complaints: Complaints) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield signed_in(context, stack, "operator", complaints)
    context.close()
