"""Real receivers on this machine: an HTTP server that does what a test tells it, and a small SMTP server."""

import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOCAL = "127.0.0.1"


@dataclass(frozen=True)
class Got:
    """A request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    client: str


Reply = Callable[["Handler"], None]


def answers(status: int, body: bytes = b"ok", **headers: str) -> Reply:
    def reply(handler: "Handler") -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def hangs(seconds: float) -> Reply:
    def reply(handler: "Handler") -> None:
        time.sleep(seconds)

    return reply


def drips(seconds: float) -> Reply:
    """Always says a little more, and never comes to an end."""

    def reply(handler: "Handler") -> None:
        until = time.monotonic() + seconds
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while time.monotonic() < until:
            handler.wfile.write(b"X-More: 1\r\n")
            handler.wfile.flush()
            time.sleep(0.05)

    return reply


def says(data: bytes) -> Reply:
    def reply(handler: "Handler") -> None:
        handler.wfile.write(data)

    return reply


def pours(megabytes: int) -> Reply:
    """A head, and far more body than anybody wants."""

    def reply(handler: "Handler") -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(megabytes * 2**20))
        handler.end_headers()
        for _ in range(megabytes * 16):
            handler.wfile.write(b"x" * 2**16)
            handler.receiver.poured += 2**16

    return reply


@dataclass
class Receiver:
    """What came in, and what is answered: the first of `replies` each time, the last one from then on."""

    url: str
    port: int
    replies: list[Reply] = field(default_factory=lambda: [answers(200)])
    got: list[Got] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    poured: int = 0

    def next_reply(self) -> Reply:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


class Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        named = {name.lower(): value for name, value in self.headers.items()}
        self.receiver.got.append(Got(self.command, self.path, named, body, time.time(), self.client_address[0]))
        self.receiver.next_reply()(self)

    def do_POST(self) -> None:
        self._take()

    def do_GET(self) -> None:
        self._take()

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away early is part of the tests."""


@contextmanager
def receiver(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """An HTTP server on a port of its own; with `tls` it notes the names that clients ask for."""

    class Its(Handler):
        pass

    server = Quiet((LOCAL, 0), Its)
    port = server.server_address[1]
    made = Receiver(f"{'https' if tls else 'http'}://{LOCAL}:{port}/hook", port)
    Its.receiver = made
    if tls:
        tls.sni_callback = lambda connection, name, context: made.names.append(name)
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def closed_port() -> Iterator[int]:
    """A port that nobody listens on while the test runs."""
    with socket.socket() as taken:
        taken.bind((LOCAL, 0))
        yield taken.getsockname()[1]


@dataclass
class Mailbox:
    """An SMTP server: the letters it took, and the code it answers a letter with."""

    port: int = 0
    letters: list[bytes] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    refuse_recipient: bool = False
    code: str = "250 taken"


@contextmanager
def mail_server() -> Iterator[Mailbox]:
    made = Mailbox()

    class Session(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(line.encode() + b"\r\n")

        def handle(self) -> None:
            self.say("220 tests")
            while line := self.rfile.readline().decode().strip():
                verb = line.split()[0].upper()
                if verb == "RCPT":
                    made.recipients.append(line.partition(":")[2].strip("<>"))
                    self.say("550 no such mailbox" if made.refuse_recipient else "250 ok")
                elif verb == "DATA":
                    self.say("354 go on")
                    self.letter()
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

        def letter(self) -> None:
            lines = []
            while (line := self.rfile.readline()) != b".\r\n":
                lines.append(line)
            if made.code.startswith("250"):
                made.letters.append(b"".join(lines))
            self.say(made.code)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True

    with Server((LOCAL, 0), Session) as server:
        made.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield made
        server.shutdown()
