"""The search for the preset and the portfolio of objective mode: `python -m bench.tune`.

Every candidate is one setting for all cases, as a deployment of which nothing is known would have it. It is scored by J
(`bench.scores`) on what it is chosen by, and then on what it is not: other days of the trace of rates, other draws, and
fleets of other sizes. A candidate that is better on the first and worse on the second fits the first.
"""

from collections.abc import Sequence

import numpy as np

from bench.cases import COLD_STARTS_S, Case, cases, held_out
from bench.contestants import Contestant, Field
from bench.policies import rows
from bench.scores import by_case, cost
from deployments.backtest.portfolio import Setting
from deployments.backtest.portfolio import rows as table
from deployments.core.params import Params
from deployments.sim import stages
from deployments.sim.peers.rule import Policy

AHEAD = (0.0, 0.9, 0.95, 0.97, 0.98, 0.985, 0.99, 0.995)
DELAYS_S = (300.0, 600.0, 900.0)
CANDIDATES = tuple((ahead, delay_s) for ahead in AHEAD for delay_s in DELAYS_S)
UNSEEING = 0.625  # of the slots in use, where it does not look ahead
DAYS = 3


def tried(numbers: Sequence[float], field: Field) -> Policy:
    """The candidates of these numbers, one lane each."""
    slots = field.setup.slots
    chosen = [
        Setting(slots if ahead else max(1, int(UNSEEING * slots)), delay_s, ahead=ahead)
        for ahead, delay_s in (CANDIDATES[int(number)] for number in numbers)
    ]
    deployments = table(chosen, 1, 2 * field.peak, 0, field.setup.cold_start_s)
    return stages.by_stages(deployments, Params()), stages.nothing(deployments)


SEARCH = Contestant("tune", "candidates", tuple(range(len(CANDIDATES))), tried)


def scores(chosen: Sequence[Case], seeds: Sequence[int], cold_starts_s: Sequence[float] = COLD_STARTS_S) -> np.ndarray:
    """J of every candidate at every cold start, [candidates, cold starts]."""
    made = rows(chosen, cold_starts_s, seeds, [SEARCH])
    found = by_case(made, SEARCH.name)
    return np.stack(
        [np.mean([[cost(row) for row in own] for case, own in found.items() if case[2] == cold], axis=0)
         for cold in cold_starts_s], axis=1,
    )  # fmt: skip


def main() -> None:
    tuned, kept_out = scores(cases(DAYS), [1]), scores(held_out(DAYS), [2])
    print("| ahead | delay | J, chosen by | J, held out |\n|---|---|---|---|")
    for number in np.argsort(tuned.mean(axis=1)).tolist():
        (ahead, delay_s), columns = CANDIDATES[number], (tuned[number], kept_out[number])
        said = " | ".join(" / ".join(f"{one:.2f}" for one in column) for column in columns)
        print(f"| {ahead:.1%} | {delay_s:g} s | {said} |")


if __name__ == "__main__":
    main()
