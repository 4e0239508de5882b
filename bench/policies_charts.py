"""Charts of docs/policies.md: GPU-hours against the share of requests served in time, a curve a policy over its settings."""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from bench.contestants import CONTESTANTS
from bench.scores import CaseKey, Row, by_case, case_of

COLD_START_S = 180.0
WIDTH, HEIGHT = 860, 460
LEFT, RIGHT, TOP, BOTTOM = 60, 560, 30, 410  # of the plot
LEAST_SHARE, MOST_SHARE = 0.9, 0.9995
OBJECTIVE = 0.99
LEAST_RATIO, MOST_RATIO = 0.5, 3.0
COLOURS = (
    "#1f77b4", "#aec7e8", "#d62728", "#ff9896", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#e377c2", "#17becf",
    "#7f7f7f", "#000000", "#bcbd22", "#393b79",
)  # fmt: skip


def chart_name(case: CaseKey) -> str:
    trace, size, cold_start_s = case
    return f"policies-{trace}-{size.replace(' ', '-')}-{cold_start_s:g}s.svg"


def charts(rows: Sequence[Row]) -> dict[str, str]:
    """By file name, one for each trace and size at one cold start."""
    shown = dict.fromkeys(case_of(row) for row in rows if row["cold_start_s"] == COLD_START_S)
    return {chart_name(case): _chart(rows, case) for case in shown}


def _chart(rows: Sequence[Row], case: CaseKey) -> str:
    trace, size, cold_start_s = case
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="18" font-weight="bold">{escape(f"{trace}, {size}, cold start {cold_start_s:g} s")}</text>',
        *_axes(),
    ]
    for place, one in enumerate(CONTESTANTS):
        parts += _curve(by_case(rows, one.name)[case], COLOURS[place % len(COLOURS)])
        parts.append(_legend(one.title, place))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _axes() -> list[str]:
    lines = []
    for share in (0.9, 0.95, 0.98, OBJECTIVE, 0.995, 0.998, 0.999, MOST_SHARE):
        x, colour = _x(share), "#000000" if share == OBJECTIVE else "#dddddd"
        lines.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{BOTTOM}" stroke="{colour}"/>')
        lines.append(f'<text x="{x:.1f}" y="{BOTTOM + 16}" text-anchor="middle">{100 * share:g}</text>')
    for step in range(6):
        ratio = LEAST_RATIO + step * (MOST_RATIO - LEAST_RATIO) / 5
        lines.append(f'<line x1="{LEFT}" y1="{_y(ratio):.1f}" x2="{RIGHT}" y2="{_y(ratio):.1f}" stroke="#dddddd"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{_y(ratio) + 4:.1f}" text-anchor="end">{ratio:.1f}</text>')
    middle = (LEFT + RIGHT) / 2
    lines.append(
        f'<text x="{middle}" y="{BOTTOM + 36}" text-anchor="middle">% of requests that wait at most 1 s</text>'
    )
    side = f'transform="translate(16 {(TOP + BOTTOM) / 2}) rotate(-90)" text-anchor="middle"'
    lines.append(f"<text {side}>GPU-hours over those of the oracle</text>")
    return lines


def _curve(found: Sequence[Row], colour: str) -> list[str]:
    """Through the settings within the plot, in their order."""
    within = [row for row in found if row["share_le_1s"] >= LEAST_SHARE and LEAST_RATIO <= row["ratio"] <= MOST_RATIO]
    points = [(_x(row["share_le_1s"]), _y(row["ratio"])) for row in within]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    return [f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>', *dots]


def _legend(title: str, place: int) -> str:
    y, colour = TOP + 20 * place + 10, COLOURS[place % len(COLOURS)]
    dot = f'<circle cx="{RIGHT + 20}" cy="{y - 4}" r="4" fill="{colour}"/>'
    return f'{dot}<text x="{RIGHT + 30}" y="{y}">{escape(title)}</text>'


def _x(share: float) -> float:
    """Logarithmic in how many are late; above the last share there is no telling."""
    late, least, most = (-math.log(1 - min(one, MOST_SHARE)) for one in (share, LEAST_SHARE, MOST_SHARE))
    return LEFT + (late - least) / (most - least) * (RIGHT - LEFT)


def _y(ratio: float) -> float:
    return BOTTOM - (ratio - LEAST_RATIO) / (MOST_RATIO - LEAST_RATIO) * (BOTTOM - TOP)
