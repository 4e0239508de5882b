"""Look-ahead of deployments that are set by hand: on unless it was switched off, by the API or on the page."""

from datetime import timedelta

import pytest
from django.urls import reverse

from claims.models import Offering
from console.common import clock
from console.organizations.models import AuditEvent
from deployments.api.explanation import explanation_to
from deployments.core.explain import line, rerun
from deployments.core.reasons import Reason
from deployments.models import AutoscalingPolicy, Decision, Deployment
from deployments.services import deployment_create
from deployments.shortage import explanation_of
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def of() -> Offering:
    made = world.offering()
    world.pool(made, 3)
    return made


def new(cast: Cast, of: Offering) -> Deployment:
    """As the vendor's API makes it."""
    actor = cast.admin.actor
    return deployment_create(
        actor=actor, organization=cast.organization, spec=fleet.spec(fleet.gateway(actor), of.instance_type.name, max=9)
    )


def newest(one: Deployment) -> Decision:
    return Decision.objects.filter(deployment=one).order_by("-id")[0]


def test_a_new_deployment_looks_ahead_and_says_so_and_does_not_once_it_is_off(cast: Cast, of: Offering) -> None:
    one = new(cast, of)
    AutoscalingPolicy.objects.update(scale_down_delay=timedelta(0))
    fleet.workload(one, scale=0.15)
    now = fleet.run(of.instance_type, clock.now(), 25)
    row = newest(one).record
    assert row["ahead_code"] == Reason.AHEAD
    assert row["ahead_milli"] == 990
    assert row["factor_milli"] == 2000, "bursts are followed as ever"
    assert rerun(row).same
    address = f"/api/v1/deployments/{one.id}/look-ahead"
    assert cast.admin.api().send("PATCH", address, {"lookAhead": False}).json() == {"lookAhead": False}
    grown = newest(one).wanted
    fleet.run(of.instance_type, now, 15)
    row = newest(one).record
    assert row["ahead_code"] == Reason.AHEAD_OFF
    assert newest(one).wanted < grown, "what was expected is not kept any more"
    assert rerun(row).same


def test_the_explanation_says_load_margin_and_start_up_in_words_and_numbers(cast: Cast, of: Offering) -> None:
    one = new(cast, of)
    fleet.workload(one, scale=0.15)
    now = fleet.run(of.instance_type, clock.now(), 25)
    found = explanation_of(fleet.reread(one), now)
    assert found is not None
    told = explanation_to(found, one.organization)["lookAhead"]
    assert (told["stage"], told["code"]) == ("look-ahead", "AHEAD")
    numbers = told["numbers"]
    assert numbers["expected"] > numbers["margin"] > 0
    assert (numbers["slots"], numbers["short_percent"]) == (12, 1.0)
    assert f"is ready in {numbers['startup_s']} s" in told["text"]
    assert f"up to {numbers['expected']} in flight are expected: the mean of {numbers['level']} over" in told["text"]
    assert f", and {numbers['margin']} on top, since " in told["text"]
    assert f"and rounded up: {numbers['need_ahead']} replicas." in told["text"]
    # By the clock its samples are of the future, and so say nothing.
    address = f"/api/v1/deployments/{one.id}/explanation"
    assert cast.viewer.api().get(address).json()["lookAhead"]["code"] == "AHEAD_UNKNOWN"
    page = cast.viewer.browser().get(f"/deployments/{one.id}/why").content.decode()
    assert "Without a signal to go by there is nothing to expect." in page
    grown = Decision.objects.filter(record__damped_code=int(Reason.GROW_AHEAD)).first()
    assert grown is not None
    assert "in flight are expected" in line(grown.record)
    AutoscalingPolicy.objects.update(look_ahead=False)
    assert cast.viewer.api().get(address).json()["lookAhead"] is None


def test_the_api_switches_it_and_tells_the_audit_trail(cast: Cast, of: Offering) -> None:
    one = new(cast, of)
    address, api = f"/api/v1/deployments/{one.id}/look-ahead", cast.admin.api()
    assert cast.viewer.api().get(address).json() == {"lookAhead": True}
    assert cast.viewer.api().send("PATCH", address, {"lookAhead": False}).status_code == 403
    assert cast.outsider.api().send("PATCH", address, {"lookAhead": False}).status_code == 404
    assert api.send("PATCH", address, {"lookAhead": "off"}).status_code == 400
    assert AutoscalingPolicy.objects.get().look_ahead
    for _ in range(2):
        assert api.send("PATCH", address, {"lookAhead": False}).json() == {"lookAhead": False}
    assert not AutoscalingPolicy.objects.get().look_ahead
    event = AuditEvent.objects.get(action="deployment.lookahead")
    assert (event.before, event.after) == ({"lookAhead": True}, {"lookAhead": False})


def test_the_vendors_api_has_no_such_field_and_leaves_it_as_it_is(cast: Cast, of: Offering) -> None:
    one, api = new(cast, of), cast.admin.api()
    address = f"/v1alpha1/inference/deployments/{one.id}"
    AutoscalingPolicy.objects.update(look_ahead=False)
    spec = api.get(address).json()["deployment"]["spec"]
    assert set(spec["autoscaling"]) == {"min", "max", "capacityClasses"}
    spec["autoscaling"]["max"] = 7
    assert api.send("PATCH", address, spec).status_code == 200
    policy = AutoscalingPolicy.objects.get()
    assert (policy.max, policy.look_ahead) == (7, False)


def test_the_form_shows_the_effect_and_then_switches_it(cast: Cast, of: Offering) -> None:
    one, browser = new(cast, of), cast.admin.browser()
    address = reverse("deployment-autoscaling", args=[one.id])
    form = {"min": 1, "max": 9, "concurrency": "", "priority": "", "classes": "", "look_ahead": "off"}
    preview = " ".join(browser.post(address, form).content.decode().split())
    assert "Look-ahead" in preview
    assert 'name="look_ahead" value="off"' in preview
    assert AutoscalingPolicy.objects.get().look_ahead
    browser.post(address, {**form, "confirmed": "1"})
    assert not AutoscalingPolicy.objects.get().look_ahead
    event = AuditEvent.objects.get(action="deployment.autoscaling")
    assert (event.before, event.after) == ({"look_ahead": True}, {"look_ahead": False})
    assert "<dt>Look-ahead</dt> <dd> off </dd>" in " ".join(
        cast.viewer.browser().get(f"/deployments/{one.id}").content.decode().split()
    )
    browser.post(address, {**form, "look_ahead": "", "confirmed": "1"})
    assert not AutoscalingPolicy.objects.get().look_ahead, "what was not sent stays"
