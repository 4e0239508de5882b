"""What no committed file may hold, and what the front-end folder must."""

import re
import subprocess
from pathlib import Path

import pytest

from console.stack import assets
from tests.stack.stacks import ROOT

LOCKS = ["requirements.lock", "requirements-dev.lock", "package-lock.json"]
PURE = [
    path for folder in ("claims/core", "deployments/core", "deployments/sim") for path in (ROOT / folder).rglob("*.py")
]
# Numpy's generators are allowed where they are seeded by what is handed in (`sim.streams`).
IMPURE = {
    "a clock": r"\.(now|today|utcnow|monotonic|perf_counter)\(",
    "chance of its own": r"np\.random\.(?!Generator\b|Philox\b)",
    "a file or the terminal": r"(?<![\w.])(open|print|input)\(",
    "state that outlives a call": r"^\s*global |@(functools\.)?(lru_)?cache\b",
}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_names_hashes_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "sha256:" in text or "sha512-" in text


@pytest.mark.parametrize("name", LOCKS[:2])
def test_every_locked_package_has_a_version_and_a_hash(name: str) -> None:
    entries = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())
    assert entries
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_decides_asks_nobody(path: Path) -> None:
    text = path.read_text()
    assert [name for name, pattern in IMPURE.items() if re.search(pattern, text, re.MULTILINE)] == []


def test_there_is_something_pure() -> None:
    assert len(PURE) > 10


def test_front_end_files_are_those_of_the_list() -> None:
    assert assets.complete()


def test_a_changed_front_end_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*assets.FILES, "icons.svg"]:
        (tmp_path / name).write_bytes((assets.VENDOR / name).read_bytes())
    monkeypatch.setattr(assets, "VENDOR", tmp_path)
    monkeypatch.setattr(assets, "SPRITE_HERE", tmp_path / "icons.svg")
    assert assets.complete()
    (tmp_path / "chart.umd.min.js").write_text("something else")
    assert not assets.complete()


def test_an_icon_that_is_newly_named_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "icons.txt").write_text(assets.ICONS.read_text() + "\nnewly-named\n")
    monkeypatch.setattr(assets, "ICONS", tmp_path / "icons.txt")
    assert not assets.complete()


def test_an_unknown_icon_is_refused_by_name() -> None:
    sprite = '<svg><symbol id="tabler-server" viewBox="0 0 24 24"><path/></symbol></svg>'
    assert assets.icons_in(assets.cut_icons(sprite, ["server"])) == ["server"]
    with pytest.raises(assets.AssetError, match="no-such-icon"):
        assets.cut_icons(sprite, ["server", "no-such-icon"])


@pytest.mark.parametrize("line", ["//# sourceMappingURL=a.js.map", "/*# sourceMappingURL=a.css.map */"])
def test_source_maps_are_not_named(line: str) -> None:
    assert assets.without_source_map(f"code;\n{line}") == "code;\n"


def test_committed_text_names_no_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    texts = [
        ROOT / name for name in listed.stdout.split("\0") if name.endswith((".py", ".md", ".toml", ".html", ".txt"))
    ]
    private = re.compile(r"/(work|root|home)/[a-z]")
    found = [path for path in texts if path.exists() and path != Path(__file__) and private.search(path.read_text())]
    assert [str(path.relative_to(ROOT)) for path in found] == []
