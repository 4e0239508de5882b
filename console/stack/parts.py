"""What the forked parts of the stack run. Each returns when it was asked to end."""

import re
import socket
import sys
import warnings

import uvicorn
from django.core.management import call_command

from console.celery import app
from console.stack.beat import with_worker as beat_with_worker
from console.stack.schema import bring_up_to_date

# Root only starts the workers, and nothing they take in is unpickled or run; the console's own static files are
# small enough to be read whole.
QUIET = (
    "You're running the worker with superuser privileges",
    "StreamingHttpResponse must consume synchronous iterators",
)


def tables(demo: bool) -> None:
    """The database's tables, and the demo."""
    bring_up_to_date()
    if demo:
        call_command("load_demo")


def static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


def web(bind: str, port: int) -> None:
    """A web server. Several may listen on one port: the kernel deals connections out among them."""
    hush()
    config = uvicorn.Config("console.asgi:application", lifespan="off", access_log=False, log_level="warning",
                            timeout_graceful_shutdown=3)  # fmt: skip
    uvicorn.Server(config).run([listening(bind, port)])


def listening(bind: str, port: int) -> socket.socket:
    """A socket for the port, which others may listen on as well. Its protocol is named: asyncio turns the delay of small
    packets off for what says that it is TCP, and answers over kept connections would be 40 ms late with it."""
    made = unbound(bind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((bind, port))
    return made


def unbound(bind: str) -> socket.socket:
    """A socket of the family of an address, for a port that others may have used until now."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


def worker(name: str, threads: int, beat: bool = False) -> None:
    """A worker of the queue `name`, with Celery's beat as a thread of its own when asked.

    Threads: the work is waiting for PostgreSQL, one process a worker keeps memory low, and nothing is left behind when
    a worker is killed.
    """
    hush()
    if beat:
        beat_with_worker()
    sys.exit(app.worker_main(["-q", "worker", "-Q", name, "-n", f"{name}@headroom", "--pool", "threads",
                              "--concurrency", str(threads), "--loglevel", "WARNING", "--without-gossip",
                              "--without-mingle", "--without-heartbeat"]))  # fmt: skip


def hush() -> None:
    for words in QUIET:
        warnings.filterwarnings("ignore", message=re.escape(words))
