"""A client as Terraform's providers are made: it plans, creates, polls, reads back, and trusts nothing that it sees.

Own code over HTTP alone, after what API.md says that clients wait for; it knows nothing of the server's. Every answer goes
through `checked`, whoever asked for it.
"""

import http.client
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

BASE = "/v1alpha1/inference"
STATUSES = {f"STATUS_{name}" for name in ("CREATING", "UPDATING", "DELETING", "ERROR", "FAILED", "READY")}
CONDITIONS = {"Ready", "Progressing", "ResourcesApplied"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
POLL_S, GIVE_UP_S = 0.25, 400.0
RETRIED = {429, 500, 502, 503, 504}
State = dict[str, Any]


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body
        assert body.keys() == {"code", "message", "details"}, body
        assert body["message"]

    @property
    def kinds(self) -> list[str]:
        return [one["@type"].rpartition(".")[2] for one in self.body["details"]]


@dataclass
class Http:
    """One connection that is kept; what may pass is sent again, creations included."""

    address: str
    secret: str

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=60)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        for _ in range(10):
            status, found = self._once(method, path, body)
            if status not in RETRIED:
                break
            time.sleep(1)
        if status != 200:
            raise Refused(status, found)
        return found

    def _once(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {self.secret}", "content-type": "application/json"}
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = self._connection.getresponse()
            assert answer.headers["content-type"] == "application/json"
            return answer.status, json.loads(answer.read())
        except OSError:
            self._connection.close()
            return 503, None


@dataclass(frozen=True)
class Members:
    """Which members an object has: all of `always`, and of `sent` those that were sent. Lists and flags that were not
    sent are there with what they then are."""

    always: Mapping[str, "Members | None"]
    sent: frozenset[str] = frozenset()
    empty: Mapping[str, Any] = field(default_factory=dict)

    def check(self, found: State, asked: Mapping[str, Any], path: str) -> None:
        expected = self.always.keys() | self.empty.keys() | (asked.keys() & self.sent)
        assert found.keys() == expected, f"{path} has {sorted(found)} and not {sorted(expected)}"
        for name, inner in self.always.items():
            if inner is not None:
                inner.check(found[name], asked.get(name, {}), f"{path}.{name}")
        for name, value in asked.items():
            if self.always.get(name) is None:
                assert found[name] == value, f"{path}.{name} was sent as {value!r} and is {found[name]!r}"
        for name, value in self.empty.items():
            assert name in asked or found[name] == value, f"{path}.{name} is {found[name]!r}"


@dataclass(frozen=True)
class Kind:
    """A resource: its address, the names of one and of many in answers, and the members of its two halves."""

    path: str
    one: str
    many: str
    spec: Members
    status: Members
    updates: Callable[[State], State]  # the body of a PATCH from all that is planned


def _always(*names: str, **inner: Members) -> dict[str, Members | None]:
    return {**dict.fromkeys(names), **inner}


STATUS = _always("status", "createdAt", "updatedAt", "conditions")
CLAIM = Kind(
    "/capacityclaims", "capacityClaim", "capacityClaims",
    Members(_always("id", "name", "organizationId", resources=Members(
        _always("instanceId", "instanceCount", "capacityType", "zones")))),
    Members({**STATUS, **_always("allocatedInstances", "pendingInstances", "pendingChanges")}),
    lambda plan: {"resources": plan["resources"]},
)  # fmt: skip
GATEWAY = Kind(
    "/gateways", "gateway", "items",
    Members(_always("id", "name", "organizationId"), frozenset({
        "coreWeaveAuth", "weightsAndBiasesAuth", "bodyBasedRouting", "headerBasedRouting", "pathBasedRouting",
        "endpointConfiguration"}), {"zones": []}),
    Members({**STATUS, **_always("endpoints")}),
    lambda plan: plan,
)  # fmt: skip
DEPLOYMENT = Kind(
    "/deployments", "deployment", "items",
    Members(_always(
        "id", "name", "organizationId", "gatewayIds",
        runtime=Members(_always("engine"), frozenset({"version", "engineConfig", "engineEnv"})),
        resources=Members(_always("instanceType", "gpuCount")), model=Members(_always("name", "bucket", "path")),
        autoscaling=Members(_always("min", "max"), frozenset({"priority", "concurrency"}), {"capacityClasses": []}),
        traffic=Members({}, frozenset(), {"weight": 0}),
    ), frozenset(), {"disabled": False}),
    Members(STATUS),
    lambda plan: plan,
)  # fmt: skip


def moment(text: str) -> datetime:
    assert TIME.fullmatch(text), text
    return datetime.fromisoformat(text)


@dataclass
class Provider:
    """Creates, reads, updates, deletes and imports one kind of resource, with a wait after each change."""

    http: Http
    kind: Kind
    seen: list[str] = field(default_factory=list)  # status after status, without repeats

    def create(self, plan: State) -> State:
        made = self._send("POST", "", plan, plan)
        assert made["status"]["status"] == "STATUS_CREATING", made
        return self._wait(plan, made, {"STATUS_CREATING"})

    def read(self, id: str, plan: State, before: State | None = None) -> State | None:
        """The object; None once it is gone."""
        try:
            return self._send("GET", f"/{id}", None, plan, before)
        except Refused as refusal:
            if (refusal.status, refusal.body["code"], refusal.kinds) != (404, 5, ["ResourceInfo"]):
                raise
            return None

    def update(self, plan: State, before: State, *, instant: bool = False) -> State:
        """Has the object as planned. What is not instant is STATUS_UPDATING at once."""
        body = self.kind.updates(plan)
        found = self._send("PATCH", f"/{before['spec']['id']}", body, plan, before)
        assert instant or found["status"]["status"] == "STATUS_UPDATING", found
        return self._wait(plan, found, {"STATUS_UPDATING"})

    def delete(self, plan: State, before: State) -> None:
        id = before["spec"]["id"]
        last = self._send("DELETE", f"/{id}", None, plan, before)
        end = time.monotonic() + GIVE_UP_S
        while (found := self.read(id, plan, last)) is not None:
            assert found["status"]["status"] == "STATUS_DELETING", found
            assert time.monotonic() < end, f"{id} is still there"
            time.sleep(POLL_S)
        assert id not in self.list()

    def import_(self, id: str) -> State:
        """The object by its id alone. What it says is then the plan, which changes nothing."""
        found = self.http.call("GET", f"{BASE}{self.kind.path}/{id}")[self.kind.one]
        plan = {name: value for name, value in found["spec"].items() if name not in ("id", "organizationId")}
        self.checked(found, plan, found)
        assert self.read(id, plan, found) == found
        return plan

    def list(self) -> dict[str, State]:
        found = self.http.call("GET", BASE + self.kind.path)
        assert found.keys() == {self.kind.many}
        return {one["spec"]["id"]: one for one in found[self.kind.many]}

    def _send(self, method: str, path: str, body: Any, plan: State, before: State | None = None) -> State:
        answer = self.http.call(method, BASE + self.kind.path + path, body)
        assert answer.keys() == {self.kind.one}, answer.keys()
        return self.checked(answer[self.kind.one], plan, before)

    def _wait(self, plan: State, before: State, meanwhile: set[str]) -> State:
        """Polls until it is ready; every other status than `meanwhile` fails."""
        id, end = before["spec"]["id"], time.monotonic() + GIVE_UP_S
        found: State | None = before
        while found is not None and found["status"]["status"] in meanwhile:
            assert time.monotonic() < end, f"{id} did not get ready: {found['status']}"
            time.sleep(POLL_S)
            found = self.read(id, plan, found)
        assert found is not None
        assert found["status"]["status"] == "STATUS_READY", found["status"]
        assert self.read(id, plan, found) == found, "what is ready does not move by itself"
        assert self.list()[id] == found
        return found

    def checked(self, found: State, plan: State, before: State | None) -> State:
        """The object, when it is one that may be shown at all, has what was sent, and goes on from `before`."""
        assert found.keys() == {"spec", "status"}
        spec, status = found["spec"], found["status"]
        self.kind.spec.check(spec, plan, "spec")
        self.kind.status.check(status, {}, "status")
        assert str(uuid.UUID(spec["id"])) == spec["id"]
        assert spec["organizationId"]
        assert status["status"] in STATUSES
        assert moment(status["createdAt"]) <= moment(status["updatedAt"])
        for condition in status["conditions"]:
            condition_checked(condition)
        if "allocatedInstances" in status:
            counts_checked(spec["resources"]["instanceCount"], status)
        if before:
            follows(before, found)
        if not self.seen or self.seen[-1] != status["status"]:
            self.seen.append(status["status"])
        return found


def condition_checked(one: State) -> None:
    assert one.keys() - {"zone"} == {"type", "status", "lastUpdateTime", "reason", "message"}
    assert one["type"] in CONDITIONS
    assert one["status"] in {"STATUS_TRUE", "STATUS_FALSE"}
    assert one["reason"]
    assert one["message"]
    moment(one["lastUpdateTime"])
    assert one.get("zone", "") == one.get("zone", "").upper()


def counts_checked(count: int, status: State) -> None:
    allocated, pending = status["allocatedInstances"], status["pendingInstances"]
    assert min(allocated, pending) >= 0
    if status["status"] in ("STATUS_CREATING", "STATUS_READY") and not status["pendingChanges"]:
        assert allocated + pending == count, status
    if status["status"] == "STATUS_READY":
        assert pending == 0, status
    for change in status["pendingChanges"]:
        assert change.keys() == {"instanceCount", "effectiveAt"}
        moment(change["effectiveAt"])


def follows(before: State, found: State) -> None:
    for name in ("id", "organizationId", "name"):
        assert before["spec"][name] == found["spec"][name], name
    assert before["status"]["createdAt"] == found["status"]["createdAt"]
    assert moment(before["status"]["updatedAt"]) <= moment(found["status"]["updatedAt"])
    both_ready = before["status"]["status"] == found["status"]["status"] == "STATUS_READY"
    if both_ready and "endpoints" in found["status"]:
        assert before["status"]["endpoints"] == found["status"]["endpoints"]
