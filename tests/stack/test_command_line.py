"""`manage.py` answers the two common mistakes in a sentence, and hides nothing else."""

import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import psycopg
import pytest
from django.db import OperationalError

from console.stack import command_line
from tests.stack.stacks import ROOT, environment


def manage(state: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, str(ROOT / "manage.py"), *arguments], env=environment(state, 8000, **settings),
                          capture_output=True, text=True, timeout=60, check=False)  # fmt: skip


def test_a_stopped_database_is_one_sentence(tmp_path: Path) -> None:
    asked = manage(tmp_path, "check_invariants")
    assert asked.returncode == 1
    assert asked.stderr.startswith("The database does not answer; `make run` starts it.")
    assert len(asked.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value"), [("HEADROOM_PORT", "http"), ("DEMO", "maybe"), ("DATABASE_URL", "mysql://x")]
)
def test_a_bad_setting_is_one_sentence_that_names_it(tmp_path: Path, name: str, value: str) -> None:
    asked = manage(tmp_path, "check_invariants", **{name: value})
    assert asked.returncode == 1
    assert name in asked.stderr
    assert len(asked.stderr.splitlines()) == 1


def test_a_refusal_by_a_running_database_is_not_hidden() -> None:
    refused = OperationalError("deadlock detected")
    refused.__cause__ = psycopg.errors.DeadlockDetected("deadlock detected")
    with patch.object(command_line, "execute_from_command_line", side_effect=refused), pytest.raises(OperationalError):
        command_line.run(["manage.py", "migrate"])


def test_a_command_that_is_interrupted_ends_quietly() -> None:
    with patch.object(command_line, "execute_from_command_line", side_effect=KeyboardInterrupt):
        assert command_line.run(["manage.py", "migrate"]) == command_line.INTERRUPTED
