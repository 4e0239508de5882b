"""The quota pages: numbers with words beside their bars, notices, history as table and as exact steps."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from claims import bills
from claims.core.quota import Level, level
from claims.models import CapacityClaim, QuotaChange
from claims.selectors import QuotaRow
from claims.services import claim_resize
from console.common import clock
from console.common.errors import FailedPrecondition
from console.dashboard.views.quota import Shown
from tests import world
from tests.cast import Cast

PAGE = ["US-WEST-04A", "gb200-4x"]


def plain(page: bytes) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page.decode()).split())


@pytest.mark.parametrize(("limit", "used", "expected"), [
    (0, 0, Level.NONE), (0, 1, Level.OVER), (10, 0, Level.ENOUGH), (100, 79, Level.ENOUGH), (100, 80, Level.NOTICE),
    (100, 94, Level.NOTICE), (100, 95, Level.ALARM), (100, 99, Level.ALARM), (100, 100, Level.FULL),
    (100, 101, Level.OVER), (5, 4, Level.NOTICE), (20, 19, Level.ALARM),
])  # fmt: skip
def test_notices_begin_at_80_and_95_percent(limit: int, used: int, expected: Level) -> None:
    assert level(limit=limit, used=used) == expected


@given(limit=st.integers(0, 50), committed=st.integers(0, 60), other=st.integers(0, 60))
def test_a_bar_shows_all_that_is_used_and_what_is_beyond_the_limit(limit: int, committed: int, other: int) -> None:
    one = Shown(QuotaRow(None, limit, 0, other, committed), 0)  # type: ignore[arg-type]
    sizes: dict[str, int] = {}
    end = 0
    for kind, at, length in one.parts:
        assert at == end
        assert length > 0
        end, sizes[kind] = at + length, sizes.get(kind, 0) + length
    assert end == committed + other <= one.length
    assert sizes.get("over", 0) == one.over == max(0, committed + other - limit)


@pytest.mark.django_db
def test_the_list_shows_each_number_with_its_word(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=10, reserved=9, other_usage=3)
    world.claim(cast.admin.actor, of, 5, "CUSTOMER")
    world.everything_arrives()
    page = plain(cast.viewer.browser().get(reverse("quota")).content)
    assert "gb200-4x 8 of 10 used: 5 committed, 3 other use 80 % or more used 10 5 3 2 9 1 unused" in page
    assert "80 % or more used : gb200-4x in US-WEST-04A 2 free" in page
    assert "limit 10 , reserved 9 , other use 3" in page
    assert "are paid for (from ready to release); shown, never charged History" in page


@pytest.mark.django_db
def test_who_may_ask_for_more_is_offered_it_beside_each_quota(cast: Cast) -> None:
    for of in (world.offering(), world.offering("RNO2A", "gd-1xgh200")):
        world.quota(cast.organization, of, limit=4)
    places = (PAGE, ["RNO2A", "gd-1xgh200"])
    offered = cast.admin.browser().get(reverse("quota")).content.decode()
    assert all(f'href="{reverse("quota-request", args=place)}"' in offered for place in places)
    for member in (cast.viewer, cast.billing):
        assert "Ask for more" not in member.browser().get(reverse("quota")).content.decode()


@pytest.mark.django_db
def test_b2_unused_reserved_is_counted_as_on_the_bill_on_every_page_and_in_the_api(cast: Cast) -> None:
    """What is committed and still joins takes none of the reserved quantity: it is not paid for yet."""
    of = world.offering()
    world.quota(cast.organization, of, limit=10, reserved=9, other_usage=3)
    world.claim(cast.admin.actor, of, 5, "CUSTOMER")
    for unused in (6, 1):
        browser, at = cast.admin.browser(), clock.now().replace(microsecond=0) + timedelta(seconds=2)
        second = timedelta(seconds=1)
        (billed,) = bills.unused_reserved(cast.organization, at, at + second, at + second)
        assert billed.instance_seconds == unused
        assert f" 9 {unused} unused" in plain(browser.get(reverse("quota")).content)
        assert f"{unused} unused now: reserved quantity minus" in plain(
            browser.get(reverse("quota-of", args=PAGE)).content
        )
        assert cast.admin.api().get("/api/v1/quota").json()["items"][0]["unusedReserved"] == unused
        world.everything_arrives()


@pytest.mark.django_db
def test_c13_a_quota_below_what_is_committed_is_shown_takes_nothing_and_refuses_more(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=6)
    claim = world.claim(cast.admin.actor, of, 5, "CUSTOMER")
    world.quota(cast.organization, of, limit=2)
    for address in (reverse("quota"), reverse("quota-of", args=PAGE)):
        page = plain(cast.viewer.browser().get(address).content)
        assert "Limit below what is used" in page
        assert "othing is taken away" in page
    with pytest.raises(FailedPrecondition):
        claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, 6, "CUSTOMER"))
    assert CapacityClaim.objects.get().target == 5


@pytest.mark.django_db
def test_history_tells_who_changed_what_from_what_to_what(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=6, reserved=1)
    world.quota(cast.other, of, limit=77)
    QuotaChange.objects.create(organization=cast.organization, offering=of, limit=9, reserved=1, other_usage=2,
                               at=clock.now() + timedelta(seconds=1), user=cast.platform.user)  # fmt: skip
    world.quota(cast.organization, world.offering("RNO2A", "gd-1xgh200"), limit=4)
    page = plain(cast.viewer.browser().get(reverse("quota")).content)
    assert "UTC platform gb200-4x US-WEST-04A limit 6 → to 9 , other use 0 → to 2" in page
    assert "a command gb200-4x US-WEST-04A limit 6 , reserved 1 , other use 0" in page
    assert "a command gd-1xgh200 RNO2A limit 4" in page
    assert "77" not in page
    alone = plain(cast.viewer.browser().get(reverse("quota-of", args=PAGE)).content)
    assert "limit 6 → to 9" in alone
    assert "RNO2A" not in alone.split("Quota over time")[1]


@pytest.mark.django_db
def test_the_chart_has_every_change_as_an_exact_step(cast: Cast) -> None:
    of, now = world.offering(), clock.now()
    for days, limit in ((40, 4), (20, 8), (1, 6)):
        QuotaChange.objects.create(organization=cast.organization, offering=of, limit=limit, reserved=limit // 2,
                                   other_usage=1, at=now - timedelta(days=days))  # fmt: skip
    world.quota(cast.organization, of, limit=7, reserved=3, other_usage=1)
    address = reverse("chart-quota", args=PAGE)
    found = cast.viewer.browser().get(address, {"range": "30d"}).json()
    limit = next(one for one in found["series"] if one["name"] == "Limit")
    assert [value for _, value in limit["points"]] == [4, 8, 6, 7, 7]
    assert limit["style"] == "step"
    assert limit["points"][1][0] == round((now - timedelta(days=20)).timestamp() * 1000)
    assert limit["points"][0][0] == found["from"]
    assert limit["points"][-1][0] == found["to"]
    everything = cast.viewer.browser().get(address, {"range": "all"}).json()
    assert everything["from"] == round((now - timedelta(days=40)).timestamp() * 1000)
    assert cast.outsider.browser().get(address).json()["series"][0]["points"] == []


@pytest.mark.django_db
def test_the_chart_shows_what_claims_hold_of_it(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=5)
    world.claim(cast.admin.actor, of, 2, "CUSTOMER")
    world.claim(cast.admin.actor, of, 1, "SERVERLESS", name="pool")
    world.pool(of, 1)
    world.everything_arrives()
    found = cast.viewer.browser().get(reverse("chart-quota", args=PAGE)).json()
    claimed = next(one for one in found["series"] if one["name"] == "Claimed and ready")
    assert claimed["points"][-1][1] == 2


@pytest.mark.django_db
def test_names_are_found_in_any_case_and_unknown_ones_are_not(cast: Cast) -> None:
    world.offering()
    browser = cast.viewer.browser()
    assert browser.get(reverse("quota-of", args=["us-west-04a", "GB200-4X"])).status_code == 200
    for args in (["US-WEST-04A", "h900"], ["MOON-1", "gb200-4x"]):
        assert browser.get(reverse("quota-of", args=args)).status_code == 404
        assert browser.get(reverse("chart-quota", args=args)).status_code == 404


@pytest.mark.django_db
def test_without_quota_the_page_says_what_to_do(cast: Cast) -> None:
    assert "No quota yet" in plain(cast.admin.browser().get(reverse("quota")).content)


@pytest.mark.django_db
def test_claims_that_commit_are_listed_with_what_is_not_released(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=9)
    world.claim(cast.admin.actor, of, 3, "CUSTOMER", name="prod")
    world.everything_arrives()
    page = plain(cast.viewer.browser().get(reverse("quota-of", args=PAGE)).content)
    assert "prod Ready 3 3 3" in page


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "args"), [("quota", []), ("quota-of", PAGE), ("chart-quota", PAGE)])
def test_the_pages_ask_no_more_for_many(cast: Cast, name: str, args: list[str]) -> None:
    browser, of = cast.viewer.browser(), world.offering()

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert browser.get(reverse(name, args=args)).status_code == 200
        return len(found)

    def more(numbers: range) -> None:
        for number in numbers:
            world.quota(cast.organization, of, limit=40 + number)
            world.claim(cast.admin.actor, of, 1, "CUSTOMER", name=f"more-{number}")
            world.quota(cast.organization, world.offering("RNO2A", "gd-1xgh200"), limit=4 + number)

    more(range(1))
    queries()
    before = queries()
    more(range(1, 6))
    assert queries() == before
