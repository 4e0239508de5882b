"""Clients of the whole stack: one that polls as Terraform's providers do, and what docs/automation.md shows."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.api.polling import BASE, CLAIM, DEPLOYMENT, GATEWAY, Http, Kind, Provider, Refused, State
from tests.stack.stacks import ROOT, Stack, running_stack

pytestmark = [pytest.mark.thorough, pytest.mark.stack]

DOCS = (ROOT / "docs" / "automation.md").read_text()
TERRAFORM, PROVIDERS = shutil.which("terraform"), os.environ.get("HEADROOM_TERRAFORM_PROVIDERS")
LIFE = ["STATUS_CREATING", "STATUS_READY", "STATUS_UPDATING", "STATUS_READY"]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack(HEADROOM_SIM_SPEED="200") as found:
        yield found


@pytest.fixture(scope="module")
def secret(stack: Stack) -> str:
    made = stack.manage("createtoken", "demo", "--role", "admin", "--name", "clients")
    assert made.returncode == 0, made.stderr
    return made.stdout.strip().splitlines()[-1]


def of(stack: Stack, secret: str, kind: Kind) -> Provider:
    return Provider(Http(f"http://127.0.0.1:{stack.port}", secret), kind)


def refused(provider: Provider, method: str, path: str, body: Any = None) -> tuple[int, list[str]]:
    with pytest.raises(Refused) as caught:
        provider.http.call(method, BASE + provider.kind.path + path, body)
    return caught.value.status, caught.value.kinds


def a_place(provider: Provider) -> tuple[str, str]:
    """A zone, and an instance type that can be claimed there."""
    found = provider.http.call("GET", f"{BASE}/capacityclaims/parameters")["zoneInstanceTypes"]
    zone = min(found)
    return zone, found[zone]["instanceIds"][0]


def claim_lives(provider: Provider) -> None:
    zone, type_ = a_place(provider)
    block = {"instanceId": type_.upper(), "capacityType": "CAPACITY_TYPE_CUSTOMER", "zones": [zone.lower()]}
    plan: State = {"name": "polled", "resources": {**block, "instanceCount": 1}}
    state = provider.create(plan)
    more: State = {**plan, "resources": {**block, "instanceCount": 2}}
    state = provider.update(more, state)
    assert state["status"]["allocatedInstances"] == 2
    assert provider.update(more, state, instant=True)["spec"] == state["spec"]
    assert provider.import_(state["spec"]["id"]) == more
    fixed: State = {"resources": {**more["resources"], "zones": ["elsewhere"]}}
    assert refused(provider, "PATCH", f"/{state['spec']['id']}", fixed) == (400, ["BadRequest"])
    assert refused(provider, "POST", "", {**plan, "id": state["spec"]["id"]}) == (409, ["ResourceInfo"])
    provider.delete(more, state)
    assert provider.seen == [*LIFE, "STATUS_DELETING"]


def gateway_lives(provider: Provider, deployments: Provider) -> None:
    zones = [zone.lower() for zone in provider.http.call("GET", f"{BASE}/gateways/parameters")["zones"]]
    plan = {"name": "polled", "coreWeaveAuth": {}, "bodyBasedRouting": {"apiType": "API_TYPE_OPENAI"},
            "endpointConfiguration": {"additionalDns": ["llm.example.com"]}}  # fmt: skip
    state = provider.create(plan)
    endpoints = state["status"]["endpoints"]
    assert endpoints
    changed = {**plan, "zones": zones}
    state = provider.update(changed, state)
    assert state["status"]["endpoints"] == endpoints
    assert provider.import_(state["spec"]["id"]) == changed
    assert refused(provider, "POST", "", plan) == (409, ["ResourceInfo"])
    deployment_lives(deployments, state["spec"]["id"], lambda: refused(provider, "DELETE", f"/{state['spec']['id']}"))
    provider.delete(changed, state)
    assert provider.seen == [*LIFE, "STATUS_DELETING"]


def deployment_lives(provider: Provider, gateway: str, delete_gateway: Any) -> None:
    found = provider.http.call("GET", f"{BASE}/deployments/parameters?gatewayIds={gateway}")
    plan: State = {
        "name": "polled", "gatewayIds": [gateway],
        "runtime": {"engine": "vllm", "version": "0.21.0"},
        "resources": {"instanceType": found["resourceParameters"]["instanceTypes"][0], "gpuCount": 1},
        "model": {"name": "meta/llama", "bucket": "weights", "path": "a/b"},
        "autoscaling": {"min": 1, "max": 1}, "traffic": {"weight": 1},
    }  # fmt: skip
    state = provider.create(plan)
    assert delete_gateway() == (412, ["PreconditionFailure"])
    changed = {**plan, "model": {**plan["model"], "path": "a/c"}, "traffic": {"weight": 2}}
    state = provider.update(changed, state)
    assert provider.import_(state["spec"]["id"]) == {**changed, "disabled": False, "autoscaling": {
        **changed["autoscaling"], "capacityClasses": []}}  # fmt: skip
    disabled = {**changed, "disabled": True}
    state = provider.update(disabled, state)
    conditions = {one["type"]: (one["status"], one["reason"]) for one in state["status"]["conditions"]}
    assert conditions["Ready"] == ("STATUS_TRUE", "Disabled")
    assert conditions["ResourcesApplied"][0] == "STATUS_TRUE"
    provider.delete(disabled, state)
    assert provider.seen[:6] == [*LIFE, "STATUS_UPDATING", "STATUS_READY"]


def snippet(language: str) -> str:
    """The one program of the document in this language."""
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", DOCS, re.DOTALL | re.MULTILINE)
    return str(found)


def run(stack: Stack, secret: str, *command: str, cwd: Path | None = None, **more: str) -> str:
    address = f"http://127.0.0.1:{stack.port}"
    environment = {**os.environ, "HEADROOM_URL": address, "HEADROOM_TOKEN": secret, **more}
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tour_with_curl(stack: Stack, secret: str) -> None:
    said = run(stack, secret, "bash", "-e", "-o", "pipefail", "-c", snippet("bash"))
    assert '"preview"' in said
    assert "batch" not in {one["spec"]["name"] for one in of(stack, secret, CLAIM).list().values()}


def tour_with_python(stack: Stack, secret: str) -> None:
    said = run(stack, secret, sys.executable, "-c", snippet("python"))
    statuses = [line.split()[2] for line in said.splitlines() if line.split()[1] == "Status"]
    assert statuses[-3:] == ["STATUS_READY", "STATUS_UPDATING", "STATUS_READY"]  # the newest first


LIVES: dict[str, Callable[[Stack, str], None]] = {
    "claim": lambda stack, secret: claim_lives(of(stack, secret, CLAIM)),
    "gateway and deployment": lambda stack, secret: gateway_lives(
        of(stack, secret, GATEWAY), of(stack, secret, DEPLOYMENT)
    ),
    "curl": tour_with_curl,
    "python": tour_with_python,
}


@pytest.fixture(scope="module")
def lives(stack: Stack, secret: str) -> Iterator[dict[str, "Future[None]"]]:
    """All at the same time, since each of them waits most of it."""
    with ThreadPoolExecutor(len(LIVES)) as at_once:
        yield {name: at_once.submit(life, stack, secret) for name, life in LIVES.items()}


@pytest.mark.parametrize("name", LIVES)
def test_a_polling_client_sees_a_whole_life(lives: dict[str, "Future[None]"], name: str) -> None:
    lives[name].result()


def test_a_creation_whose_answer_was_lost_is_sent_again(stack: Stack, secret: str) -> None:
    claims = of(stack, secret, CLAIM)
    zone, type_ = a_place(claims)
    block = {"instanceId": type_, "instanceCount": 1, "capacityType": "CAPACITY_TYPE_CUSTOMER", "zones": [zone]}
    plan = {"name": "twice", "resources": block}
    first, again = (claims.http.call("POST", BASE + CLAIM.path, plan)["capacityClaim"] for _ in range(2))
    assert first["spec"] == again["spec"]
    claims.delete(plan, first)


def test_the_step_of_a_pipeline_ends_the_hold_whatever_happens(stack: Stack, secret: str) -> None:
    said = run(stack, secret, "sh", "-c", snippet("sh"), GITHUB_RUN_ID="1")
    assert "scaling goes on" in said
    failed = subprocess.run(
        ["sh", "-c", snippet("sh")], capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "HEADROOM_URL": f"http://127.0.0.1:{stack.port}", "HEADROOM_TOKEN": secret,
             "GITHUB_RUN_ID": "2", "RELEASE": "false"},
    )  # fmt: skip
    assert failed.returncode != 0
    assert "scaling goes on" in failed.stdout
    holds = of(stack, secret, CLAIM).http.call("GET", "/api/v1/holds?state=all")["items"]
    assert [one["inForce"] for one in holds if one["reason"] == "Release under way"] == [False, False]


@pytest.mark.skipif(not TERRAFORM, reason="terraform is not installed")
def test_the_tour_s_terraform_is_well_formed(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text(snippet("hcl"))
    done = subprocess.run([str(TERRAFORM), "fmt", "-check", "-diff"], cwd=tmp_path, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(
    not (TERRAFORM and PROVIDERS),
    reason="the vendor's provider: name a filesystem mirror in HEADROOM_TERRAFORM_PROVIDERS",
)
def test_the_vendors_terraform_provider_lives_here(stack: Stack, secret: str, tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text(snippet("hcl"))
    mirror = f"provider_installation {{\n  filesystem_mirror {{\n    path = {json.dumps(PROVIDERS)}\n  }}\n}}\n"
    (tmp_path / "settings.tfrc").write_text(mirror)
    more = {"TF_CLI_CONFIG_FILE": str(tmp_path / "settings.tfrc"), "COREWEAVE_API_TOKEN": secret,
            "TF_VAR_headroom_url": f"http://127.0.0.1:{stack.port}", "TF_IN_AUTOMATION": "1"}  # fmt: skip
    for command in (["init"], ["apply", "-auto-approve"], ["plan", "-detailed-exitcode"], ["destroy", "-auto-approve"]):
        run(stack, secret, str(TERRAFORM), *command, "-no-color", "-input=false", cwd=tmp_path, **more)
