"""One scratch PostgreSQL cluster for a whole test run, shared by all its workers.

A pytest plugin of its own (`-p tests.scratch`), since it has to be there before Django reads its settings.
"""

import os
import shutil
import tempfile
from pathlib import Path

from console.stack.postgres import Postgres

_running: list[Postgres] = []


def _start() -> None:
    """Start the cluster and name it in the environment, which workers inherit."""
    folder = Path(tempfile.mkdtemp(prefix="hr-"))
    folder.chmod(0o755)  # the account PostgreSQL runs as has to pass through
    # A test that waits for a lock that nobody lets go fails, and says so.
    quick = {"fsync": "off", "synchronous_commit": "off", "max_connections": "200", "lock_timeout": "90s"}
    postgres = Postgres(folder, quick)
    postgres.prepare()
    postgres.start()
    postgres.wait()
    _running.append(postgres)
    (folder / "static").mkdir()
    os.environ.update(
        DATABASE_URL=postgres.url,
        HEADROOM_STATE_DIR=str(folder),
        HEADROOM_SECRET_KEY="only for tests",
        CELERY_BROKER_URL="memory://",
    )


def pytest_unconfigure() -> None:
    while _running:
        postgres = _running.pop()
        postgres.stop()
        shutil.rmtree(postgres.state, ignore_errors=True)


if "PYTEST_XDIST_WORKER" not in os.environ:
    _start()
