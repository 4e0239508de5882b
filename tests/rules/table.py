"""Which test proves which rule, found in the names of the tests: `test_r13_...` is a test of R13, `test_c3_w1_...` one
of C3 and of W1. A test that is always skipped proves nothing."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.rules.book import LATER, RULES

TESTS = Path(__file__).resolve().parent.parent
PAGE = TESTS.parent / "docs" / "rules.md"
NAMED = re.compile(r"test_((?:[rcbw][0-9]+_)+)")
HEAD = """# Rules and their tests

Written by `python -m tests.rules` from the names of the tests; `python -m tests.rules --check` fails when a rule has
none. A test named `test_r13_...` proves rule R13; the rule in full is what the test says.

| rule | in a few words | tests |
|---|---|---|
"""


def proofs(folder: Path = TESTS) -> dict[str, list[str]]:
    """`file::test` of each rule that some test names."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        for name in _tests(ast.parse(path.read_text())):
            if match := NAMED.match(name):
                for rule in match[1].upper().strip("_").split("_"):
                    found.setdefault(rule, []).append(f"{path.relative_to(folder).as_posix()}::{name}")
    return found


def _tests(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not any(map(_skips, node.decorator_list)):
            yield node.name


def _skips(decorator: ast.expr) -> bool:
    return re.match(r"pytest\.mark\.skip\b", ast.unparse(decorator)) is not None


def problems(folder: Path = TESTS) -> list[str]:
    """What is wrong, one sentence each; nothing when every rule is proved."""
    found = proofs(folder)
    missing = [f"{rule} has no test named test_{rule.lower()}_..." for rule in RULES
               if rule not in found and rule not in LATER]  # fmt: skip
    unknown = [f"{name} names {rule}, which is no rule" for rule in found if rule not in RULES for name in found[rule]]
    return missing + unknown


def page() -> str:
    found = proofs()
    return HEAD + "".join(f"| {rule} | {text} | {_cell(rule, found)} |\n" for rule, text in RULES.items())


def _cell(rule: str, found: dict[str, list[str]]) -> str:
    by_file: dict[str, list[str]] = {}
    for one in found.get(rule, []):
        file, name = one.split("::")
        by_file.setdefault(file, []).append(f"`{name}`")
    if not by_file:
        return f"comes {LATER[rule]}" if rule in LATER else "**none**"
    return "<br>".join(f"{file}: {', '.join(names)}" for file, names in by_file.items())
