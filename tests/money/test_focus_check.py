"""`make focus-check`: the public validator finds nothing in an export but the defects of its own rules."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.cast import Cast
from tests.money import focus_check
from tests.money.test_focus import exported

__all__ = ["exported"]
VALIDATOR = os.environ.get("HEADROOM_FOCUS_VALIDATOR", "")
FAILS = "BilledCost-C-001-M: FAIL  (violations=3)\nTotal: 578 | Pass: 289 | Fail: 2 | Skipped: 287\n"


@pytest.mark.skipif(not VALIDATOR, reason="needs Python 3.12 and the validator: make focus-check")
@pytest.mark.django_db
def test_the_public_validator_passes_an_export(exported: Cast, tmp_path: Path) -> None:
    file = tmp_path / "focus.csv"
    for query in ({"period": "2026-05"}, {"period": "month-to-date"}):
        answer: Any = exported.billing.api().get("/api/v1/focus", query)
        file.write_bytes(b"".join(answer.streaming_content))
        found = focus_check.failed(focus_check.verdict(file, Path(VALIDATOR)))
        assert found - focus_check.ALLOWED == set()


@pytest.mark.skipif(not VALIDATOR, reason="needs Python 3.12 and the validator: make focus-check")
@pytest.mark.django_db
def test_the_validator_finds_what_is_wrong(exported: Cast, tmp_path: Path) -> None:
    answer: Any = exported.billing.api().get("/api/v1/focus", {"period": "2026-05"})
    file = tmp_path / "focus.csv"
    file.write_bytes(b"".join(answer.streaming_content).replace(b",Usage,", b",Use,"))
    found = focus_check.failed(focus_check.verdict(file, Path(VALIDATOR)))
    assert any(rule.startswith("ChargeCategory-") for rule in found - focus_check.ALLOWED)


def test_the_validator_s_answer_is_read_and_silence_is_no_pass() -> None:
    assert focus_check.failed(FAILS) == {"BilledCost-C-001-M"}
    for silence in ("", "Traceback", "Total: 0 | Pass: 0 | Fail: 0 | Skipped: 0"):
        with pytest.raises(ValueError, match="nothing that can be read"):
            focus_check.failed(silence)
