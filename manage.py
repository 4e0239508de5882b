#!/usr/bin/env python
"""Django's command-line entry point."""

import os
import sys

from console.stack.command_line import run

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    sys.exit(run(sys.argv))
