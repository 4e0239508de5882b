"""The limit of calls of a token, against a real broker."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import LazySettings

from console.common.errors import ResourceExhausted
from console.organizations.models import AuditEvent
from console.organizations.rates import Buckets, buckets, rate_take
from console.stack.processes import end
from tests.cast import Cast, Member
from tests.stack.stacks import running_broker, until

QUOTA = "/api/v1/quota"


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with running_broker() as (server, _):
        yield server.url


@pytest.fixture
def limited(broker: str, settings: LazySettings) -> None:
    """Two calls at once, and the next one only after a quarter of an hour."""
    settings.CELERY_BROKER_URL, settings.RATE_LIMIT = broker, 1 / 900


def refused(member: Member) -> Any:
    answer = member.api().get(QUOTA)
    return answer if answer.status_code == 429 else None


def test_a_bucket_holds_a_second_of_calls_and_fills_again(broker: str) -> None:
    found = buckets(broker)
    assert found
    waits = [found.take("slow", 0.001) for _ in range(3)]
    assert waits[0] == 0
    assert 990 < waits[1] <= waits[2] + 1 <= 1001
    assert [found.take("quick", 1_000_000) for _ in range(50)] == [0] * 50


def test_all_processes_share_a_bucket(broker: str) -> None:
    """Each has connections of its own; together they get what one would."""
    many = [Buckets(broker.replace("redis+socket", "unix")) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(lambda i: many[i % 4].take("shared", 1 / 3600), range(40)))
    assert waits.count(0) == 1


@pytest.mark.django_db
def test_a_token_that_calls_too_often_is_told_when_to_come_back(cast: Cast, limited: None) -> None:
    assert cast.viewer.api().get(QUOTA).status_code == 200
    answer = cast.viewer.api().get(QUOTA)
    assert answer.status_code == 429
    said = answer.json()
    assert (said["code"], said["details"][0]["@type"]) == (8, "type.googleapis.com/google.rpc.RetryInfo")
    assert 890 <= int(answer["Retry-After"]) <= 900
    assert cast.admin.api().get(QUOTA).status_code == 200, "each token has its own bucket"


@pytest.mark.django_db
def test_a_refused_call_is_counted_too_and_changes_nothing(cast: Cast, limited: None) -> None:
    before = AuditEvent.objects.count()
    assert cast.viewer.api().send("POST", "/api/v1/claims", {}).status_code == 403
    answer = cast.viewer.api().send("POST", "/api/v1/claims", {})
    assert answer.status_code == 429
    assert AuditEvent.objects.count() == before


@pytest.mark.django_db
def test_nothing_but_the_rate_is_a_429(cast: Cast, limited: None) -> None:
    """Nobody's token, and the signed-in person of a page, are never told to slow down."""
    browser = cast.viewer.browser()
    assert [browser.get(QUOTA).status_code for _ in range(3)] == [200] * 3
    nobody = {"authorization": "Bearer hr_nobody"}
    assert [browser.get(QUOTA, headers=nobody).status_code for _ in range(3)] == [401] * 3


@pytest.mark.django_db
def test_0_means_no_limit(cast: Cast, broker: str, settings: LazySettings) -> None:
    settings.CELERY_BROKER_URL, settings.RATE_LIMIT = broker, 0
    assert [cast.viewer.api().get(QUOTA).status_code for _ in range(3)] == [200] * 3


@pytest.mark.django_db
def test_a_broker_that_is_gone_or_hangs_refuses_nobody(cast: Cast, settings: LazySettings) -> None:
    with running_broker() as (server, process):
        settings.CELERY_BROKER_URL, settings.RATE_LIMIT = server.url, 1 / 900
        found = buckets(server.url)
        assert found
        assert (found.take("x", 1 / 900), found.take("x", 1 / 900) > 0) == (0, True)
        os.kill(process.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            assert [found.take("x", 1 / 900) for _ in range(1000)] == [0] * 1000
            assert time.monotonic() - began < 50, "it was asked again each time"
            assert cast.viewer.api().get(QUOTA).status_code == 200
        finally:
            os.kill(process.pid, signal.SIGCONT)
        until(lambda: found.take("x", 1 / 900) > 0, 30, "the limit did not come back")
        end(process, signal.SIGTERM, 5)
        assert found.take("x", 1 / 900) == 0
        assert cast.viewer.api().get(QUOTA).status_code == 200
        process = server.start(subprocess.DEVNULL)
        try:
            until(lambda: found.take("y", 1 / 900) > 0, 30, "the limit did not come back")
        finally:
            end(process, signal.SIGTERM, 5)


@pytest.mark.django_db
@pytest.mark.parametrize("url", ["memory://", "amqp://guest@localhost//"])
def test_a_broker_that_is_no_redis_limits_nothing(url: str, settings: LazySettings, cast: Cast) -> None:
    settings.CELERY_BROKER_URL, settings.RATE_LIMIT = url, 1 / 900
    token = cast.admin.actor.token
    assert token
    for _ in range(3):
        rate_take(token.id)


def test_a_bucket_that_refuses_names_the_seconds() -> None:
    assert ResourceExhausted("slow down", 0.002).whole_seconds == 1
    assert ResourceExhausted("slow down", 1.2).whole_seconds == 2
