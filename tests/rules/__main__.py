"""`python -m tests.rules` writes docs/rules.md; with `--check` it only looks, and fails on what is missing."""

import sys

from tests.rules.table import PAGE, page, problems


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m tests.rules [--check]\n")
        return 2
    found = problems()
    if arguments:
        if not PAGE.exists() or PAGE.read_text() != page():
            found.append(f"{PAGE.name} is out of date: run python -m tests.rules")
    else:
        PAGE.write_text(page())
    sys.stderr.writelines(f"{one}\n" for one in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
