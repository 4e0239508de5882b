"""`manage.py`, with the two mistakes everybody makes once answered in a sentence: a stopped database, a bad setting."""

import os
import sys

from django.core.management import execute_from_command_line
from django.db import OperationalError

from console.common.environment import SettingError

INTERRUPTED = 130


def run(arguments: list[str]) -> int:
    """The exit code of the command; what goes wrong otherwise is raised as it is."""
    # The work is arrays of some thousands of numbers, in several processes: threads of numpy's would only get in the
    # way, of each other and of forks.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        execute_from_command_line(arguments)
    except OperationalError as error:
        if not unreachable(error):
            raise
        print(f"The database does not answer; `make run` starts it. ({first_line(error)})", file=sys.stderr)
        return 1
    except SettingError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def unreachable(error: OperationalError) -> bool:
    """Whether there was no connection at all: then PostgreSQL gave no code for what is wrong."""
    return getattr(error.__cause__, "sqlstate", None) is None


def first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
