"""The web process as the stack starts it, on the tests' database: uvicorn, HTTP/1.1, the connection pool."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import URLError

import pytest
from django.conf import settings

from claims.models import CapacityClaim, Instance
from console.organizations.models import AuditEvent, IdempotencyKey
from deployments.models import Deployment, Gateway
from tests import world
from tests.cast import Cast, Member, make_cast
from tests.connect.clients import Client, Wire

START_WITHIN_S = 90


@pytest.fixture(scope="package")  # and no longer: other tests count the connections to their database
def address(django_db_setup: None) -> Iterator[str]:
    """Where the web process answers."""
    database = settings.DATABASES["default"]
    environment = os.environ | {
        "DATABASE_URL": f"postgresql://{database['USER']}@/{database['NAME']}?host={database['HOST']}",
    }
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "console.asgi:application", "--port", str(port), "--lifespan", "off",
         "--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "1"],
        cwd=settings.BASE_DIR, env=environment,
    )  # fmt: skip
    try:
        wait_for(f"http://127.0.0.1:{port}/healthz")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def wait_for(page: str) -> None:
    until = time.monotonic() + START_WITHIN_S
    while True:
        try:
            urllib.request.urlopen(page, timeout=5).close()
            return
        except (URLError, TimeoutError):
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


@pytest.fixture
def people(transactional_db: None) -> Cast:
    """The cast, in a database that other processes see, with a pool of three instances."""
    cast = make_cast()
    world.pool(world.offering(), 3)
    return cast


@pytest.fixture(params=["proto", "json"])
def codec(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def client(address: str, people: Cast) -> Callable[..., Client]:
    """A client of a member, in a codec."""

    def made(member: Member, codec: str = "proto") -> Client:
        return Client(address, member.secret, codec)

    return made


@pytest.fixture
def wire(address: str, people: Cast) -> Iterator[Wire]:
    """The admin's connection."""
    found = Wire(address, people.admin.secret)
    yield found
    found.close()


@pytest.fixture
def stored(people: Cast) -> Callable[[], list[Any]]:
    """All that a request of these services may leave behind."""

    def read() -> list[Any]:
        kinds = (CapacityClaim, Instance, Deployment, Gateway, IdempotencyKey, AuditEvent)
        return [list(kind._default_manager.order_by("pk").values()) for kind in kinds]

    return read
