"""Every action that the code records and every name that it stores has plain words."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.urls import reverse

from claims.models import Work
from console.dashboard.said import ACTIONS, action_in_words, stored_names, value_in_words
from console.organizations.models import AuditEvent
from tests.cast import Cast

ROOT = Path(settings.BASE_DIR)
ACTION = re.compile(r"[a-z]+\.[a-z]+")
HELD = ("deployment", "organization", "fleet")
# Actions whose name is put together where it is recorded, by file.
MADE = {
    "claims/services/work.py": [f"instance.{work.lower() or 'clear'}" for work in [*Work.values, ""]],
    "deployments/services/holds.py": [f"{kind}.{verb}" for kind in HELD for verb in ("freeze", "pin", "release")],
}


def recorded() -> Iterator[tuple[str, str]]:
    """(file, action) of every call of `audit_record`."""
    for package in ("console", "claims", "deployments"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield from ((str(path.relative_to(ROOT)), action) for action in actions_in(path))


def actions_in(path: Path) -> Iterator[str]:
    tree, name = ast.parse(path.read_text()), str(path.relative_to(ROOT))
    calls = [one for one in ast.walk(tree) if isinstance(one, ast.Call) and called(one) == "audit_record"]
    for call in calls:
        (action,) = [one.value for one in call.keywords if one.arg == "action"]
        if isinstance(action, ast.JoinedStr):
            yield from MADE[name]
        elif isinstance(action, ast.Name):  # handed on: whatever this file hands on
            yield from strings(tree)
        else:
            found = list(strings(action))
            assert found, f"{name}:{call.lineno}: say its actions in MADE"
            yield from found


def called(call: ast.Call) -> str:
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def strings(tree: ast.AST) -> Iterator[str]:
    for one in ast.walk(tree):
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and ACTION.fullmatch(one.value):
            yield one.value


def test_every_action_that_is_recorded_has_words() -> None:
    found = {action: file for file, action in recorded()}
    assert {action: file for action, file in found.items() if action not in ACTIONS} == {}
    assert len(found) > 40


def test_words_are_no_names() -> None:
    for words in ACTIONS.values():
        assert words[0].isupper()
        assert not re.search(r"[._]", words)
    assert action_in_words("left.from_before") == "Left from before", "of an older version"


def test_every_stored_name_is_said_without_capitals_or_underscores() -> None:
    names = stored_names()
    assert {"SERVERLESS", "CAPACITY_CLASS_ON_DEMAND", "STATUS_READY", "FREEZE", "ON_DEMAND"} <= names
    for name in names:
        words = value_in_words(name)
        assert words, name
        assert words == words.lower(), name
        assert "_" not in words, name
    assert value_in_words("CAPACITY_TYPE_SERVERLESS") == "serverless"
    assert value_in_words("API_TYPE_OPENAI") == "OpenAI"
    assert value_in_words("2026-11-27T17:25:35Z") == "2026-11-27 17:25:35 UTC"
    assert value_in_words("FLASH_ATTN") == "FLASH_ATTN", "of an engine's environment"
    assert value_in_words("US-WEST-04A") == "US-WEST-04A"
    assert value_in_words("meta/LLAMA_3") == "meta/LLAMA_3"


@pytest.mark.django_db
def test_the_page_says_words_and_its_address_the_names(cast: Cast) -> None:
    AuditEvent.objects.create(
        organization=cast.organization, actor="ann", action="deployment.update", object_type="Deployment", object_id="1",
        object_name="chat", before={"capacity_classes": ["CAPACITY_CLASS_RESERVED"]},
        after={"capacity_classes": ["CAPACITY_CLASS_ON_DEMAND", "CAPACITY_CLASS_RESERVED"]},
    )  # fmt: skip
    page = " ".join(cast.viewer.browser().get(reverse("audit")).content.decode().split())
    assert "Deployment changed" in page
    assert "<del>reserved</del>" in page
    assert "<ins>on demand, reserved</ins>" in page
    shown = re.sub(r'<option value="[^"]*"', "<option", page)
    assert "deployment.update" not in shown
    assert "CAPACITY_CLASS" not in shown
    assert '<option value="deployment.update">Deployment changed</option>' in page
    chosen = cast.viewer.browser().get(reverse("audit"), {"what": "deployment."}).content.decode()
    assert '<option value="deployment." selected>Deployment: anything</option>' in chosen
