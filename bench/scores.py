"""F and J, from the rows of `bench.policies`."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from deployments.sim.oracle import fewest_hours

SHARE = 0.99
PENALTY = 10.0

Row = Mapping[str, Any]
CaseKey = tuple[str, str, float]
"""trace, size, cold start in seconds"""


def case_of(row: Row) -> CaseKey:
    return row["trace"], row["size"], row["cold_start_s"]


def by_case(rows: Iterable[Row], policy: str) -> dict[CaseKey, list[Row]]:
    """The rows of a policy, those of a case in the order of their settings."""
    found: dict[CaseKey, list[Row]] = defaultdict(list)
    for row in rows:
        if row["policy"] == policy:
            found[case_of(row)].append(row)
    return found


def ratio_at_objective(rows: Sequence[Row]) -> float | None:
    """GPU-hours, as a multiple of the oracle's, at which 99 % wait at most a second; None where no setting reaches it."""
    shares, ratios = (np.array([row[name] for row in rows], np.float64) for name in ("share_le_1s", "ratio"))
    return fewest_hours(SHARE, shares, ratios)


def f_of(rows: Sequence[Row], policy: str, cold_start_s: float) -> tuple[float | None, int]:
    """F, the geometric mean over the smooth cases, and in how many of them the policy did not reach the objective and
    the fixed size counts instead. None where there is no smooth case, or neither reaches it."""
    smooth = {case_of(row) for row in rows if row["smooth"] and row["cold_start_s"] == cold_start_s}
    own, fixed = by_case(rows, policy), by_case(rows, "static")
    reached = {case: ratio_at_objective(own[case]) for case in smooth}
    missed = [case for case, ratio in reached.items() if ratio is None]
    ratios = [*(ratio for ratio in reached.values() if ratio is not None)]
    for case in missed:
        ratio = ratio_at_objective(fixed[case])
        if ratio is None:
            return None, len(missed)
        ratios.append(ratio)
    return (float(np.exp(np.mean(np.log(ratios)))) if ratios else None), len(missed)


def cost(row: Row) -> float:
    """GPU-hours as a multiple of the oracle's, and ten times what is missing of the objective."""
    return float(row["ratio"] + PENALTY * max(0.0, SHARE - row["share_le_1s"]))


def j_by_setting(rows: Iterable[Row], policy: str, cold_start_s: float) -> dict[float, float]:
    """J of each setting that all the cases have: the mean over them."""
    cases = [found for case, found in by_case(rows, policy).items() if case[2] == cold_start_s]
    costs = [{row["setting"]: cost(row) for row in found} for found in cases]
    common = set.intersection(*(set(one) for one in costs)) if costs else set()
    return {setting: float(np.mean([one[setting] for one in costs])) for setting in sorted(common)}


def j_in_hindsight(rows: Iterable[Row], policies: Sequence[str], cold_start_s: float) -> float:
    """J where the best of these policies and its best setting are picked for each case, in hindsight."""
    best: dict[CaseKey, float] = {}
    for row in rows:
        if row["policy"] in policies and row["cold_start_s"] == cold_start_s:
            best[case_of(row)] = min(cost(row), best.get(case_of(row), float("inf")))
    return float(np.mean(list(best.values())))
