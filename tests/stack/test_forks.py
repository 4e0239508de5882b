"""A fork takes over nothing of its parent that it could harm itself with."""

import os
import time
from pathlib import Path

from console.stack.processes import Forked


def test_what_the_parent_had_open_closes_no_file_of_the_fork(tmp_path: Path) -> None:
    """Objects of the parent live on in the fork, and close their numbers when they are collected."""
    reading, writing = os.pipe()
    output = os.open(tmp_path / "output", os.O_CREAT | os.O_WRONLY)
    theirs = os.fdopen(reading, "rb")

    def main() -> None:
        mine = [os.open(tmp_path / f"mine-{number}", os.O_CREAT | os.O_WRONLY) for number in range(reading + 1)]
        theirs.close()
        for one in mine:
            os.write(one, b"whole")

    fork = Forked(main, name="fork", output=output)
    assert fork.wait() == 0, (tmp_path / "output").read_text()
    assert {one.read_text() for one in tmp_path.glob("mine-*")} == {"whole"}
    theirs.close()
    os.close(writing)
    os.close(output)


def test_a_fork_holds_nothing_open_that_its_parent_waits_for(tmp_path: Path) -> None:
    """The reader of a pipe comes to its end although a fork that began meanwhile goes on."""
    reading, writing = os.pipe()
    output = os.open(tmp_path / "output", os.O_CREAT | os.O_WRONLY)
    began = tmp_path / "began"

    def main() -> None:
        began.write_text("")
        time.sleep(60)

    fork = Forked(main, name="fork", output=output)
    while not began.exists():
        assert fork.poll() is None
    os.close(writing)
    assert os.read(reading, 1) == b""
    fork.kill()
    fork.wait()
    for one in (reading, output):
        os.close(one)
