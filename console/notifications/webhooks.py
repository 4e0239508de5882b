"""Calls a webhook: one POST, within a few seconds, to an address that was looked at.

The name is resolved here and the connection made to the very address that passed, so that a name which answers
differently a moment later gains nothing. Nothing is followed, and little of the answer is read.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread

import h11

from console.common.outside import storable_text
from console.notifications.addresses import Address, BadTarget, Endpoint, endpoint_of, refused

WITHIN_S, CONNECT_WITHIN_S = 10.0, 5.0
MOST_READ = 64 * 1024  # bytes of the answer
SHOWN = 500
MOST_ADDRESSES = 4
LONGEST_WAIT_S = 6 * 3600

Resolve = Callable[[str, int], Sequence[Address]]


class Undelivered(Exception):
    """Nobody took it; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said. `retry_after_s`: how long it asks to be left alone."""

    status: int
    text: str = ""
    retry_after_s: int | None = None


def resolved(host: str, port: int) -> list[Address]:
    """Every address of the name, in the system's order."""
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    found = [ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in rows]
    return list(dict.fromkeys(found))


def post(
    url: str,
    headers: Sequence[tuple[str, str]],
    body: bytes,
    *,
    allow_private: bool,
    resolve: Resolve = resolved,
    trust: ssl.SSLContext | None = None,
    within_s: float = WITHIN_S,
) -> Answer:
    """The answer to the POST, whatever its status; Undelivered where there is none within `within_s` seconds."""
    deadline = time.monotonic() + within_s
    try:
        endpoint = endpoint_of(url, allow_private=allow_private)
        addresses = allowed(endpoint, resolve, allow_private, deadline)
        with connected(endpoint, addresses, trust, deadline) as connection:
            return spoken(connection, endpoint, headers, body, deadline)
    except BadTarget as error:
        raise Undelivered(f"The address is refused: {error}") from error
    except TimeoutError as error:
        raise Undelivered(f"No answer within {within_s:g} s") from error
    except ssl.SSLError as error:
        raise Undelivered(f"TLS failed: {error.reason or error}") from error
    except h11.RemoteProtocolError as error:
        raise Undelivered(f"The answer is no HTTP: {error}") from error
    except OSError as error:
        raise Undelivered(f"No connection: {error.strerror or error}") from error


def allowed(endpoint: Endpoint, resolve: Resolve, allow_private: bool, deadline: float) -> list[Address]:
    """Addresses of the host that may be called; BadTarget where all are refused."""
    found = in_time(lambda: resolve(endpoint.host, endpoint.port), min(CONNECT_WITHIN_S, left(deadline)))
    why = {address: refused(address, allow_private=allow_private) for address in found}
    if good := [address for address in found if not why[address]]:
        return good[:MOST_ADDRESSES]
    raise BadTarget(next((text for text in why.values() if text), f"{endpoint.host} has no address"))


def in_time(ask: Callable[[], Sequence[Address]], within_s: float) -> Sequence[Address]:
    """The resolver has no time limit of ours, so it is asked in a thread that may outlive the question."""
    answer: Future[Sequence[Address]] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except Exception as error:
            answer.set_exception(error)

    Thread(target=run, daemon=True).start()
    try:
        return answer.result(timeout=within_s)
    except NotInTime as error:
        raise TimeoutError from error


def left(deadline: float) -> float:
    """Seconds until then; TimeoutError where there are none."""
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining


@contextmanager
def connected(
    endpoint: Endpoint, addresses: Sequence[Address], trust: ssl.SSLContext | None, deadline: float
) -> Iterator[socket.socket]:
    """A connection to the first of the addresses that takes one; with TLS the certificate is the name's."""
    raw = first_open(addresses, endpoint.port, deadline)
    with raw:
        if endpoint.scheme == "http":
            yield raw
            return
        raw.settimeout(left(deadline))
        context = trust or ssl.create_default_context()
        with context.wrap_socket(raw, server_hostname=endpoint.host.rstrip(".")) as connection:
            yield connection


def first_open(addresses: Sequence[Address], port: int, deadline: float) -> socket.socket:
    failed: OSError = ConnectionError("no address")
    for address in addresses:
        try:
            return socket.create_connection((str(address), port), timeout=min(CONNECT_WITHIN_S, left(deadline)))
        except OSError as error:
            failed = error
    raise failed


def spoken(
    connection: socket.socket, endpoint: Endpoint, headers: Sequence[tuple[str, str]], body: bytes, deadline: float
) -> Answer:
    """Send the request and read the answer's head and the beginning of its body."""
    talk = h11.Connection(h11.CLIENT)
    request = h11.Request(
        method="POST", target=endpoint.path,
        headers=[("Host", endpoint.authority), ("Content-Length", str(len(body))), ("Connection", "close"), *headers],
    )  # fmt: skip
    for event in (request, h11.Data(data=body), h11.EndOfMessage()):
        connection.settimeout(left(deadline))
        connection.sendall(talk.send(event) or b"")
    head, text = heard(connection, talk, deadline)
    return Answer(head.status_code, storable_text(text.decode(errors="replace"), SHOWN), retry_after(head))


def heard(connection: socket.socket, talk: h11.Connection, deadline: float) -> tuple[h11.Response, bytes]:
    """The head, and of the body no more than is shown. The receiver has taken it once its head is here: what goes wrong
    after that does not count."""
    head, text, read = None, b"", 0
    while len(text) < SHOWN:
        try:
            event = talk.next_event()
            if event is h11.NEED_DATA:
                connection.settimeout(left(deadline))
                data = connection.recv(16 * 1024)
                read += len(data)
                talk.receive_data(data)
                if head is None and read > MOST_READ:
                    raise Undelivered(f"The answer's head is longer than {MOST_READ // 1024} KiB")
                continue
        except (OSError, h11.RemoteProtocolError):
            if head is None:
                raise
            break
        if isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            text += bytes(event.data)
        elif not isinstance(event, h11.InformationalResponse):
            break
    if head is None:
        raise Undelivered("The connection was closed without an answer")
    return head, text[:SHOWN]


def retry_after(head: h11.Response) -> int | None:
    """Seconds, where the receiver names them."""
    value = next((value for name, value in head.headers if name == b"retry-after"), b"")
    return min(int(value), LONGEST_WAIT_S) if value.isdigit() and len(value) < 10 else None
