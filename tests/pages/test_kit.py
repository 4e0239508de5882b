"""What surrounds every page: policy, doors, faults, colours, states, forms."""

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django import forms
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from claims.core.states import InstanceState, Status
from console.dashboard.context import chrome
from console.dashboard.faults import fault
from console.dashboard.forms import CountForm
from console.dashboard.templatetags.headroom import STATES, ago, foreseen, icon, moments, span, state, usd
from console.organizations.middleware import OrganizationMiddleware
from tests.cast import PASSWORD, Cast

SCRIPTS = sorted((settings.BASE_DIR / "static" / "js").glob("*.js"))
WHOLE_PAGES = ["base.html", "registration/login.html", "parts/plain.html"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_makes_nothing_the_policy_blocks(path: Path) -> None:
    text = path.read_text()
    assert (
        re.findall(
            r"\beval\(|new Function|innerHTML|insertAdjacentHTML|setAttribute\(\s*[\"']style|document\.write", text
        )
        == []
    )


@pytest.mark.parametrize("name", WHOLE_PAGES)
def test_colours_are_chosen_before_anything_is_drawn(name: str) -> None:
    head = (settings.BASE_DIR / "templates" / name).read_text().split("</head>")[0]
    scripts = re.findall(r"<script[^>]*>", head)
    assert len(scripts) == 1
    assert "js/theme.js" in scripts[0]
    assert "defer" not in scripts[0]
    assert head.index("<script") < head.index('rel="stylesheet"')
    assert 'rel="icon"' in head, "else browsers ask for /favicon.ico, which is not there"


def test_htmx_may_neither_evaluate_nor_style_nor_leave(cast: Cast) -> None:
    page = cast.admin.browser().get(reverse("overview")).content.decode()
    for setting in ('"includeIndicatorStyles":false', '"allowEval":false', '"selfRequestsOnly":true',
                    '"allowScriptTags":false', '"historyCacheSize":0'):  # fmt: skip
        assert setting in page
    assert re.search(r"hx-headers='\{\"X-CSRFToken\": \"[A-Za-z0-9]{64}\", \"X-Organization\": \"cw12ab\"\}'", page)


@pytest.mark.django_db
def test_signing_in_shows_the_form_under_the_policy_and_leads_back() -> None:
    browser = Client()
    answer = browser.get(reverse("sign-in"), {"next": reverse("claims")})
    assert answer.status_code == 200
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert f'value="{reverse("claims")}"' in answer.content.decode()


def test_after_signing_in_one_is_where_one_wanted_to_be(cast: Cast) -> None:
    form = {"username": "admin", "password": PASSWORD, "next": reverse("claims")}
    assert Client().post(reverse("sign-in"), form).headers["Location"] == reverse("claims")
    form["next"] = "https://elsewhere.example/"
    assert Client().post(reverse("sign-in"), form).headers["Location"] == reverse("overview")


def test_a_wrong_password_and_an_unknown_name_are_answered_alike(cast: Cast) -> None:
    told = []
    for name in ("admin", "nobody"):
        answer = Client().post(reverse("sign-in"), {"username": name, "password": "wrong"})
        assert answer.status_code == 200
        told.append(re.findall(r'role="alert">([^<]*)<', answer.content.decode()))
    assert told[0] == told[1] != []


def test_a_part_fetched_after_signing_out_sends_the_whole_page_to_sign_in(cast: Cast) -> None:
    address = f"{reverse('deployments')}?sort=-name"
    headers = {"HX-Request": "true", "HX-Target": "rows", "HX-Current-URL": f"http://testserver{address}"}
    answer = Client().get(address, headers=headers)
    assert answer.headers["HX-Redirect"] == f"{reverse('sign-in')}?next=/deployments%3Fsort%3D-name"
    assert answer.content == b""
    elsewhere = Client().get(address, headers={**headers, "HX-Current-URL": "https://elsewhere.example/x"})
    assert elsewhere.headers["HX-Redirect"] == f"{reverse('sign-in')}?next=/"


def test_the_page_for_a_fault_asks_the_database_nothing(cast: Cast, django_assert_num_queries: object) -> None:
    request = RequestFactory().get("/deployments")
    request.user, request.session = cast.admin.user, SessionStore()
    OrganizationMiddleware(lambda inner: inner)(request)  # type: ignore[arg-type, return-value]
    with django_assert_num_queries(0):  # type: ignore[operator]
        answer = fault(request)
    assert answer.status_code == 500
    assert b"Something went wrong" in answer.content


@pytest.mark.parametrize(("path", "said"), [("/deployments", b"The database is away"), ("/v1alpha1/x", b'"code": 14')])
def test_a_database_that_is_away_may_be_tried_again(path: str, said: bytes) -> None:
    try:
        raise OperationalError("server closed the connection unexpectedly")
    except OperationalError:
        answer = fault(RequestFactory().get(path))
    assert answer.status_code == 503
    assert said in answer.content


def test_nothing_is_asked_for_who_is_not_signed_in(db: None, django_assert_num_queries: object) -> None:
    with django_assert_num_queries(0):  # type: ignore[operator]
        assert set(chrome(RequestFactory().get("/"))) == {"simulated"}


def test_the_menu_marks_where_one_is_and_offers_the_admin_to_staff_alone(cast: Cast) -> None:
    page = cast.admin.browser().get(reverse("claim-new")).content.decode()
    current = re.findall(r'href="([^"]*)"\s+aria-current="page"', page)
    assert current == [reverse("claim-new")], "the longest address that fits, not Claims as well"
    assert reverse("admin:index") not in page
    assert f'href="{reverse("admin:index")}"' in cast.platform.browser().get(reverse("overview")).content.decode()


def test_only_who_is_in_several_organizations_may_switch(cast: Cast) -> None:
    address = f'action="{reverse("switch-organization")}"'
    assert address not in cast.admin.browser().get(reverse("overview")).content.decode()
    assert address in cast.platform.browser().get(reverse("overview")).content.decode()


@pytest.mark.parametrize("name", [*Status, *InstanceState])
def test_every_state_has_a_word_an_icon_and_a_colour(name: str) -> None:
    kind, symbol, word = STATES[name]
    shown = state(name)
    assert f"st st-{kind}" in shown
    assert f"icons.svg#{symbol}" in shown
    assert shown.endswith(f"{word}</span>")


def test_a_state_nobody_knows_is_shown_as_its_word_and_escaped() -> None:
    assert "st-idle" in state("ODD")
    assert "<b>" not in state("<b>")
    assert 'aria-hidden="true"' in icon("check")


@pytest.mark.parametrize(("seconds", "said"), [
    (0, "0 s"), (59.4, "59 s"), (60, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (3660, "1 h 1 min"),
    (86399, "23 h 59 min"), (86400, "1 d"), (90000, "1 d 1 h"),
])  # fmt: skip
def test_a_length_of_time_is_said_in_its_two_largest_units(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_a_time_is_relative_with_the_exact_one_beside_it() -> None:
    at = timezone.now() - timedelta(hours=5, minutes=2, seconds=30)
    assert ">5 h 2 min ago</time>" in str(ago(at))
    assert f'title="{at:%Y-%m-%d %H:%M:%S} UTC"' in str(ago(at))
    assert ">in 5 h 2 min</time>" in str(ago(timezone.now() + timedelta(hours=5, minutes=2, seconds=30)))
    assert ago(None) == "never"


def test_times_inside_a_sentence_are_times_and_the_rest_stays_text() -> None:
    said = str(moments("<b> until 2026-03-01 08:00 UTC, next at 2026-03-01 08:00:07 UTC, not 2026-99-01 08:00 UTC."))
    assert said == (
        '&lt;b&gt; until <time datetime="2026-03-01T08:00:00+00:00" data-exact="minutes">2026-03-01 08:00 UTC</time>, next at '
        '<time datetime="2026-03-01T08:00:07+00:00" data-exact="seconds">2026-03-01 08:00:07 UTC</time>, not 2026-99-01 08:00 UTC.'
    )


def test_money_is_in_whole_cents_with_thousands_apart() -> None:
    assert usd(Decimal("1234567.891")) == "$1,234,567.89"
    assert usd(Decimal(0)) == "$0.00"
    assert usd(None) == ""


def test_a_field_that_is_wrong_says_so_to_eyes_and_ears() -> None:
    shown = str(CountForm({"count": "0"})["count"].as_field_group())
    assert 'class="form-control is-invalid"' in shown
    assert 'aria-invalid="true"' in shown
    described = re.search(r'aria-describedby="([^"]*)"', shown)
    assert described is not None
    for target in described[1].split():
        assert f'id="{target}"' in shown, "a description that is nowhere is not read"


def test_a_field_with_help_and_an_error_points_at_both() -> None:
    class Sample(forms.Form):
        size = forms.IntegerField(min_value=1, help_text="At least 1.")
        kind = forms.ChoiceField(choices=[("a", "A")])

    form = Sample({"size": "0", "kind": "a"})
    shown = str(form["size"].as_field_group())
    for target in ("id_size_helptext", "id_size_error"):
        assert f'id="{target}"' in shown
        assert target in re.findall(r'aria-describedby="([^"]*)"', shown)[0].split()
    assert 'class="form-select"' in str(form["kind"])


def test_what_is_foreseen_for_now_happens_at_once() -> None:
    now = timezone.now()
    assert foreseen(now) == foreseen(now - timedelta(seconds=9)) == "at once"
    assert ">in 1 min" in foreseen(now + timedelta(seconds=61))
