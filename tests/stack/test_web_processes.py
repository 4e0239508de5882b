"""Several web servers on one port: both answer, and one that is killed takes nobody with it."""

import asyncio
import os
import signal
import socket
from collections import Counter
from pathlib import Path

import pytest

from bench.running import children_of, free_port
from console.stack.parts import listening
from tests.stack.stacks import Stack, running_stack, until

pytestmark = [pytest.mark.thorough, pytest.mark.stack]


def webs(stack: Stack) -> dict[str, int]:
    titles = {
        pid: Path(f"/proc/{pid}/cmdline").read_bytes().strip(b"\0").decode() for pid in children_of(stack.process.pid)
    }
    return {title.removeprefix("headroom: "): pid for pid, title in titles.items() if title.startswith("headroom: web")}


def served_by(stack: Stack, times: int = 40) -> Counter[int]:
    """How often each of them used processor time while pages were read, each over a connection of its own."""
    found = Counter[int]()
    for _ in range(times):
        before = {pid: ticks(pid) for pid in webs(stack).values()}
        assert stack.get("/accounts/sign-in")[0] == 200
        found.update(pid for pid, used in before.items() if ticks(pid) > used)
    return found


def ticks(pid: int) -> int:
    """Processor time of a process, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_two_share_the_port_and_one_that_is_killed_takes_nobody_with_it() -> None:
    with running_stack(HEADROOM_WEB_PROCESSES="2", DEMO="0") as stack:
        both = webs(stack)
        assert set(both) == {"web", "web-2"}
        assert set(served_by(stack)) == set(both.values())
        os.kill(both["web-2"], signal.SIGKILL)
        until(lambda: stack.said("web-2 ended (-9)"), 10)
        assert all(stack.get("/readyz")[0] == 200 for _ in range(20))
        until(lambda: set(webs(stack)) == set(both), 30, "it was not started again")
        assert webs(stack)["web"] == both["web"]


def test_connections_delay_no_small_packets() -> None:
    assert asyncio.run(nodelay(listening("127.0.0.1", free_port())))


async def nodelay(sock: socket.socket) -> int:
    """Whether a connection to the socket has TCP_NODELAY where it is served."""
    found = asyncio.get_running_loop().create_future()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async with await asyncio.start_server(served, sock=sock):
        _, writer = await asyncio.open_connection(*sock.getsockname())
        given: int = await found
        writer.close()
    return given
