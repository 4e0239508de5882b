"""Why a stage answered what it did: codes that are stored, sentences that are made when somebody reads them.

The hundreds of a code are its stage. Numbers are never reused: rows written years ago keep their meaning.
"""

import re
from collections.abc import Mapping
from enum import IntEnum

STAGES: dict[int, str] = {
    1: "signal",
    2: "need",
    3: "look-ahead",
    4: "damping",
    5: "bounds",
    6: "contention",
    7: "placement",
}


class Reason(IntEnum):
    """Reason codes of all stages (int16)."""

    SIGNAL_FRESH = 100
    SIGNAL_MISSING = 101
    SIGNAL_STALE = 102
    SIGNAL_IMPOSSIBLE = 103
    SIGNAL_FUTURE = 104
    SIGNAL_WARMING = 105

    NEED_UNKNOWN = 200
    NEED_MEAN = 201
    NEED_QUEUE = 202

    AHEAD_OFF = 300
    AHEAD_UNKNOWN = 301
    AHEAD = 302

    HOLD_NO_SIGNAL = 400
    STEADY = 401
    WITHIN_TOLERANCE = 402
    GROW = 403
    GROW_BURST = 404
    GROW_QUEUE = 405
    BURST_KEEPS = 406
    SHRINK = 407
    SHRINK_DELAYED = 408
    GROW_AHEAD = 409
    KEPT_AHEAD = 410
    SMALL_CHANGE = 411

    WITHIN_BOUNDS = 500
    AT_MIN = 501
    AT_MAX = 502
    SCHEDULED_MIN = 503
    SCHEDULED_MAX = 504
    FIXED_SIZE = 505
    FROZEN = 506
    PINNED = 507
    DISABLED = 508
    HELD = 509
    OBJECTIVE_FLOOR = 510
    PRICE_CEILING = 511
    SCHEDULED_AHEAD = 512
    SCHEDULED_SIZE = 513

    NOTHING_ASKED = 600
    GRANTED = 601
    RELEASED = 602
    POOL_EXHAUSTED = 603
    CLAIM_EXHAUSTED = 604
    FRAGMENTED = 605
    NO_CLAIM = 606
    NO_ZONE = 607
    NOT_ON_ONE_INSTANCE = 608
    NO_WHOLE_INSTANCES = 609
    KEPT_FOR_PRIORITY = 610
    BACKING_OFF = 611
    SHADOW = 612
    STALE = 613
    MOVING = 614
    YIELDED = 615
    RECLAIMED = 616
    WAITS_FOR_RELEASE = 617
    ROLLING_IN_PLACE = 618

    STOP_NOT_READY = 700
    STOP_ON_DRAINING = 701
    STOP_ON_DEMAND = 702
    STOP_LEAST_ACTIVE = 703
    STOP_REPLACED = 704
    STOP_OUTDATED = 705
    STOP_MAKES_ROOM = 706
    STOP_DEADLINE = 707
    STOP_NO_ROOM = 708
    STOP_YIELDED = 709
    STOP_RECLAIMED = 710


SENTENCES: dict[Reason, str] = {
    Reason.SIGNAL_FRESH: "{in_flight} requests in flight, sampled {age_s} s ago.",
    Reason.SIGNAL_MISSING: "No sample of this deployment has arrived.",
    Reason.SIGNAL_STALE: "The newest sample is {age_s} s old; up to {stale_s} s count as fresh.",
    Reason.SIGNAL_IMPOSSIBLE: "The newest sample holds a value that cannot be (negative or not finite).",
    Reason.SIGNAL_FUTURE: "The newest sample is dated {ahead_s} s in the future.",
    Reason.SIGNAL_WARMING: "Only {covered_s} s of the stable window of {stable_s} s have been seen so far.",
    Reason.NEED_UNKNOWN: "Without a signal to go by there is no need to compute.",
    Reason.NEED_MEAN: (
        "Mean in flight {stable_mean} over {stable_s} s and {burst_mean} over {burst_s} s; divided by {target} a replica "
        "and rounded up: {need_stable} and {need_burst} replicas."
    ),
    Reason.NEED_QUEUE: (
        "Mean in flight {stable_mean} over {stable_s} s and {burst_mean} over {burst_s} s, but {standing} requests have been "
        "queued for all of {burst_s} s. Replicas that are starting take {taken_up} of them; the other {remaining}, "
        "{service_s} s of work each, are spread over {horizon_s} s and count as {spread}, rounded up. So the queue counts as "
        "{taken_up} + {spread} instead of {standing}: {burst_mean} - {standing} + {taken_up} + {spread} = {counted} in "
        "flight; divided by {target} a replica and rounded up: {need_backlog} replicas."
    ),
    Reason.AHEAD_OFF: "It does not look ahead.",
    Reason.AHEAD_UNKNOWN: "Without a signal to go by there is nothing to expect.",
    Reason.AHEAD: (
        "A replica that is started now is ready in {startup_s} s. By then up to {expected} in flight are expected: the "
        "mean of {level} over {stable_s} s, and {margin} on top, since the load was above the mean by more than that in only "
        "{short_percent} % of the time. Divided by {slots}, what a replica can run at once, and rounded up: {need_ahead} "
        "replicas."
    ),
    Reason.HOLD_NO_SIGNAL: "Without a signal to go by the size stays at {base}.",
    Reason.STEADY: "Load asks for {recommended} replicas ({by}), as many as there are.",
    Reason.WITHIN_TOLERANCE: "Load is within {tolerance_percent} % of what {base} replicas are meant for.",
    Reason.GROW: "Load asks for {recommended} replicas ({by}) instead of {base}.",
    Reason.GROW_BURST: "Burst mode: load asks for {recommended} replicas ({by}) instead of {base}.",
    Reason.GROW_QUEUE: "The standing queue asks for {recommended} replicas instead of {base}.",
    Reason.BURST_KEEPS: (
        "Load asks for {recommended} replicas ({by}), but burst mode lasts {burst_left_s} s more: {base} stay."
    ),
    Reason.SHRINK: "Load asked for no more than {value} replicas for {scale_down_s} s, instead of {base}.",
    Reason.SHRINK_DELAYED: (
        "Load asks for {recommended} replicas ({by}), but {window_highest} were asked for within the last "
        "{scale_down_s} s: {value} stay."
    ),
    Reason.GROW_AHEAD: "What is expected asks for {recommended} replicas instead of {base}.",
    Reason.KEPT_AHEAD: "What is expected asks for {need_ahead} replicas{near}: the {base} there are stay.",
    Reason.SMALL_CHANGE: (
        "{highest} replicas, the most asked for within the last {scale_down_s} s, are within {tolerance_percent} % of {base}: "
        "these stay."
    ),
    Reason.WITHIN_BOUNDS: "{wanted} lies within {min} to {max}.",
    Reason.AT_MIN: "Raised from {damped} to the minimum of {min}.",
    Reason.AT_MAX: "Lowered from {damped} to the maximum of {max}.",
    Reason.SCHEDULED_MIN: "Raised from {damped} to {min}, the minimum of the schedule window that is open.",
    Reason.SCHEDULED_MAX: "Lowered from {damped} to {max}, the maximum of the schedule window that is open.",
    Reason.FIXED_SIZE: "Minimum and maximum are both {min}: the size is fixed.",
    Reason.FROZEN: "Scaling is frozen by an operator: the size stays at {wanted}.",
    Reason.PINNED: "An operator pinned the size to {pin}: {wanted} within {min} to {max}.",
    Reason.DISABLED: "The deployment is disabled: no replicas.",
    Reason.HELD: "The size is held at {wanted}.",
    Reason.OBJECTIVE_FLOOR: (
        "Raised from {damped} to {wanted}: objective mode keeps at least {floor}, within {min} to {max}."
    ),
    Reason.PRICE_CEILING: "Lowered to {wanted}: the price ceiling of the objective pays for {ceiling} replicas.",
    Reason.SCHEDULED_AHEAD: (
        "Raised from {damped} to {min}, the minimum of a schedule window that begins soon: replicas are started ahead, "
        "so that they are ready when it does."
    ),
    Reason.SCHEDULED_SIZE: "The schedule window that is open sets the size to {min}.",
    Reason.NOTHING_ASKED: "The size stays at {granted}; no GPUs are asked for.",
    Reason.GRANTED: "{added} more replicas are granted: {granted}.",
    Reason.RELEASED: "{removed} replicas are let go: {granted}.",
    Reason.POOL_EXHAUSTED: "{missing_gpus} GPUs short: the on-demand pool of {zone} has none free for it.",
    Reason.CLAIM_EXHAUSTED: "{missing_gpus} GPUs short: the organization's claims in {zone} have none free.",
    Reason.FRAGMENTED: (
        "{missing_gpus} GPUs short: enough are free in {zone}, but not {gpu_count} together on one instance."
    ),
    Reason.NO_CLAIM: (
        "{missing_gpus} GPUs short: only reserved capacity is allowed and no claim is in an allowed zone."
    ),
    Reason.NO_ZONE: "{missing_gpus} GPUs short: the instance type is not offered in any allowed zone.",
    Reason.NOT_ON_ONE_INSTANCE: (
        "{missing_gpus} GPUs short: {gpu_count} GPUs fit neither on one instance nor on several whole ones."
    ),
    Reason.NO_WHOLE_INSTANCES: (
        "{missing_gpus} GPUs short: {gpu_count} GPUs need several empty instances of one zone at once."
    ),
    Reason.KEPT_FOR_PRIORITY: (
        "{missing_gpus} GPUs short: what is free in {zone} is kept until deployments of the same or a higher "
        "priority have their minimum."
    ),
    Reason.BACKING_OFF: "{missing} replicas wait before they are tried again after failures.",
    Reason.SHADOW: "Shadow: {wanted} is what would be done; nothing is acted on.",
    Reason.STALE: "What was planned no longer held when it was to be done; the next pass plans again.",
    Reason.MOVING: (
        "The size stays at {granted}: {moves} replicas are being replaced, with no room so far for {moves_short} more."
    ),
    Reason.YIELDED: (
        "It gives up {removed} replicas, which load no longer asks for, before the delay is over: {other} has a higher "
        "priority and waits for GPUs."
    ),
    Reason.RECLAIMED: (
        "It gives up {removed} replicas above the minimum of {min}, so that {other}, which has a higher priority, "
        "reaches its minimum."
    ),
    Reason.WAITS_FOR_RELEASE: (
        "{missing_gpus} GPUs short: what {coming} of {missing} replicas need comes free once {other} has let its "
        "replicas go."
    ),
    Reason.ROLLING_IN_PLACE: (
        "It lets go of {removed} replicas of an older revision first, for nothing is free beside for one of the newest."
    ),
    Reason.STOP_NOT_READY: "Let go first because it was not ready yet.",
    Reason.STOP_ON_DRAINING: "Let go because its instance is being drained.",
    Reason.STOP_ON_DEMAND: "Let go because it ran on demand, ahead of reserved capacity.",
    Reason.STOP_LEAST_ACTIVE: "Let go because it ran the fewest requests, then the newest.",
    Reason.STOP_REPLACED: "Let go because its replacement is ready.",
    Reason.STOP_OUTDATED: "Let go because its deployment has a newer revision.",
    Reason.STOP_MAKES_ROOM: "Let go first, because nothing was free beside it for one of the newest revision.",
    Reason.STOP_DEADLINE: "Its instance is being drained and the time was up before its replacement was ready.",
    Reason.STOP_NO_ROOM: "Its instance is being drained and nothing was free for a replacement until the time was up.",
    Reason.STOP_YIELDED: "Let go before its delay was over, for a higher priority that waits for its GPUs.",
    Reason.STOP_RECLAIMED: "Let go so that a higher priority of its organization reaches its minimum.",
}


def stage(code: int) -> str:
    """Name of the stage that a code belongs to."""
    return STAGES[code // 100]


def sentence(code: int, numbers: Mapping[str, object]) -> str:
    """The sentence of a code with its numbers; a number that is not there shows as a question mark."""
    return _ONE.sub(_singular, SENTENCES[Reason(code)].format_map(_Shown(numbers)))


# Sentences are written for several of a thing.
_ONE = re.compile(r"(?<![\d.,])1 (more )?(replica|request|GPU)s\b( (?:have|are|wait|need|there are)\b)?")
_OF_ONE = {" have": " has", " are": " is", " wait": " waits", " need": " needs", " there are": " there is"}


def _singular(found: re.Match[str]) -> str:
    more, noun, verb = found.groups(default="")
    return f"1 {more}{noun}{_OF_ONE.get(verb, verb)}"


class _Shown(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "?"
