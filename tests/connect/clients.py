"""Clients of the Connect services: the library's own, and one that sends what no client would."""

import gzip
import http.client
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from connectrpc.client import ConnectClientSync
from connectrpc.codec import proto_binary_codec, proto_json_codec
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from protobuf import DescMethod, Message, Registry, message_from_json_value, message_to_json_value

from console.connect.gen.coreweave.inference.v1alpha1 import capacity_claim_pb, deployment_pb, gateway_pb
from console.connect.gen.google.rpc import error_details_pb

PACKAGE = "coreweave.inference.v1alpha1"
FILES = (capacity_claim_pb, deployment_pb, gateway_pb)
METHODS: dict[str, DescMethod] = {
    method.name: method for file in FILES for service in file.desc().services for method in service.methods
}
DETAILS = Registry(error_details_pb.desc())
CODECS = {"proto": proto_binary_codec, "json": proto_json_codec}


def path_of(name: str) -> str:
    return f"/{METHODS[name].parent.type_name}/{name}"


class Client:
    """The client of the library `connectrpc`, in one codec, speaking JSON values for the tests' convenience."""

    def __init__(self, address: str, secret: str, codec: str = "proto") -> None:
        self._client = ConnectClientSync(address, codec=CODECS[codec]())
        self._headers = {"authorization": f"Bearer {secret}"}

    def call(
        self, name: str, fields: dict[str, Any] | None = None, timeout_ms: int | None = None, **headers: str
    ) -> Any:
        """The answer as JSON with every field; ConnectError when it is refused."""
        method = METHODS[name]
        info = MethodInfo(
            name=name, service_name=method.parent.type_name, input=method.input.type, output=method.output.type,
            idempotency_level=IdempotencyLevel.UNKNOWN, stream_type=StreamType.UNARY,
        )  # fmt: skip
        request = message_from_json_value(method.input.type, fields or {})
        sent = {**self._headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        answer = self._client.execute_unary(request=request, method=info, headers=sent, timeout_ms=timeout_ms)
        return message_to_json_value(answer, always_emit_implicit=True)


def details_of(error: ConnectError) -> list[tuple[str, Any]]:
    """Kind and fields of each detail."""
    return [(one.type_name, message_to_json_value(detail)) for one in error.details if (detail := one.value(DETAILS))]


def fields_of(error: ConnectError) -> list[str]:
    """The fields of a BadRequest, which is the first detail, each once."""
    kind, shown = details_of(error)[0]
    assert kind == "google.rpc.BadRequest"
    return list(dict.fromkeys(one["field"] for one in shown["fieldViolations"]))


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Wire:
    """Sends bytes as they are, over one connection that is kept."""

    address: str
    secret: str | None
    connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=30)

    def send(
        self, path: str, body: bytes = b"", method: str = "POST", type: str | None = "application/proto", **headers: str
    ) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.secret:
            sent.setdefault("authorization", f"Bearer {self.secret}")
        if type:
            sent["content-type"] = type
        self.connection.request(method, path, body=body, headers=sent)
        answer = self.connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def close(self) -> None:
        self.connection.close()


def message(name: str, fields: dict[str, Any]) -> bytes:
    """The request of the procedure in binary form."""
    request: Message = message_from_json_value(METHODS[name].input.type, fields)
    return request.to_binary()


def packed(data: bytes) -> bytes:
    return gzip.compress(data)
