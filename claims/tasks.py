"""Celery tasks of the capacity half: wake up, ask the loop table, call a service."""

from datetime import timedelta

from celery import shared_task

from claims import metering, notices, provisioning, use
from claims.services import fulfilment
from claims.statements.closing import statements_pass
from console.loops.services import loop_pass

EVERY_FEW_SECONDS, EVERY_MINUTE, NOW_AND_THEN = timedelta(seconds=5), timedelta(seconds=60), timedelta(minutes=5)


@shared_task(name="claims.tasks.fulfil")
def fulfil() -> None:
    with loop_pass(name="fulfil", period=EVERY_FEW_SECONDS) as now:
        if now:
            fulfilment.fulfil_pass(now=now)


@shared_task(name="claims.tasks.provision")
def provision() -> None:
    with loop_pass(name="provision", period=EVERY_FEW_SECONDS) as now:
        if now:
            provisioning.provision_pass(now=now)


@shared_task(name="claims.tasks.meter")
def meter() -> None:
    with loop_pass(name="meter", period=EVERY_MINUTE) as now:
        if now:
            use.claim_use_look(now=now)
            use.under_use_note(now=now)
            metering.meter_pass(now)
            statements_pass(now=now)


@shared_task(name="claims.tasks.quota_notices")
def quota_notices() -> None:
    with loop_pass(name="quota-notices", period=EVERY_MINUTE) as now:
        if now:
            notices.quota_notices_pass(now=now)


@shared_task(name="claims.tasks.budget_notices")
def budget_notices() -> None:
    with loop_pass(name="budget-notices", period=NOW_AND_THEN) as now:
        if now:
            notices.budget_notices_pass(now=now)
