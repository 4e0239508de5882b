"""`python -m console.stack.assets`: put the few front-end files that pages use into `static/vendor/`.

npm brings them by the lock file's hashes; what is copied is checked once more against `static/vendor.sha256`. When
everything is there and right, nothing is fetched. `--accept` writes the list anew, after an intended update.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES, VENDOR = ROOT / "node_modules", ROOT / "static" / "vendor"
LIST, ICONS = ROOT / "static" / "vendor.sha256", ROOT / "static" / "icons.txt"
SPRITE_HERE = VENDOR / "icons.svg"
SPRITE = MODULES / "@tabler/icons-sprite/dist/tabler-sprite-nostroke.svg"
FILES = {
    "tabler.min.css": "@tabler/core/dist/css/tabler.min.css",
    "tabler.min.js": "@tabler/core/dist/js/tabler.min.js",
    "chart.umd.min.js": "chart.js/dist/chart.umd.min.js",
    "chartjs-adapter-date-fns.bundle.min.js": "chartjs-adapter-date-fns/dist/chartjs-adapter-date-fns.bundle.min.js",
    "chartjs-plugin-annotation.min.js": "chartjs-plugin-annotation/dist/chartjs-plugin-annotation.min.js",
    "chart.js-LICENSE.md": "chart.js/LICENSE.md",
}


class AssetError(RuntimeError):
    """The front-end files cannot be put in place; the text says why and what to do."""


def wanted() -> dict[str, str]:
    lines = LIST.read_text().splitlines() if LIST.exists() else []
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines if line.strip())}


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def complete() -> bool:
    """Whether every file is there as listed, and the icons are those of the list of names."""
    expected = wanted()
    right = set(expected) == set(FILES) and all(digest_of(VENDOR / name) == expected[name] for name in FILES)
    here = SPRITE_HERE.read_text() if SPRITE_HERE.exists() else ""
    return right and icons_in(here) == sorted(set(ICONS.read_text().split()))


def icons_in(sprite: str) -> list[str]:
    return re.findall(r'<symbol id="([a-z0-9-]+)"', sprite)


def fetch() -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise AssetError("The front-end files need npm, once: install Node.js 20 or newer, and run make again.")
    done = subprocess.run([npm, "ci", "--ignore-scripts", "--silent"], cwd=ROOT, check=False)
    if done.returncode:
        raise AssetError(f"npm ci failed with {done.returncode}; see the lines above.")


def copy() -> None:
    VENDOR.mkdir(parents=True, exist_ok=True)
    for name, source in FILES.items():
        text = (MODULES / source).read_text()
        (VENDOR / name).write_text(without_source_map(text))
    SPRITE_HERE.write_text(cut_icons(SPRITE.read_text(), ICONS.read_text().split()))


def without_source_map(text: str) -> str:
    """Manifest storage would look for the source map, which is not shipped."""
    return re.sub(r"(//|/\*)# sourceMappingURL=\S+( \*/)?", "", text)


def cut_icons(sprite: str, names: list[str]) -> str:
    """Our own sprite with the named symbols alone; the full one has 2 MB."""
    symbols = dict(re.findall(r'<symbol id="tabler-([a-z0-9-]+)"(.*?</symbol>)', sprite, re.DOTALL))
    unknown = sorted(set(names) - set(symbols))
    if unknown:
        raise AssetError(f"static/icons.txt names icons that Tabler does not have: {', '.join(unknown)}.")
    cut = "".join(f'<symbol id="{name}"{symbols[name]}' for name in sorted(set(names)))
    return f'<svg xmlns="http://www.w3.org/2000/svg"><!-- Tabler Icons, MIT, Paweł Kuna -->{cut}</svg>\n'


def accept() -> None:
    rows = [f"{digest_of(VENDOR / name)}  {name}" for name in sorted(FILES)]
    LIST.write_text("\n".join(rows) + "\n")
    lock = ROOT / "package-lock.json"
    packages = json.loads(lock.read_text())
    for entry in packages["packages"].values():
        entry.pop("funding", None)  # addresses, which nothing here needs
    lock.write_text(json.dumps(packages, indent=2) + "\n")


def main(arguments: list[str]) -> None:
    if complete() and not arguments:
        return
    fetch()
    copy()
    if arguments == ["--accept"]:
        accept()
    if not complete():
        raise AssetError("The front-end files differ from static/vendor.sha256; run with --accept if that is meant.")
    print("front-end files are in static/vendor")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except AssetError as error:
        sys.exit(str(error))
