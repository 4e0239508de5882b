"""The ASGI application in front of Django: calls of procedures go to the Connect library, everything else to Django."""

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextvars import ContextVar
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from connectrpc.code import Code
from connectrpc.codec import proto_binary_codec
from connectrpc.errors import ConnectError
from connectrpc.interceptor import MetadataInterceptor
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from django.db import close_old_connections
from protobuf import DescMethod, Message, message_from_json_value

from console.common.errors import InvalidArgument, ResourceExhausted, Unauthenticated
from console.common.requests import sane_request_id
from console.connect.calls import READS, WRITES, Call
from console.connect.codecs import JsonCodec
from console.connect.faults import connect_error
from console.connect.gen.coreweave.inference.v1alpha1 import capacity_claim_pb, deployment_pb, gateway_pb
from console.organizations.actors import Actor
from console.organizations.api.authentication import bearer_token, token_actor

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[..., Awaitable[None]]
Context = RequestContext[Message, Message]

# Any `/package.Service/Method`: what nobody serves is answered as the protocol has it, and never with a page.
PROCEDURE = re.compile(r"/(?:[a-z]\w*\.)+[A-Z]\w*/\w+")
CONTENT_TYPES = ("application/proto", "application/json")
# Of the body as it comes and of what it unpacks to.
LARGEST = 1024 * 1024
KEY, REQUEST_ID = "idempotency-key", "x-request-id"
# Who makes the call that is being served.
CALLER: ContextVar[Actor] = ContextVar("caller")


class Faults(MetadataInterceptor[None]):
    """Sees to it that every error is one of the protocol; the outermost, so that it sees those of the door too."""

    async def on_start(self, ctx: Context) -> None:
        return None

    async def on_end(self, token: None, ctx: Context, error: Exception | None, /) -> None:
        if error is None:
            return
        if isinstance(error, ResourceExhausted):
            ctx.response_headers["retry-after"] = str(error.whole_seconds)
        if isinstance(error, Unauthenticated):
            ctx.response_headers["www-authenticate"] = "Bearer"
        raise connect_error(error, ctx.request_headers[REQUEST_ID])


class Door(MetadataInterceptor[None]):
    """Asks who calls before the body is read."""

    async def on_start(self, ctx: Context) -> None:
        CALLER.set(await sync_to_async(caller)(ctx))


def caller(ctx: Context) -> Actor:
    """Whose token came with the call; a write needs the role for it."""
    token = bearer_token(ctx.request_headers.get("authorization", ""))
    actor = token_actor(token, ctx.request_headers[REQUEST_ID])
    if ctx.method.name in WRITES:
        actor.require_write()
    return actor


def answered(asked: Message, ctx: Context) -> Message:
    """Do what was asked; nothing when the caller's time was over before it began."""
    if ctx.timeout_ms is not None and ctx.timeout_ms <= 0:
        raise ConnectError(Code.DEADLINE_EXCEEDED, "the time of the call was over before it began")
    name = ctx.method.name
    run = WRITES.get(name) or READS[name]
    answer = run(Call(CALLER.get(), asked, ctx.request_headers.get(KEY)))
    return message_from_json_value(ctx.method.output, answer, ignore_unknown_fields=True)


async def served(asked: Message, ctx: Context) -> Message:
    return await sync_to_async(answered)(asked, ctx)


def procedures() -> Iterable[DescMethod]:
    return (method for file in (capacity_claim_pb, deployment_pb, gateway_pb)
            for service in file.desc().services for method in service.methods)  # fmt: skip


def endpoint(method: DescMethod) -> Any:
    assert method.name in READS or method.name in WRITES, method.name
    info = MethodInfo(
        name=method.name, service_name=method.parent.type_name, input=method.input.type, output=method.output.type,
        idempotency_level=IdempotencyLevel.UNKNOWN, stream_type=StreamType.UNARY,
    )  # fmt: skip
    return Endpoint.unary(method=info, function=served)


class Connect(ConnectASGIApplication[None]):
    """Every procedure of the vendor's services."""

    path = "/"

    def __init__(self) -> None:
        found = self.paths = {f"/{one.parent.type_name}/{one.name}": endpoint(one) for one in procedures()}
        super().__init__(
            service=None, endpoints=lambda _: found, interceptors=[Faults(), Door()], read_max_bytes=LARGEST,
            codecs=[proto_binary_codec(), JsonCodec()],
        )  # fmt: skip


def beside(django: Application) -> Application:
    """Django, and the vendor's services beside it."""
    connect = Connect()
    answer: Any = connect  # asgiref has its own types of events

    async def application(scope: Event, receive: Receive, send: Send) -> None:
        path = procedure(scope)
        if path is None:
            return await django(scope, receive, send)
        request_id = sane_request_id(header(scope, b"x-request-id"))
        send = with_request_id(send, request_id)
        if not_a_call := no_call(scope, path in connect.paths):
            return await empty(send, *not_a_call)
        # Django does both for its own requests: a thread of the request's own, and its connection given back.
        async with ThreadSensitiveContext():
            try:
                await answer(
                    {**scope, "path": path, "root_path": "", "headers": readable(scope, request_id)},
                    bounded(receive),
                    send,
                )
            finally:
                await sync_to_async(close_old_connections)()
        return None

    return application


def procedure(scope: Event) -> str | None:
    """The path of a call, without what the application is mounted at; None for what is Django's."""
    if scope["type"] != "http":
        return None
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path if PROCEDURE.fullmatch(path) else None


def header(scope: Event, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def no_call(scope: Event, served_here: bool) -> tuple[int, list[tuple[bytes, bytes]]] | None:
    """Status and headers where this is no call of a procedure; the protocol has no body for them."""
    if not served_here:
        return 404, []
    if scope["method"] != "POST":
        return 405, [(b"allow", b"POST")]
    if header(scope, b"content-type").partition(";")[0].strip().lower() not in CONTENT_TYPES:
        return 415, [(b"accept-post", ", ".join(CONTENT_TYPES).encode())]
    return None


def readable(scope: Event, request_id: str) -> list[tuple[bytes, bytes]]:
    """The headers as UTF-8, which the library takes for granted, with the request's id."""
    kept = [(name, value.decode("latin-1").encode()) for name, value in scope["headers"] if name != b"x-request-id"]
    return [*kept, (b"x-request-id", request_id.encode())]


def with_request_id(send: Send, request_id: str) -> Send:
    async def sent(event: Event) -> None:
        if event["type"] == "http.response.start":
            event = {**event, "headers": [*event["headers"], (b"x-request-id", request_id.encode())]}
        await send(event)

    return sent


def bounded(receive: Receive) -> Receive:
    """Refuses a body once it is too large, instead of the library, which would have the client repeat it."""
    read = 0

    async def received() -> Event:
        nonlocal read
        event = await receive()
        read += len(event.get("body", b""))
        if read > LARGEST:
            raise InvalidArgument.of("body", f"must be at most {LARGEST} bytes")
        return event

    return received


async def empty(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
