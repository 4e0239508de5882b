"""Labels on pages: shown, edited by admins, asked for in lists; and how many queries that takes."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims.history import claim_history
from claims.labels import labels_get
from claims.models import CapacityClaim, Labels, UsageKind
from claims.services import claim_labels_set
from console.dashboard.labels import asked_labels, labels_in
from console.organizations.models import AuditEvent
from deployments.models import Deployment
from deployments.services import deployment_labels_set
from tests import fleet, world
from tests.cast import Cast
from tests.pages.conftest import Running

pytestmark = pytest.mark.django_db
SEARCH, ADS = {"team": "search", "env": "prod"}, {"team": "ads"}


@pytest.fixture(params=["claim", "deployment"])
def thing(request: pytest.FixtureRequest, running: Running) -> CapacityClaim | Deployment:
    return running.claim if request.param == "claim" else running.deployment


def name_of(thing: CapacityClaim | Deployment) -> str:
    return "claim" if isinstance(thing, CapacityClaim) else "deployment"


def labels(cast: Cast, thing: CapacityClaim | Deployment) -> dict[str, str]:
    kind = UsageKind.CLAIM if isinstance(thing, CapacityClaim) else UsageKind.REPLICA
    return labels_get(cast.organization, kind, thing.id)


def test_an_admin_edits_labels_as_lines(cast: Cast, thing: CapacityClaim | Deployment) -> None:
    browser, name = cast.admin.browser(), name_of(thing)
    page, save = reverse(name, args=[thing.id]), reverse(f"{name}-labels", args=[thing.id])
    sent = {"labels": "team=search\n\n env = prod \nexample.com/x=\n", "seen": ""}
    assert browser.post(save, sent)["Location"] == page
    assert labels(cast, thing) == {"team": "search", "env": "prod", "example.com/x": ""}
    text = browser.get(page).content.decode()
    for label in ("team=search", "env=prod", "example.com/x="):
        assert f"{label}</a>" in text
    assert f'href="{reverse(f"{name}s")}?label=team%3Dsearch"' in text
    assert browser.post(save, {"labels": "", "seen": sent["labels"]}).status_code == 302
    assert labels(cast, thing) == {}


@pytest.mark.parametrize(("lines", "said"), [
    ("team=search\nads", "line 2 is not key=value"),
    ("team=search\nteam=ads", "team is there already"),
    ("=x", "a key is letters"),
    ("a b=c", "a key is letters"),
    ("team=a b", "a value has at most"),
    ("headroom/kind=x", "kept for Headroom"),
    ("\n".join(f"k{number}=v" for number in range(33)), "at most 32"),
])  # fmt: skip
def test_what_is_no_label_is_refused_beside_the_text_and_nothing_is_stored(
    cast: Cast, thing: CapacityClaim | Deployment, lines: str, said: str
) -> None:
    before = AuditEvent.objects.count()
    answer = cast.admin.browser().post(
        reverse(f"{name_of(thing)}-labels", args=[thing.id]), {"labels": lines, "seen": ""}
    )
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert (Labels.objects.count(), AuditEvent.objects.count()) == (0, before)


def test_an_editor_does_not_write_over_what_somebody_else_saved(cast: Cast, thing: CapacityClaim | Deployment) -> None:
    browser, save = cast.admin.browser(), reverse(f"{name_of(thing)}-labels", args=[thing.id])
    browser.post(save, {"labels": "team=ads", "seen": ""})
    answer = browser.post(save, {"labels": "team=search", "seen": ""})
    assert answer.status_code == 422
    assert "changed meanwhile" in answer.content.decode()
    assert labels(cast, thing) == ADS
    assert browser.post(save, {"labels": "team=search", "seen": "team=ads"}).status_code == 302


def test_the_history_of_a_claim_says_which_labels_it_was_given(cast: Cast, running: Running) -> None:
    claim, browser = running.claim, cast.admin.browser()
    for given in (SEARCH, {}):
        claim_labels_set(actor=cast.admin.actor, claim_id=claim.id, labels=given)
    found = [
        " ".join(one.text for one in claim_history(cast.organization, claim.id, 9)[0] if one.what == "claim.labels")
    ]
    assert found == ["none env=prod, team=search"]
    assert "env=prod, team=search" in browser.get(reverse("claim-history", args=[claim.id])).content.decode()


def test_a_viewer_sees_labels_and_no_form(cast: Cast, thing: CapacityClaim | Deployment) -> None:
    save = reverse(f"{name_of(thing)}-labels", args=[thing.id])
    cast.admin.browser().post(save, {"labels": "team=search", "seen": ""})
    text = cast.viewer.browser().get(reverse(name_of(thing), args=[thing.id])).content.decode()
    assert "team=search</a>" in text
    assert save not in text
    assert cast.viewer.browser().post(save, {"labels": "", "seen": "team=search"}).status_code == 403
    assert cast.outsider.browser().post(save, {"labels": "", "seen": "team=search"}).status_code == 404
    assert labels(cast, thing) == {"team": "search"}


def of_three(cast: Cast) -> None:
    """Claims and deployments `one`, `two` and `three`; the first is of search, the second of ads."""
    of, at = world.offering(), fleet.gateway(cast.admin.actor)
    for name, given in (("one", SEARCH), ("two", ADS), ("three", {})):
        claim = world.claim(cast.admin.actor, of, 1, name=name)
        claim_labels_set(actor=cast.admin.actor, claim_id=claim.id, labels=given)
        model = fleet.deployment(cast.admin.actor, at, of, name=name, min=1)
        deployment_labels_set(actor=cast.admin.actor, deployment_id=model.id, labels=given)


@pytest.mark.parametrize("name", ["claims", "deployments"])
def test_lists_are_filtered_by_labels(cast: Cast, name: str) -> None:
    of_three(cast)
    browser = cast.viewer.browser()

    def listed(label: str) -> set[str]:
        text = browser.get(reverse(name), {"label": label}).content.decode()
        return {one for one in ("one", "two", "three") if f"<b>{one}</b>" in text}

    assert listed("") == {"one", "two", "three"}
    assert listed("team=search") == listed("team=search, env=prod") == listed("team env") == {"one"}
    assert listed("team") == {"one", "two"}
    assert listed("team=search team=ads") == listed("no label!") == listed("team=nobody") == set()
    text = browser.get(reverse(name), {"label": 'team="><b>'}).content.decode()
    assert 'value="team=&quot;&gt;&lt;b&gt;"' in text


@pytest.mark.parametrize("name", ["claims", "deployments"])
def test_queries_of_lists_do_not_grow_with_labels(cast: Cast, name: str) -> None:
    of_three(cast)
    browser, most = cast.viewer.browser(), {f"k{number}": "v" for number in range(32)}

    def queries(**query: str) -> int:
        with CaptureQueriesContext(connection) as found:
            assert browser.get(reverse(name), query).status_code == 200
        return len(found)

    queries()
    before, filtered = queries(), queries(label="team")
    for claim in CapacityClaim.objects.all():
        claim_labels_set(actor=cast.admin.actor, claim_id=claim.id, labels=most)
    for model in Deployment.objects.all():
        deployment_labels_set(actor=cast.admin.actor, deployment_id=model.id, labels=most)
    assert queries() == before
    assert queries(label="k1,k2") == filtered
    assert "and 29 more" in browser.get(reverse(name)).content.decode()


def test_lines_and_filters_are_read_as_people_write_them() -> None:
    assert labels_in(" a = 1 \r\n\r\nb=\n") == {"a": "1", "b": ""}
    assert asked_labels(" a=1,b  c= ") == {"a": "1", "b": None, "c": ""}
    assert asked_labels("") == {}
    assert asked_labels("a b!") is None


def test_a_claim_is_reserved_with_its_labels_or_not_at_all(cast: Cast) -> None:
    of, browser = world.offering(), cast.admin.browser()
    world.pool(of, 2)
    body = {
        "zone": "US-WEST-04A",
        "type": "gb200-4x",
        "kind": "SERVERLESS",
        "name": "prod",
        "count": "1",
        "reserve": "1",
    }
    for lines, said in (("team", "line 1 is not key=value"), ("team=a b", "a value has at most")):
        wrong = browser.post(reverse("claim-new"), {**body, "labels": lines})
        assert wrong.status_code == 422
        assert said in wrong.content.decode()
        assert f">{lines}</textarea>" in wrong.content.decode()
    assert not CapacityClaim.objects.exists()
    assert browser.post(reverse("claim-new"), {**body, "labels": "team=search\nenv=prod"}).status_code == 302
    assert labels(cast, CapacityClaim.objects.get()) == SEARCH
    assert browser.post(reverse("claim-new"), {**body, "name": "other"}).status_code == 302
    assert labels(cast, CapacityClaim.objects.get(name="other")) == {}


def test_a_deployment_is_made_with_its_labels_or_not_at_all(cast: Cast) -> None:
    world.pool(world.offering(), 2)
    gateway, browser = fleet.gateway(cast.admin.actor), cast.admin.browser()
    form = {"name": "chat", "gateway": str(gateway.id), "engine": "vllm 0.21.0", "instance_type": "gb200-4x",
            "gpu_count": "1", "model_name": "llama", "model_bucket": "models", "model_path": "llama", "min": "1",
            "max": "2"}  # fmt: skip
    for lines, said in (("team", "line 1 is not key=value"), ("team=a b", "a value has at most")):
        wrong = browser.post(reverse("deployment-new"), {**form, "labels": lines})
        assert wrong.status_code == 422
        assert said in wrong.content.decode()
    assert not Deployment.objects.exists()
    assert browser.post(reverse("deployment-new"), {**form, "labels": "team=ads"}).status_code == 302
    assert labels(cast, Deployment.objects.get()) == ADS
