"""The command that lists rules and their tests sees what is missing."""

from pathlib import Path

import pytest

from tests.rules import table
from tests.rules.book import LATER, RULES


def written(folder: Path, text: str) -> Path:
    (folder / "test_it.py").write_text(text)
    return folder


def test_every_rule_that_is_to_come_is_a_rule() -> None:
    assert set(LATER) < set(RULES)


def test_names_say_which_rules_a_test_proves(tmp_path: Path) -> None:
    found = table.proofs(written(tmp_path, "def test_r8_x(): ...\n\nclass A:\n    async def test_c3_w1_y(self): ...\n"))
    assert found == {"R8": ["test_it.py::test_r8_x"], "C3": ["test_it.py::test_c3_w1_y"],
                     "W1": ["test_it.py::test_c3_w1_y"]}  # fmt: skip


def test_a_rule_without_a_test_is_missed(tmp_path: Path) -> None:
    named = [f"def test_{rule.lower()}_x(): ..." for rule in RULES if rule not in LATER]
    assert table.problems(written(tmp_path, "\n".join(named))) == []
    assert table.problems(written(tmp_path, "\n".join(named[1:]))) == ["R1 has no test named test_r1_..."]


@pytest.mark.parametrize("mark", ["skip", "skip(reason='later')"])
def test_a_skipped_test_proves_nothing(tmp_path: Path, mark: str) -> None:
    assert table.proofs(written(tmp_path, f"@pytest.mark.{mark}\ndef test_r8_x(): ...\n")) == {}


def test_an_unknown_rule_is_refused(tmp_path: Path) -> None:
    assert "names B200, which is no rule" in table.problems(written(tmp_path, "def test_b200_x(): ...\n"))[-1]
