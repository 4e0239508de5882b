"""schemathesis tries the whole description out, with a token, on a served console: nothing fails in the server, no answer
is other than described, what the description forbids is refused, and nobody comes in without a token."""

import json
import os
import re
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.urls import resolve

from bench.running import free_port
from claims.models import Instance
from console.common import clock
from console.dashboard.api_description import api_schema
from console.notifications.models import Delivery, Kind, Notification
from console.notifications.services import notify
from console.organizations.models import Role
from console.organizations.services import token_create
from deployments.api.examples import SCHEDULE, WINDOW
from deployments.models import Decision, Replica
from tests import fleet, world
from tests.api import test_etags
from tests.cast import SETUP, Cast
from tests.stack.stacks import ROOT, until

pytestmark = pytest.mark.thorough

HERE = Path(__file__).parent
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


@contextmanager
def served(port: int, log: Path) -> Iterator[str]:
    """The console on this test's database, as it is served in production."""
    where = connection.settings_dict
    url = f"postgresql://{where['USER']}@/{where['NAME']}?host={quote(where['HOST'])}"
    command = [sys.executable, "-m", "uvicorn", "console.asgi:application", "--port", str(port), "--lifespan", "off",
               "--log-level", "warning"]  # fmt: skip
    environment = {**os.environ, "DATABASE_URL": url}
    collect = [sys.executable, str(ROOT / "manage.py"), "collectstatic", "--no-input", "--verbosity", "0"]
    subprocess.run(collect, env=environment, check=True)
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=30)


def things(cast: Cast) -> dict[str, list[str]]:
    """Some of everything that has an id, by the word before it in an address."""
    of = world.offering()
    world.pool(of, 4)
    world.quota(cast.organization, of, limit=16)
    claims = [world.claim(cast.admin.actor, of, 1, name=f"claim-{number}") for number in range(5)]
    gateways = [fleet.gateway(cast.admin.actor, name=f"edge-{number}") for number in range(3)]
    models = [fleet.deployment(cast.admin.actor, gateways[0], of, name=f"model-{number}", min=1) for number in range(4)]
    world.settle()
    fleet.run(of.instance_type, clock.now(), 2)
    note: dict[str, Any] = {"kind": Kind.SHORTAGE, "subject": "short", "text": "of GPUs"}
    notify(organization=cast.organization, key="before", now=clock.now(), **note)
    send = cast.admin.api().send
    hook = {"name": "pager", "url": "https://hooks.example.com/headroom"}
    hooks = [send("POST", "/api/v1/webhooks", hook).json() for _ in range(4)]
    notify(organization=cast.organization, key="after", now=clock.now(), **note)
    pin = {"kind": "PIN", "deploymentId": str(models[0].id), "size": 2, "reason": "tried"}
    higher = {"zone": "US-WEST-04A", "instanceId": "gb200-4x", "wanted": 20, "reason": "tried"}
    windows = [send("POST", f"/api/v1/claims/{claims[0].id}/windows", WINDOW.value | {"instanceCount": 2}).json()]
    body = SCHEDULE.value | {"min": None, "max": 4}
    schedule = send("POST", f"/api/v1/deployments/{models[0].id}/schedules", body).json()
    return {
        "claims": [str(one.id) for one in claims],
        "capacityclaims": [str(one.id) for one in claims],
        "gateways": [str(one.id) for one in gateways],
        "deployments": [str(one.id) for one in models],
        "replicas": [str(key) for key in Replica.objects.values_list("key", flat=True)],
        "webhooks": [one["id"] for one in hooks],
        "notifications": [str(id) for id in Notification.objects.values_list("id", flat=True)],
        "deliveries": [str(key) for key in Delivery.objects.values_list("pk", flat=True)],
        "holds": [send("POST", "/api/v1/holds", pin).json()["id"]],
        "quota-requests": [send("POST", "/api/v1/quota-requests", higher).json()["id"]],
        "windows": [one["window"]["id"] for one in windows],
        "decisions": [str(id) for id in Decision.objects.values_list("id", flat=True)],
        "schedules": [schedule["schedule"]["id"]],
        "capacity": ["US-WEST-04A", "rno2a"],
        "instances": list(Instance.objects.values_list("name", flat=True)),
    }


def typed(id: str) -> str | int:
    """A number where the description says number: what has another type is taken for a mistake, and is refused."""
    return int(id) if id.isdigit() else id


def configuration(known: dict[str, list[str]]) -> str:
    """The settings, and that ids are mostly those of things that are there."""
    text = [(HERE / "schemathesis.toml").read_text()]
    text += [f"[dictionaries.{word}]\nvalues = {json.dumps([typed(id) for id in ids])}" for word, ids in known.items()]
    for path in (one for one in api_schema()["paths"] if "{" in one):
        bound = [
            f'"path.{word[1:-1]}" = {{ dictionary = "{before}", probability = 0.9 }}'
            for before, word in pairwise(path.split("/"))
            if word.startswith("{") and before in known
        ]
        text.append(f"[[operations]]\ninclude-path = {json.dumps(path)}\nparameters = {{ {', '.join(bound)} }}")
    return "\n\n".join(text)


def tried(cast: Cast, folder: Path, *options: str) -> tuple[dict[str, Any], str]:
    """The report of a run, and what the server logged."""
    settings, report, log = folder / "schemathesis.toml", folder / "report.json", folder / "server.log"
    settings.write_text(configuration(things(cast)))
    _, secret = token_create(
        actor=SETUP, organization=cast.organization, name="tries", role=Role.ADMIN, now=clock.now(),
        lifetime=timedelta(hours=8),
    )  # fmt: skip
    with served(free_port(), log) as address:
        until(lambda: answers(address), 60, "the console did not start")
        command = [str(SCHEMATHESIS), "--config-file", str(settings), "run", f"{address}/api/schema/", "--no-color",
                   "--header", f"Authorization: Bearer {secret}", "--report-json-path", str(report),
                   "--output-truncate", "false", *options]  # fmt: skip
        run = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=7200)
    (folder / "run.log").write_text(run.stdout + run.stderr)
    assert report.exists(), run.stdout + run.stderr
    return json.loads(report.read_text()), log.read_text()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def nothing_found(cast: Cast, folder: Path, *options: str) -> int:
    """How many requests were tried, none of which found anything."""
    report, log = tried(cast, folder, *options)
    said = (folder / "run.log").read_text()
    assert not report["failures"], said
    assert not report["errors"], said
    assert (report["exit_code"], report["operations"]["tested"]) == (0, report["operations"]["total"]), said
    assert "Traceback" not in log, log
    cases: int = report["test_cases"]["generated"]
    return cases


@pytest.mark.django_db
def test_what_is_deleted_is_gone_but_for_what_is_said_to_stay(cast: Cast) -> None:
    """What the settings exempt from the check use_after_free is what can be read after a DELETE, and nothing else."""
    [stays] = tomllib.loads((HERE / "schemathesis.toml").read_text())["operations"]
    send, seen = cast.admin.api().send, {}
    for one in test_etags.things(cast):
        done, found = send(one.method, one.path, one.body), resolve(one.path)
        if one.method == "DELETE" and found.kwargs:
            assert done.status_code in test_etags.DONE
            path = "GET /" + re.sub(r"<str:(\w+)>", r"{\1}", found.route)
            seen[path] = (send("GET", one.path).status_code == 200, bool(re.search(stays["include-name-regex"], path)))
    assert seen.pop("GET /api/v1/claims/{id}/windows/{window}") == (False, True), (
        "can be read while its claim is DELETING"
    )
    assert {path for path, (there, exempt) in seen.items() if there != exempt} == set()
    assert set(seen.values()) == {(True, True), (False, False)}


@pytest.mark.django_db(transaction=True)
def test_generated_requests_find_nothing(cast: Cast, tmp_path: Path) -> None:
    assert nothing_found(cast, tmp_path, "--phases", "examples,fuzzing,stateful", "--max-examples", "3") > 400


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
def test_twenty_thousand_generated_requests_find_nothing(cast: Cast, tmp_path: Path) -> None:
    assert nothing_found(cast, tmp_path, "--max-examples", os.environ.get("HEADROOM_TRIES", "300")) >= 20_000
