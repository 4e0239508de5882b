"""A replay in words, line by line, and as JSON."""

from collections.abc import Iterator, Sequence
from typing import Any

from deployments.replay.again import Difference, Replay


def lines(replay: Replay) -> Iterator[str]:
    """What is said, line by line."""
    one, whole = replay.decision, replay.whole
    yield f"Decision {one.id} of {one.deployment.name}, {one.at.isoformat(timespec='milliseconds')}"
    yield f"Stages 1 to 5 from its row: {_verdict(replay.compared, replay.row)}"
    yield from _each(replay.row)
    if replay.unreadable:
        yield f"The record of its pass cannot be read: {replay.unreadable}"
    elif whole is None:
        yield "Its pass is not recorded: contention and placement cannot be run again."
    else:
        yield f"The whole pass, from its record of {whole.tick.bytes:,} bytes: {_verdict(whole.compared, whole.differences)}"
        yield from _each(whole.differences)
        differ = whole.others_differ
        yield f"Of {whole.others} other deployments of the pass {differ or 'none'} got another answer."


def _verdict(compared: int, differences: Sequence[Difference]) -> str:
    return f"{len(differences)} of {compared} numbers differ" if differences else f"all {compared} numbers agree"


def _each(differences: Sequence[Difference]) -> Iterator[str]:
    return (f"  {one.name}: stored {one.stored}, now {one.now}" for one in differences)


def replay_to(replay: Replay) -> dict[str, Any]:
    """The answer as JSON; the API gives the same."""
    whole = replay.whole
    return {
        "decisionId": replay.decision.id,
        "same": replay.same,
        "row": {"compared": replay.compared, "differences": [difference_to(one) for one in replay.row]},
        "pass": {
            "recordedBytes": whole.tick.bytes, "compared": whole.compared,
            "differences": [difference_to(one) for one in whole.differences],
            "otherDeployments": whole.others, "othersThatDiffer": whole.others_differ,
        } if whole else None,
        "unreadable": replay.unreadable or None,
    }  # fmt: skip


def difference_to(one: Difference) -> dict[str, Any]:
    return {"name": one.name, "stored": one.stored, "now": one.now}
