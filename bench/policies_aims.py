"""The part of docs/policies.md that says how far the measurements are from what was aimed at."""

from collections.abc import Sequence

from bench.contestants import HEADROOM, OBJECTIVE, PEERS, STATIC
from bench.scores import SHARE, Row, by_case, f_of, j_by_setting, ratio_at_objective

# By cold start: the most that F may be, and J.
F_BARS = {60.0: 1.13, 180.0: 1.12, 900.0: 1.20}
J_AIMS = {60.0: 1.45, 180.0: 1.30, 900.0: 1.25}
TEXT = """F is to be at most what stands in brackets; J of objective mode, for which nobody sets anything, at most that too, and
10 % below that of the best peer, whose setting is picked for all cases together in hindsight. Where demand is bursty, 99 %
are to be served in time for no more GPU-hours than the fixed size needs for that, known in hindsight. Bursts of code
completion begin without a sign, and what is started for one is ready after it: what serves them is what was kept, and
keeping enough for 99 % of a day whose bursts are not known yet costs more than it is worth by J
([decisions/0022](decisions/0022-the-preset-keeps-a-floor.md))."""


def aims(rows: Sequence[Row], cold_starts: Sequence[float]) -> list[list[str]]:
    """One line for each aim, a column for each cold start: what was reached, and in brackets what was aimed at."""
    lines = [[f"F, {one.title}", *(_f(rows, one.name, cold) for cold in cold_starts)] for one in (HEADROOM, OBJECTIVE)]
    lines.append(["J, objective mode", *(_j(rows, cold) for cold in cold_starts)])
    lines.append(["below the best peer's J", *(_below(rows, cold) for cold in cold_starts)])
    return lines


def bursts(rows: Sequence[Row]) -> list[list[str]]:
    """Objective mode where demand is not smooth: what it served in time, for how much, and what the fixed size needs."""
    fixed, found = by_case(rows, STATIC.name), []
    for case, own in by_case(rows, OBJECTIVE.name).items():
        trace, size, cold = case
        if own[0]["smooth"]:
            continue
        row, least = own[0], ratio_at_objective(fixed.get(case, []))
        verdict = "yes" if row["share_le_1s"] >= SHARE and least is not None and row["ratio"] <= least else _short(row)
        found.append([f"{trace}, {size}", f"{cold:g} s", f"{row['share_le_1s']:.2%}", f"{row['ratio']:.2f}",
                      "not reached" if least is None else f"{least:.2f}", verdict])  # fmt: skip
    return found


def _short(row: Row) -> str:
    missing = SHARE - row["share_le_1s"]
    return f"no, {missing:.2%} too few in time" if missing > 0 else "no, too many GPU-hours"


def _f(rows: Sequence[Row], name: str, cold: float) -> str:
    reached, _ = f_of(rows, name, cold)
    return _cell(reached, F_BARS.get(cold))


def _j(rows: Sequence[Row], cold: float) -> str:
    return _cell(_best(rows, OBJECTIVE.name, cold), J_AIMS.get(cold))


def _below(rows: Sequence[Row], cold: float) -> str:
    scores = {one.title: _best(rows, one.name, cold) for one in PEERS}
    known = {title: score for title, score in scores.items() if score is not None}
    own = _best(rows, OBJECTIVE.name, cold)
    if own is None or not known:
        return ""
    title = min(known, key=lambda one: known[one])
    return f"{1 - own / known[title]:.1%} (10 %; {title} {known[title]:.2f})"


def _best(rows: Sequence[Row], name: str, cold: float) -> float | None:
    return min(j_by_setting(rows, name, cold).values(), default=None)


def _cell(reached: float | None, aim: float | None) -> str:
    said = "not reached" if reached is None else f"{reached:.2f}"
    return said if aim is None else f"{said} ({aim:.2f})"
