"""`manage.py backtest --trace FILE --cold-start 180 --policy default --json`: what a policy would have made of traffic."""

import json
import math
import time
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from deployments.backtest import objective, policies, traces
from deployments.backtest.policies import PolicyError, policy
from deployments.backtest.running import Machine, backtest
from deployments.backtest.traces import TraceError, Traffic, traffic
from deployments.core.objective import Objective
from deployments.core.policy import DEFAULT_CONCURRENCY
from deployments.core.policy import slots as slots_of
from deployments.sim import fleet

HOUR_S = 3600.0
USD_PER_GPU_HOUR = 6.16  # of the demo's catalogue, on demand: gd-8xh100ib-i128


class Command(BaseCommand):
    help = "Replay recorded traffic through the planner and measure waits, GPU-hours and changes. Needs no database."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--trace", required=True, type=Path, metavar="FILE", help="CSV; columns " + columns())
        parser.add_argument("--policy", default=policies.DEFAULT, metavar="default|objective|FILE.json",
                            help=f"Settings of the planner ({', '.join(policies.KNOWN)}), or an objective that "
                                 "chooses them by what came before.")  # fmt: skip
        parser.add_argument("--history", type=Path, metavar="FILE", help="Demand from before the trace, for objective.")
        parser.add_argument("--objective-share", type=float, default=Objective().share, metavar="SHARE",
                            help="Share of requests that are to wait at most 1 s.")  # fmt: skip
        parser.add_argument("--cold-start", type=float, default=180.0, metavar="S", help="Start command to ready.")
        parser.add_argument("--slots", type=int, help="Requests a replica runs at once; ceil(concurrency / 0.7).")
        parser.add_argument("--concurrency", type=int, help="Requests a replica is meant for; 0.7 x slots, or 8.")
        parser.add_argument("--mean-service-s", type=float, default=8.0, metavar="S", help="Where the trace has none.")
        parser.add_argument("--min", type=int, help="Fewest replicas; 1.")
        parser.add_argument("--max", type=int, help="Most replicas; twice what the busiest minute needs.")
        parser.add_argument("--scale", type=float, default=1.0, help="Times the requests.")
        parser.add_argument("--seed", type=int, default=0, help="Other seeds draw other requests.")
        parser.add_argument("--gpus", type=int, default=1, help="GPUs of a replica.")
        parser.add_argument("--usd-per-gpu-hour", type=float, default=USD_PER_GPU_HOUR, metavar="USD")
        parser.add_argument(
            "--skip-s", type=float, default=0.0, metavar="S", help="Run these first, and measure after."
        )
        parser.add_argument("--json", action="store_true", help="One object instead of lines.")

    def handle(self, *args: Any, **options: Any) -> None:
        began = time.perf_counter()
        try:
            result = measured(options)
        except (TraceError, PolicyError) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from error
        result["seconds"] = round(time.perf_counter() - began, 3)
        if options["json"]:
            self.stdout.write(json.dumps(result))
            return
        for name, value in result.items():
            self.stdout.write(f"{name:18} {value}")


def measured(options: dict[str, Any]) -> dict[str, Any]:
    by_objective = options["policy"] == policies.OBJECTIVE
    settings = {**({} if by_objective else policy(options["policy"])), **given(options)}
    policies.checked(settings)
    slots = options["slots"] or slots_of(int(settings.get("concurrency", DEFAULT_CONCURRENCY)))
    machine = Machine(slots, options["cold_start"], options["gpus"])
    check(machine, options)
    found = read(options["trace"], options)
    if options["skip_s"] >= found.span_s:
        raise PolicyError(f"--skip-s leaves nothing of the {found.span_s:.0f} s there are.")
    run: fleet.Run[Any]
    turns: list[objective.Turn] = []
    if by_objective:
        before = read(options["history"], options) if options["history"] else None
        run, turns = objective.run(settings, found, machine, Objective(options["objective_share"]), before)
    else:
        run = backtest(settings, found, machine)
    measures = run.measures(first_sample(run.columns.at_s, options["skip_s"]))
    gpu_hours = measures.replica_hours * machine.gpus
    return {
        "share_within_1s": measures.share_le_1s, "share_within_5s": measures.share_le_5s,
        "wait_p50_s": measures.wait_p50_s, "wait_p95_s": measures.wait_p95_s, "wait_p99_s": measures.wait_p99_s,
        "gpu_hours": gpu_hours, "cost": round(gpu_hours * options["usd_per_gpu_hour"], 2),
        "changes_per_hour": measures.changes_per_hour, "requests": measures.requests,
        "replicas_most": int((run.columns.ready + run.columns.starting).max()),
        **({"chosen": [said(turn) for turn in turns]} if by_objective else {}),
        "hours": (found.span_s - options["skip_s"]) / HOUR_S, "filled_windows": found.filled,
    }  # fmt: skip


def read(path: Path, options: dict[str, Any]) -> Traffic:
    return traffic(path, scale=options["scale"], mean_service_s=options["mean_service_s"], seed=options["seed"])


def said(turn: objective.Turn) -> dict[str, Any]:
    """A turn of objective mode as JSON."""
    share = turn.chosen.share
    return {
        "at_s": turn.at_s, "why": turn.chosen.why.name, "goal": round(turn.chosen.goal, 5),
        "replayed_share": None if math.isnan(share) else round(share, 5), **asdict(turn.setting),
    }  # fmt: skip


def given(options: dict[str, Any]) -> dict[str, float]:
    return {name: options[name] for name in policies.WHOLE if options[name] is not None}


def check(machine: Machine, options: dict[str, Any]) -> None:
    if not 1 <= machine.slots <= policies.MOST:
        raise PolicyError(f"--slots must be from 1 to {policies.MOST:,}, not {machine.slots}.")
    if not 0 <= machine.cold_start_s <= policies.LONGEST_S:
        raise PolicyError(f"--cold-start must be from 0 to {policies.LONGEST_S:,.0f} seconds.")
    if not 1 <= machine.gpus <= 1024:
        raise PolicyError(f"--gpus must be from 1 to 1024, not {machine.gpus}.")
    if not 0 < options["objective_share"] < 1:
        raise PolicyError(f"--objective-share must lie between 0 and 1, not be {options['objective_share']}.")
    if options["history"] and options["policy"] != policies.OBJECTIVE:
        raise PolicyError("--history is for --policy objective; other policies know nothing of what came before.")
    for name in ("skip_s", "usd_per_gpu_hour"):
        if not 0 <= options[name] < float("inf"):
            raise PolicyError(f"--{name.replace('_', '-')} must be a number of 0 or more, not {options[name]}.")


def first_sample(samples_s: Any, skip_s: float) -> float | None:
    """The first sample at or after that time; None where nothing is skipped."""
    return float(samples_s[samples_s >= skip_s][0]) if skip_s else None


def columns() -> str:
    return f"{traces.REQUESTS}[,service_s] or {','.join(traces.RATE_COLUMNS)}."
