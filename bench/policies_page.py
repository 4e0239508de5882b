"""docs/policies.md, from the rows of `bench.policies`."""

from collections.abc import Sequence

from bench.contestants import CONTESTANTS, Contestant
from bench.policies_aims import TEXT, aims, bursts
from bench.policies_charts import COLD_START_S, chart_name
from bench.scores import Row, by_case, f_of, j_by_setting, j_in_hindsight, ratio_at_objective

METHOD = """# Autoscaling policies on real traces

Written by `make bench ONLY=policies` from `bench/results/policies.json`, which has every row.

Requests wait in one queue for one of 8 slots of a replica. Policies see what is queued and running every 5 s. GPU time
goes from start command to end of drain, at one GPU a replica; min is 1, max twice the peak need. The traces are those
of `deployments/traces`: the two Azure hours laid end to end four times of which the first is not scored, and days of
ServeGen's m-large of which the first is not scored; each for a fleet of about 50 replicas at the 99.9th percentile of
demand and for one of 4 to 8.

**The oracle** knows the future: every level of replicas is kept over gaps shorter than the cold start and started one
cold start ahead (`deployments/sim/oracle.py`), so that nobody ever waits. Rows of it at a scale below 1 cover only so
much of the demand; what it costs where 99 % of requests wait at most a second is said below.

**F** is the GPU-hours at which 99 % of requests wait at most 1 s, interpolated between the settings tried, over those
of the oracle: the geometric mean over the smooth cases (conversation in both sizes, m-large at peak 50). Where a policy
does not reach 99 %, the fixed size that does counts instead (how often is in brackets). The oracle serves everybody at
once, so that F can be below 1; over a schedule that lets 1 % wait as the policies do, F is what it is here divided by
the last line of its table.

**J** is GPU-hours over the oracle's and ten times what is missing of 99 %: the mean over all cases, with one setting
for all of them.

A setting is the share of a replica's slots that is to be in use; that of the fixed size is a share of the most that is
ever needed, known in hindsight. The season of the look-ahead is a day here, since the runs have no week before them;
the Azure hours have no season at all.
"""


def page(rows: Sequence[Row]) -> str:
    cold_starts = sorted({row["cold_start_s"] for row in rows})
    parts = [METHOD, _extent(rows), "## F", _f_table(rows, cold_starts), "## J", _j_table(rows, cold_starts)]
    parts += ["## What was aimed at", _aims(rows, cold_starts)]
    parts += ["## With nothing tuned, at the published setting", _published(rows, cold_starts)]
    for title, found in _titles(rows).items():
        parts.append(f"## {title}")
        if COLD_START_S in cold_starts:
            file = chart_name((found[0]["trace"], found[0]["size"], COLD_START_S))
            parts.append(f"![GPU-hours against the share served in time]({file})")
        parts.append(_case_table(found, cold_starts))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _aims(rows: Sequence[Row], cold_starts: Sequence[float]) -> str:
    table = _table(["aim", *(f"cold start {cold:g} s" for cold in cold_starts)], aims(rows, cold_starts))
    heads = ["bursty case", "cold start", "waits <= 1 s", "over the oracle's", "fixed size for 99 %", "reached"]
    return f"{TEXT}\n\n{table}\n\n{_table(heads, bursts(rows))}"


def _extent(rows: Sequence[Row]) -> str:
    """What this run covered, which may be less than all of it."""
    cases = {(row["trace"], row["size"]): row for row in rows}
    body = []
    for (trace, size), row in cases.items():
        colds = sorted({one["cold_start_s"] for one in rows if (one["trace"], one["size"]) == (trace, size)})
        extent = [", ".join(f"{cold:g} s" for cold in colds), str(row["seeds"]), f"{row['scored_hours']:g}"]
        body.append([trace, size, "yes" if row["smooth"] else "", *extent])
    heads = ["trace", "size", "counts in F", "cold starts", "seeds", "scored hours"]
    return "This run covers, and F and J of a cold start are over, these cases:\n\n" + _table(heads, body)


def _f_table(rows: Sequence[Row], cold_starts: Sequence[float]) -> str:
    body = [[one.title, *(_f_cell(*f_of(rows, one.name, cold)) for cold in cold_starts)] for one in CONTESTANTS]
    oracle = [_f_cell(*f_of(rows, "oracle", cold)) for cold in cold_starts]
    body.append(["knows the future, and lets 1 % wait", *oracle])
    return _table(["policy", *(f"cold start {cold:g} s" for cold in cold_starts)], body)


def _f_cell(ratio: float | None, missed: int) -> str:
    said = "not reached" if ratio is None else f"{ratio:.2f}"
    return f"{said} ({missed})" if missed else said


def _j_table(rows: Sequence[Row], cold_starts: Sequence[float]) -> str:
    body = [[one.title, *(_best(j_by_setting(rows, one.name, cold)) for cold in cold_starts)] for one in CONTESTANTS]
    names = [one.name for one in CONTESTANTS]
    hindsight = [f"{j_in_hindsight(rows, names, cold):.2f}" for cold in cold_starts]
    body.append(["best policy and setting of each case, in hindsight", *hindsight])
    heads = (f"cold start {cold:g} s: best J (setting)" for cold in cold_starts)
    return _table(["policy", *heads], body)


def _best(scores: dict[float, float]) -> str:
    if not scores:
        return ""
    setting = min(scores, key=lambda one: scores[one])
    return f"{scores[setting]:.2f} ({setting:g})"


def _published(rows: Sequence[Row], cold_starts: Sequence[float]) -> str:
    """Means over all cases at what is gone by where nobody tunes anything; vendors who publish no target are left out."""
    body = []
    for one in CONTESTANTS:
        if one.published is None:
            continue
        for cold in cold_starts:
            own = [row for row in rows if row["policy"] == one.name and row["setting"] == one.published]
            own = [row for row in own if row["cold_start_s"] == cold]
            if not own:
                continue
            share, changes = (sum(row[name] for row in own) / len(own) for name in ("share_le_1s", "changes_per_hour"))
            score = j_by_setting(rows, one.name, cold)[one.published]
            body.append(
                [one.title, f"{one.published:g}", f"{cold:g} s", f"{share:.2%}", f"{changes:.0f}", f"{score:.2f}"]
            )
    return _table(["policy", "setting", "cold start", "waits <= 1 s, mean", "changes an hour", "J"], body)


def _titles(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each trace and size."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(f"{row['trace']}, {row['size']}", []).append(row)
    return found


def _case_table(rows: Sequence[Row], cold_starts: Sequence[float]) -> str:
    """What each policy needs for 99 %, and the measures of the setting that is nearest above it."""
    heads = ["policy", "cold start", "ratio at 99 %", "setting", "waits <= 1 s", "<= 5 s", "p50", "p95", "p99"]
    body = []
    for one in CONTESTANTS:
        own = {case[2]: found for case, found in by_case(rows, one.name).items()}
        body += [_case_line(one, cold, own[cold]) for cold in cold_starts if cold in own]
    return _table([*heads, "GPU-hours", "changes an hour"], body)


def _case_line(one: Contestant, cold: float, found: Sequence[Row]) -> list[str]:
    ratio = ratio_at_objective(found)
    enough = [row for row in found if row["share_le_1s"] >= 0.99]
    row = min(enough, key=lambda r: r["gpu_hours"]) if enough else max(found, key=lambda r: r["share_le_1s"])
    waits = [f"{row[name]:.1f} s" for name in ("wait_p50_s", "wait_p95_s", "wait_p99_s")]
    return [
        one.title, f"{cold:g} s", "not reached" if ratio is None else f"{ratio:.2f}", f"{row['setting']:g}",
        f"{row['share_le_1s']:.2%}", f"{row['share_le_5s']:.2%}", *waits, f"{row['gpu_hours']:.1f}",
        f"{row['changes_per_hour']:.1f}",
    ]  # fmt: skip


def _table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
