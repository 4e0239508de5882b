"""Clients that nobody here wrote, against the whole stack: `make test-long`.

The vendor's `cwtrain` (REST; a Python >= 3.12 of its own), the Python library `connectrpc`, and Go's Connect client, which
gets its modules from the Go module proxy. Where a language is not on the machine its test is skipped, and says so.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError

from console.connect.generate import describe
from tests.connect import requests
from tests.connect.clients import Client
from tests.stack.stacks import Stack, running_stack

pytestmark = [pytest.mark.long, pytest.mark.stack]

HERE = Path(__file__).parent / "foreign"
CWTRAIN = "cwtrain==1.0.2"
WITHIN_S = 900.0


def newer_python() -> str | None:
    """A Python >= 3.12 that runs: HEADROOM_PYTHON312, one on the PATH, or one of pyenv's."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    names = [f"python3.{minor}" for minor in (12, 13, 14)]
    tried = [os.environ.get("HEADROOM_PYTHON312"), sys.executable, *map(shutil.which, names),
             *sorted(map(str, versions.glob("3.1[2-9].*/bin/python")))]  # fmt: skip
    check = "import sys; sys.exit(sys.version_info < (3, 12))"
    return next(
        (one for one in tried if one and subprocess.run([one, "-c", check], capture_output=True).returncode == 0), None
    )


PYTHON, GO = newer_python(), shutil.which("go")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack(HEADROOM_SIM_SPEED="100") as found:
        yield found


@pytest.fixture(scope="module")
def secret(stack: Stack) -> str:
    made = stack.manage("createtoken", "demo", "--role", "admin", "--name", "foreign")
    assert made.returncode == 0, made.stderr
    return made.stdout.strip().splitlines()[-1]


def address(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.port}"


@pytest.mark.skipif(not PYTHON, reason="cwtrain needs a Python >= 3.12: name one in HEADROOM_PYTHON312")
def test_the_vendors_own_client_lives_here(stack: Stack, secret: str, tmp_path: Path) -> None:
    environment = tmp_path / "cwtrain"
    subprocess.run([str(PYTHON), "-m", "venv", str(environment)], check=True)
    python = str(environment / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", CWTRAIN], check=True)
    lived(python, str(HERE / "cwtrain_life.py"), address(stack), secret)


@pytest.mark.skipif(not GO, reason="Go is not installed")
@pytest.mark.parametrize("codec", ["proto", "json"])
def test_gos_connect_client_lives_here(stack: Stack, secret: str, tmp_path: Path, codec: str) -> None:
    descriptors, program = tmp_path / "descriptors", tmp_path / "life"
    describe(descriptors)
    subprocess.run([str(GO), "build", "-o", str(program), "."], cwd=HERE, check=True)
    lived(str(program), address(stack), secret, str(descriptors), codec)


def lived(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=7200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("codec", ["proto", "json"])
def test_the_library_s_python_client_lives_here(stack: Stack, secret: str, codec: str) -> None:
    api, name = Client(address(stack), secret, codec), f"py-{codec}"
    claim = requests.claim(name, instanceCount=1, capacityType="CAPACITY_TYPE_CUSTOMER")
    more = requests.claim(name, instanceCount=2, capacityType="CAPACITY_TYPE_CUSTOMER")["resources"]
    live(api, "CapacityClaim", claim, {"resources": more}, nothing)
    front = requests.gateway(name)

    def with_gateway(gateway: str) -> None:
        chat = requests.deployment(gateway, name, autoscaling={"min": 1, "max": 1})
        live(api, "Deployment", chat, {**chat, "model": {**chat["model"], "path": "b"}}, nothing)

    live(api, "Gateway", front, {**front, "zones": ["us-west-04a"]}, with_gateway)


def nothing(id: str) -> None:
    return None


def live(
    api: Client, kind: str, create: dict[str, Any], update: dict[str, Any], meanwhile: Callable[[str], None]
) -> None:
    """Create, wait, update, wait, delete and wait, seeing only what a polling client may see."""
    member = kind[0].lower() + kind[1:]
    made = api.call(f"Create{kind}", create)[member]
    id = made["spec"]["id"]
    assert made["status"]["status"] == "STATUS_CREATING"
    until_ready(api, kind, id, "STATUS_CREATING")
    meanwhile(id)
    changed = api.call(f"Update{kind}", {"id": id, **update})[member]
    assert changed["status"]["status"] == "STATUS_UPDATING"
    assert changed["status"]["createdAt"] == made["status"]["createdAt"]
    until_ready(api, kind, id, "STATUS_UPDATING")
    assert api.call(f"Delete{kind}", {"id": id})[member]["status"]["status"] == "STATUS_DELETING"
    for _ in polls():
        found = read(api, kind, id)
        if found is None:
            return
        assert found["status"]["status"] == "STATUS_DELETING"


def read(api: Client, kind: str, id: str) -> Any:
    """The resource, or None once it is not found."""
    try:
        return api.call(f"Get{kind}", {"id": id})[kind[0].lower() + kind[1:]]
    except ConnectError as error:
        if error.code is Code.NOT_FOUND:
            return None
        raise


def until_ready(api: Client, kind: str, id: str, meanwhile: str) -> None:
    for _ in polls():
        status = read(api, kind, id)["status"]["status"]
        if status == "STATUS_READY":
            return
        assert status == meanwhile


def polls() -> Iterator[None]:
    """Once a second; a failure once it takes too long."""
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end:
        yield
        time.sleep(1)
    raise AssertionError(f"not within {WITHIN_S:g} s")
