"""Sixteen clients at once on one quota and one pool, each a process with a connection of its own, while the loops run in
another; and somebody who looks on and notes what must never be."""

import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty
from typing import Any

from django.db import connection

from claims.models import CapacityClaim, Offering
from claims.services import claim_create, claim_delete, claim_resize
from console.common.errors import FailedPrecondition, NotFound
from console.organizations.actors import Actor
from tests import world

CLIENTS, MOST_CLAIMS, MOST_INSTANCES = 16, 3, 3
# Own processes, forked from here: what a test has patched is patched in them too.
FORK = multiprocessing.get_context("fork")

# What must hold at every moment, as rows where it does not.
ABOVE_QUOTA = """
    SELECT q."limit", q.other_usage, sum(h.committed) FROM claims_quota q JOIN (
        SELECT c.organization_id, c.offering_id, greatest(c.target, count(i.key)) AS committed
        FROM claims_capacityclaim c LEFT JOIN claims_instance i ON i.claim_id = c.key AND i.state <> 'RELEASED'
             AND i.lost_at IS NULL
        WHERE c.kind = 'CUSTOMER' GROUP BY c.key) h USING (organization_id, offering_id)
    GROUP BY q.id HAVING sum(h.committed) > q."limit" - q.other_usage"""
IN_TWO_CLAIMS = """
    SELECT instance_id, count(*) FROM claims_usageinterval WHERE kind = 'CLAIM' AND ended_at IS NULL
    GROUP BY instance_id HAVING count(*) > 1"""
NOT_AS_BILLED = """
    SELECT i.key, i.claim_id, c.id, u.holder_id FROM claims_usageinterval u JOIN claims_instance i ON i.key = u.instance_id
    LEFT JOIN claims_capacityclaim c ON c.key = i.claim_id
    WHERE u.kind = 'CLAIM' AND u.ended_at IS NULL AND u.holder_id IS DISTINCT FROM c.id"""
NEVER = {"above quota": ABOVE_QUOTA, "in two claims": IN_TWO_CLAIMS, "held by another than who pays": NOT_AS_BILLED}


@dataclass
class Report:
    """How many operations did what, and what went wrong."""

    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    looks: int = 0


def contest(
    actor: Actor,
    of: Offering,
    operations: int,
    within_s: float | None = None,
    seed: int = 1,
    enough: Callable[[Report], bool] = lambda report: False,
) -> Report:
    """Let the clients do so many operations together, or as many of them as that time allows, or until `enough` is seen."""
    connection.close()  # nobody shares a session
    answers, over, stop = FORK.Queue(), FORK.Event(), FORK.Event()
    loops = FORK.Process(target=_loops, args=(over, answers))
    share, began = operations // CLIENTS, time.perf_counter()
    until = began + within_s if within_s else float("inf")

    def is_over() -> bool:
        return stop.is_set() or time.perf_counter() > until

    clients = [
        FORK.Process(target=_client, args=(actor, of, share, is_over, seed * 1000 + number, answers))
        for number in range(CLIENTS)
    ]
    for one in [loops, *clients]:
        one.start()
    report = _look_on(clients, answers, lambda seen: stop.set() if enough(seen) else None)
    report.seconds = time.perf_counter() - began
    over.set()
    loops.join(timeout=60)
    if loops.exitcode != 0:
        report.wrong.append(f"the loops ended with {loops.exitcode}")
    _take(answers, report)
    return report


def _look_on(clients: list[Any], answers: Any, saw: Callable[[Report], None]) -> Report:
    report = Report()
    while any(one.is_alive() for one in clients):
        for what, query in NEVER.items():
            with connection.cursor() as cursor:
                cursor.execute(query)
                report.wrong += [f"{what}: {row}" for row in cursor.fetchall()]
        report.looks += 1
        _take(answers, report)
        saw(report)
        time.sleep(0.3)
    report.wrong += [f"client {n} ended with {one.exitcode}" for n, one in enumerate(clients) if one.exitcode != 0]
    _take(answers, report)
    return report


def _take(answers: Any, report: Report) -> None:
    """What processes have told so far; the last of it comes a moment after they ended."""
    while True:
        try:
            done, wrong = answers.get(timeout=0.05)
        except Empty:
            return
        report.done.update(done)
        report.wrong += wrong


def _process(work: Callable[[Counter[str], Callable[[str], None]], None], answers: Any) -> None:
    """`work` counts what it did, and tells what went wrong at once: somebody may wait for it."""
    done = Counter[str]()
    try:
        work(done, lambda wrong: answers.put((Counter[str](), [wrong])))
    finally:
        answers.put((done, []))
        answers.close()
        answers.join_thread()
        os._exit(0)  # nothing of the parent is to be tidied up here


def _client(actor: Actor, of: Offering, operations: int, over: Callable[[], bool], seed: int, answers: Any) -> None:
    def work(done: Counter[str], tell: Callable[[str], None]) -> None:
        chance, mine = random.Random(seed), list[CapacityClaim]()
        for number in range(operations):
            if over():
                return
            try:
                done[_act(actor, of, chance, mine, f"c{seed}-{number}")] += 1
            except FailedPrecondition as refusal:
                done[refusal.kind] += 1
            except Exception as error:
                tell(f"{type(error).__name__}: {error}"[:300])
                connection.close()

    _process(work, answers)


def _act(actor: Actor, of: Offering, chance: random.Random, mine: list[CapacityClaim], name: str) -> str:
    """Create, resize or delete a claim of one's own; which was done."""
    if not mine or (len(mine) < MOST_CLAIMS and chance.random() < 0.4):
        wanted = world.resources(of, chance.randint(1, MOST_INSTANCES), chance.choice(["SERVERLESS", "CUSTOMER"]))
        mine.append(claim_create(actor=actor, organization=actor.require_organization(), name=name, resources=wanted))
        return "created"
    claim = chance.choice(mine)
    if chance.random() < 0.5:
        wanted = world.resources(of, chance.randint(1, MOST_INSTANCES), claim.kind)
        claim_resize(actor=actor, claim_id=claim.id, resources=wanted)
        return "resized"
    mine.remove(claim)
    claim_delete(actor=actor, claim_id=claim.id)
    return "deleted"


def _loops(over: Any, answers: Any) -> None:
    """Fulfil and provision again and again; every machine that was asked for has joined by the next time."""

    def work(done: Counter[str], tell: Callable[[str], None]) -> None:
        while not over.is_set():
            try:
                world.settle()
                world.nodes_arrive()
                done["passes"] += 1
            except Exception as error:
                tell(f"the loops: {type(error).__name__}: {error}"[:300])
                connection.close()
            time.sleep(0.2)

    _process(work, answers)


def everything_goes(actor: Actor) -> list[str]:
    """Delete every claim and let time pass; what is left over then."""
    for claim in CapacityClaim.objects.order_by("key"):
        try:
            claim_delete(actor=actor, claim_id=claim.id)
        except NotFound:
            continue
    world.everything_arrives()
    return [f"{claim} is still {claim.status}" for claim in CapacityClaim.objects.all()]
