"""`Idempotency-Key`: a POST that is sent again is done once."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection

from claims.api.operations import claim_create
from claims.models import CapacityClaim
from console.common import clock
from console.common.errors import InvalidArgument
from console.notifications.models import Channel
from console.organizations import locks
from console.organizations.actors import Actor
from console.organizations.idempotency import KEPT, Answer, answer_once, answers_forget
from console.organizations.models import AuditEvent, IdempotencyKey
from deployments.api.operations import gateway_create
from deployments.loop.rollup import roll_up
from tests import world
from tests.api.addresses import api_views
from tests.cast import Cast, Member

CLAIMS = "/v1alpha1/inference/capacityclaims"
OWN_CLAIMS = "/api/v1/claims"
WEBHOOK = {"name": "pager", "url": "https://hooks.example.com/headroom"}


def claim(name: str = "web", count: int = 1) -> dict[str, Any]:
    return {"name": name, "resources": {"instanceId": "gb200-4x", "instanceCount": count,
                                        "capacityType": "CAPACITY_TYPE_SERVERLESS", "zones": ["US-WEST-04A"]}}  # fmt: skip


def post(member: Member, path: str, body: Any, key: str = "k1") -> Any:
    return member.api().send("POST", path, body, headers={"Idempotency-Key": key})


def once(actor: Actor, make: Callable[[], Answer], body: str = "x", key: str = "k1") -> Answer:
    return answer_once(actor=actor, key=key, request={"body": body}, make=make)


# --- what the door does --------------------------------------------------------------------------
@pytest.mark.parametrize(("path", "view"), [(path, view) for path, view in api_views() if hasattr(view, "post")],
                         ids=lambda one: one if isinstance(one, str) else "")  # fmt: skip
def test_every_post_of_both_apis_heeds_the_key(path: str, view: Any) -> None:
    assert getattr(view.post, "idempotent", False)


@pytest.mark.django_db
@pytest.mark.parametrize("root", [CLAIMS, OWN_CLAIMS])
def test_a_creation_that_is_sent_again_is_answered_as_the_first_time(cast: Cast, root: str) -> None:
    world.offering()
    first = post(cast.admin, root, claim())
    world.settle()
    reordered = dict(reversed(claim().items()))
    again = post(cast.admin, root, reordered)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content, "as it was then, though the claim has gone on"
    assert (first.get("Idempotency-Replayed"), again["Idempotency-Replayed"]) == (None, "true")
    assert CapacityClaim.objects.count() == AuditEvent.objects.filter(action="claim.create").count() == 1


@pytest.mark.django_db
def test_two_keys_are_two_creations_however_alike(cast: Cast) -> None:
    world.offering()
    ids = {post(cast.admin, CLAIMS, claim(), key).json()["capacityClaim"]["spec"]["id"] for key in ("k1", "k2")}
    assert len(ids) == CapacityClaim.objects.count() == 2


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "body"), [(CLAIMS, claim("other")), (OWN_CLAIMS, claim()), (f"{OWN_CLAIMS}?preview=true", claim())]
)
def test_a_key_of_another_request_is_refused(cast: Cast, path: str, body: Any) -> None:
    world.offering()
    post(cast.admin, CLAIMS, claim())
    before = (CapacityClaim.objects.count(), AuditEvent.objects.count(), IdempotencyKey.objects.count())
    answer = post(cast.admin, path, body)
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    violation = answer.json()["details"][0]["fieldViolations"][0]
    assert violation == {"field": "idempotency_key", "description": "was used for another request; use a new key"}
    assert (CapacityClaim.objects.count(), AuditEvent.objects.count(), IdempotencyKey.objects.count()) == before


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["", "x" * 201, "tab\tinside", "caf\u00e9"])
def test_a_key_that_cannot_be_used_is_refused(cast: Cast, key: str) -> None:
    world.offering()
    answer = post(cast.admin, CLAIMS, claim(), key)
    assert answer.json()["details"][0]["fieldViolations"][0]["field"] == "idempotency_key"
    assert not CapacityClaim.objects.exists()
    assert not IdempotencyKey.objects.exists()


@pytest.mark.django_db
def test_a_key_belongs_to_one_token(cast: Cast) -> None:
    """Neither another organization nor another token of the same one reads what was answered."""
    world.offering()
    ids = {
        post(member, CLAIMS, claim()).json()["capacityClaim"]["spec"]["id"]
        for member in (cast.admin, cast.platform, cast.outsider)
    }
    assert len(ids) == 3
    refused = post(cast.viewer, CLAIMS, claim())
    assert refused.status_code == 403
    assert "web" not in refused.content.decode()


@pytest.mark.django_db
def test_a_refusal_is_not_kept(cast: Cast) -> None:
    world.offering()
    assert post(cast.admin, CLAIMS, claim("No!")).status_code == 400
    assert not IdempotencyKey.objects.exists()
    assert post(cast.admin, CLAIMS, claim("yes")).status_code == 200


@pytest.mark.django_db
def test_a_secret_is_shown_once_and_kept_nowhere(cast: Cast) -> None:
    first = post(cast.admin, "/api/v1/webhooks", WEBHOOK).json()
    again = post(cast.admin, "/api/v1/webhooks", WEBHOOK).json()
    assert first["secret"].startswith("whsec_")
    assert again == first | {"secret": None}
    assert first["secret"] not in str(IdempotencyKey.objects.values().get())
    rotated = [post(cast.admin, f"/api/v1/webhooks/{first['id']}/secret", {}, "k2").json()["secret"] for _ in range(2)]
    assert rotated[1] is None
    assert Channel.objects.count() == 1


@pytest.mark.django_db
def test_a_creation_of_any_protocol_heeds_the_key(cast: Cast) -> None:
    """The operations that all protocols share, called without the door of REST."""
    world.offering()
    made = [claim_create(cast.admin.actor, claim(), "k1") for _ in range(2)]
    assert made[0] == made[1]
    with pytest.raises(InvalidArgument, match="another request"):
        gateway_create(cast.admin.actor, {"name": "edge"}, "k1")
    assert claim_create(cast.admin.actor, claim(), "k2") != made[0]
    assert CapacityClaim.objects.count() == 2


# --- what keeps it -------------------------------------------------------------------------------
@pytest.mark.django_db
def test_after_24_hours_the_key_is_new_and_the_answer_is_gone(cast: Cast) -> None:
    once(cast.admin.actor, lambda: Answer(201, "1"))
    IdempotencyKey.objects.update(created_at=clock.now() - KEPT)
    assert once(cast.admin.actor, lambda: Answer(201, "2"), body="y").body == "2"
    once(cast.admin.actor, lambda: Answer(201, "3"), key="old")
    IdempotencyKey.objects.filter(key="old").update(created_at=clock.now() - KEPT - timedelta(seconds=1))
    roll_up(clock.now())
    assert list(IdempotencyKey.objects.values_list("key", "body")) == [("k1", "2")]


@pytest.mark.django_db
def test_what_is_over_goes_some_at_a_time(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.organizations.idempotency.DROPPED_AT_ONCE", 2)
    for number in range(3):
        once(cast.admin.actor, lambda: Answer(201, ""), key=str(number))
    later = clock.now() + KEPT
    assert [answers_forget(now=later) for _ in range(3)] == [2, 1, 0]


@pytest.mark.django_db(transaction=True)
def test_what_fails_leaves_neither_answer_nor_deed(cast: Cast) -> None:
    before = AuditEvent.objects.count()

    def fail() -> Answer:
        AuditEvent.objects.create(actor="x", action="x.y", object_type="X", object_id="1")
        raise InvalidArgument.of("x", "no")

    with pytest.raises(InvalidArgument):
        once(cast.admin.actor, fail)
    assert (AuditEvent.objects.count(), IdempotencyKey.objects.count()) == (before, 0)


def at_once(actor: Actor, make: Callable[[], Answer]) -> tuple[list[Answer], list[Exception]]:
    """Both of two twins, in threads of their own."""
    answers: list[Answer] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            answers.append(once(actor, make))
        except IntegrityError as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return answers, errors


@pytest.mark.django_db(transaction=True)
def test_two_at_once_are_done_once(cast: Cast) -> None:
    done: list[int] = []
    waiting = threading.Event()

    def make() -> Answer:
        done.append(1)
        waiting.wait(0.3)  # the twin comes meanwhile, and has to wait
        return Answer(201, "made")

    answers, errors = at_once(cast.admin.actor, make)
    assert (len(done), errors) == (1, [])
    assert sorted((one.body, one.repeated) for one in answers) == [("made", False), ("made", True)]


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_two_at_once_are_both_begun(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even then the unique row lets one of them end only."""
    monkeypatch.setattr(locks, "idempotency_lock", lambda *given: None)
    both = threading.Barrier(2, timeout=60)

    def make() -> Answer:
        both.wait()
        return Answer(201, "made")

    answers, errors = at_once(cast.admin.actor, make)
    assert (len(answers), len(errors), IdempotencyKey.objects.count()) == (1, 1, 1)
