import argparse
import importlib
import json
import os
import platform
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
BENCHES = ["plan", "tick", "stack", "pages", "claims", "api", "forecasts", "policies"]
ALONE = {"policies"}  # takes hours, and so runs where it is named


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default="", help=f"comma-separated: {', '.join(BENCHES)}")
    chosen = [name for name in parser.parse_args().only.split(",") if name]
    chosen = chosen or [name for name in BENCHES if name not in ALONE]
    unknown = set(chosen) - set(BENCHES)
    if unknown:
        parser.error(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    for name in chosen:
        bench = importlib.import_module(f"bench.{name}")
        rows = bench.run()
        RESULTS.mkdir(exist_ok=True)
        if hasattr(bench, "page"):  # many rows, and a page of its own
            (RESULTS / f"{name}.json").write_text(_a_line_each(rows))
            (ROOT / "docs" / f"{name}.md").write_text(bench.page(rows))
            for file, drawn in bench.charts(rows).items():
                (ROOT / "docs" / file).write_text(drawn)
            print(bench.page(rows))
            continue
        (RESULTS / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n")
        print(table(name, rows))
    (ROOT / "docs" / "performance.md").write_text(report())


def _a_line_each(rows: list[dict[str, Any]]) -> str:
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"


def table(name: str, rows: list[dict[str, Any]]) -> str:
    lines = [f"## {name}", "", "| what | value | bar |", "|---|---|---|"]
    for row in rows:
        bar = f"{row['bar']} {row['unit']}" if row.get("bar") is not None else ""
        lines.append(f"| {row['what']} | {row['value']} {row['unit']} | {bar} |")
    return "\n".join(lines) + "\n"


def report() -> str:
    parts = [
        "# Performance\n",
        f"Written by `make bench` on {os.cpu_count()} cores, Python {platform.python_version()}. One run of a noisy\n"
        "machine: read it for orders of magnitude, and run it again for yours.\n",
    ]
    for name in BENCHES:
        kept = RESULTS / f"{name}.json"
        if (ROOT / "docs" / f"{name}.md").exists():
            parts.append(f"## {name}\n\nIn [{name}.md]({name}.md).\n")
        elif kept.exists():
            note = getattr(importlib.import_module(f"bench.{name}"), "NOTE", "")
            parts.append("\n".join(filter(None, [table(name, json.loads(kept.read_text())), note])))
    return "\n".join(parts)


if __name__ == "__main__":
    main()
