"""C12 in the console: windows on the claim page, their effect first, and the calendars."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims.core.states import Status
from claims.models import CapacityClaim, ClaimWindow
from claims.services import claim_delete, pool_resize
from console.common import clock
from tests import world
from tests.cast import Cast, Member
from tests.claims.test_window_claims import DAY, HOUR, asked, create, customer, everything, later, serverless

pytestmark = pytest.mark.django_db


def sent(ahead: float = 2, **more: Any) -> dict[str, Any]:
    return {"count": 3, "zone": "Europe/Berlin", "start": f"{later(ahead):%Y-%m-%dT%H:%M}", "hours": 10, "minutes": 0,
            "repeats": "WEEKLY", "interval": 1, "days": ["MO", "TU", "WE", "TH", "FR"], "until": "", **more}  # fmt: skip


def text_of(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def page(who: Member, name: str, *args: Any, **query: Any) -> str:
    answer = who.browser().get(reverse(name, args=args), query)
    assert answer.status_code == 200
    return text_of(answer)


def test_c12_a_window_is_added_after_its_effect_was_shown(cast: Cast) -> None:
    claim, browser = customer(cast, 1, limit=6), cast.admin.browser()
    address = reverse("claim-window-new", args=[claim.id])
    assert "Add a window" in page(cast.admin, "claim", claim.id)
    assert "Europe/Berlin" in text_of(browser.get(address))
    before = everything()
    shown = text_of(browser.post(address, sent()))
    assert "3 instances</b> on weekdays from" in shown
    assert "The most it may have, in instances</th> <td>1</td> <td><b>3</b>" in shown
    assert 'name="days" value="MO"' in shown
    assert everything() == before
    again = text_of(browser.post(address, sent() | {"back": "1"}))
    assert 'value="MO" class="form-check-input"' in again or 'value="MO"' in again
    answer = browser.post(address, sent() | {"confirmed": "1"})
    assert answer["Location"] == reverse("claim", args=[claim.id])
    row = ClaimWindow.objects.get()
    assert (row.recurrence, row.count, row.time_zone) == ("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", 3, "Europe/Berlin")
    shown = page(cast.viewer, "claim", claim.id)
    assert "on weekdays from" in shown
    assert "3 of the quota are committed for good" in shown
    assert "The next two weeks" in shown
    assert reverse("claim-window", args=[claim.id, row.id]) not in shown, "a viewer is not offered to change it"


def test_c12_a_window_is_changed_and_deleted_from_the_page(cast: Cast) -> None:
    claim, browser = serverless(cast, 1), cast.admin.browser()
    row = create(cast, claim, asked(later(5)))
    address = reverse("claim-window", args=[claim.id, row.id])
    shown = text_of(browser.get(address))
    assert 'name="count" value="3"' in shown
    assert '<option value="DAILY" selected>' in shown
    monthly = sent(5, repeats="MONTHLY", month_day=["1", "-1"], hours=2, minutes=30, count=2)
    assert "every month on day 1 and the last from" in text_of(browser.post(address, monthly))
    browser.post(address, monthly | {"confirmed": "1"})
    row.refresh_from_db()
    assert (row.recurrence, row.duration) == ("FREQ=MONTHLY;BYMONTHDAY=1,-1", timedelta(hours=2, minutes=30))
    shown = text_of(browser.get(address))
    assert '<option value="-1" selected>' in shown
    gone = reverse("claim-window-delete", args=[claim.id, row.id])
    assert "Delete the window?" in text_of(browser.get(gone))
    assert browser.post(gone)["Location"] == reverse("claim", args=[claim.id])
    assert not ClaimWindow.objects.exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"hours": 0}, "whole minutes"), ({"hours": 25}, "begins again after 24 h"), ({"start": "soon"}, "such as"),
        ({"zone": "Mars"}, "not one of the available choices"), ({"count": 0}, "greater than or equal to 1"),
        ({"count": 9}, "never fits"), ({"until": "2020-01-01"}, "from the first"), ({"interval": 13}, "less than or equal"),
        ({"repeats": "HOURLY"}, "not one of the available choices"), ({"start": "2026-01-01T00:00+01:00"}, "such as"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", [{}, {"confirmed": "1"}])
def test_c12_what_is_refused_is_said_in_the_form_and_nothing_changes(
    cast: Cast, wrong: dict[str, Any], said: str, step: dict[str, str]
) -> None:
    claim = serverless(cast, 1)
    before = everything()
    answer = cast.admin.browser().post(
        reverse("claim-window-new", args=[claim.id]), sent(repeats="DAILY", hours=1) | wrong | step
    )
    assert (answer.status_code, said in text_of(answer)) == (422, True)
    assert everything() == before


def test_c12_who_may_open_the_forms(cast: Cast) -> None:
    claim = serverless(cast, 1)
    row = create(cast, claim, asked(later(5)))
    before = everything()
    for who, status in ((cast.viewer, 403), (cast.outsider, 404)):
        for address in (reverse("claim-window-new", args=[claim.id]), reverse("claim-window", args=[claim.id, row.id]),
                        reverse("claim-window-delete", args=[claim.id, row.id])):  # fmt: skip
            assert who.browser().get(address).status_code == status
            assert who.browser().post(address, sent() | {"confirmed": "1"}).status_code == status
    assert everything() == before


def test_c12_a_claim_that_is_being_deleted_takes_no_window(cast: Cast) -> None:
    claim = serverless(cast, 1)
    world.take(claim.instances.get(), cast.organization, 7, claim=claim)
    claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    assert CapacityClaim.objects.get().status == Status.DELETING
    address = reverse("claim-window-new", args=[claim.id])
    assert cast.admin.browser().get(address)["Location"] == reverse("claim", args=[claim.id])
    assert cast.admin.browser().post(address, sent() | {"confirmed": "1"}).status_code in (302, 404)
    assert not ClaimWindow.objects.exists()


def test_c12_the_list_of_claims_names_the_next_window(cast: Cast) -> None:
    claim = serverless(cast, 1)
    create(cast, claim, asked(later(5)))
    world.claim(cast.admin.actor, claim.offering, 1, name="other")
    shown = page(cast.viewer, "claims")
    assert "Next window" in shown
    assert f"{later(5):%a %d %b %H:%M} to" in shown


def test_c12_the_pool_calendar_flags_what_it_cannot_give_with_the_numbers(cast: Cast) -> None:
    claim = serverless(cast, 1, pool=6)
    start = (clock.now() + DAY).replace(hour=8, minute=0, second=0, microsecond=0)
    create(cast, claim, asked(start, 2 * HOUR, count=5))
    pool_resize(actor=world.PLATFORM, offering=claim.offering, size=4)
    world.settle()
    shown = page(cast.viewer, "pool-calendar", "US-WEST-04A", "gb200-4x")
    assert "1 of 5 instances cannot be had" in shown
    assert "the managed pool is to have 4" in shown
    assert "1, from 08:00 5" in shown
    assert reverse("pool-calendar", args=["US-WEST-04A", "gb200-4x"]) in page(cast.viewer, "capacity")
    assert "1 of 5 instances cannot be had" in page(cast.viewer, "claim", claim.id)
    assert "No claim promises" in page(cast.viewer, "pool-calendar", "RNO2A", "b200-8x")


def test_the_list_of_claims_asks_as_much_whatever_the_number_of_windows(cast: Cast) -> None:
    claim, browser = serverless(cast, 1), cast.viewer.browser()
    counts = []
    for number in range(3):
        create(cast, claim, asked(later(2 + 2 * number)))
        with CaptureQueriesContext(connection) as asked_for:
            browser.get(reverse("claims"))
        counts.append(len(asked_for))
        with CaptureQueriesContext(connection) as asked_for:
            browser.get(reverse("claim", args=[claim.id]))
        counts.append(len(asked_for))
    assert counts[2:4] == counts[4:]
