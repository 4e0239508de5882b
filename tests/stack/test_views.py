"""What a load balancer and Prometheus ask for."""

from datetime import timedelta
from unittest.mock import patch

import pytest
from django.db import OperationalError
from django.test import Client

from console.loops.services import loop_pass
from console.stack import views
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def test_alive_without_a_database(client: Client) -> None:
    with patch("django.db.backends.utils.CursorWrapper.execute", side_effect=OperationalError("gone")):
        answer = client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"alive\n")


def test_ready_with_a_migrated_database(client: Client) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "problem": None})


def test_not_ready_without_a_database(client: Client) -> None:
    with patch("console.stack.views.connection.cursor", side_effect=OperationalError("password authentication failed")):
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "problem": "The database does not answer: OperationalError."}


def test_not_ready_while_migrations_are_missing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "_migrated", [])
    with patch("console.stack.views.MigrationExecutor.migration_plan", return_value=["one"]):
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "manage.py migrate" in answer.json()["problem"]
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_only_reading_is_allowed(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405


def test_metrics_count_what_is_there(client: Client, cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 3)
    world.claim(cast.admin.actor, of, 2)
    world.settle()
    lines = client.get("/metrics").content.decode().splitlines()
    counted = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}
    instances = {name: count for name, count in counted.items() if name.startswith("headroom_instances{")}
    assert sum(instances.values()) == 3
    assert all('zone="US-WEST-04A"' in name and 'type="gb200-4x"' in name for name in instances)
    assert sum(count for name, count in counted.items() if name.startswith("headroom_claims{")) == 1


def test_metrics_tell_how_each_loop_does(client: Client) -> None:
    with loop_pass(name="meter", period=timedelta(seconds=60)):
        pass
    with pytest.raises(RuntimeError), loop_pass(name="fulfil", period=timedelta(seconds=5)):
        raise RuntimeError("broken")
    text = client.get("/metrics").content.decode()
    assert 'headroom_loop_passes_total{loop="meter"} 1.0' in text
    assert 'headroom_loop_failures_total{loop="fulfil"} 1.0' in text
    assert 'headroom_loop_age_seconds{loop="meter"}' in text
    assert 'headroom_loop_last_end_timestamp_seconds{loop="meter"}' in text
    assert 'headroom_loop_age_seconds{loop="fulfil"}' not in text  # it has no complete pass yet
