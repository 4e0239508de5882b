"""Quota as CSV: what is exported is imported as it is, a dry run shows every change and every error, and nothing is stored
where anything is wrong."""

import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims.models import Offering, Quota, QuotaChange
from claims.quota_csv import COLUMNS, MOST_ROWS, quota_csv_read, quota_csv_rows
from claims.selectors import quota_of
from claims.services.quota_import import QuotaMove, quotas_import
from console.common.errors import FailedPrecondition, PermissionDenied
from console.organizations.models import AuditEvent
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db

HEADER = ",".join(COLUMNS)


@pytest.fixture
def of(cast: Cast) -> Offering:
    found = world.offering()
    world.quota(cast.organization, found, limit=8, reserved=3, other_usage=1)
    return found


def text_of(*lines: str, header: str = HEADER) -> bytes:
    return "\n".join([header, *lines]).encode()


def exported(cast: Cast) -> bytes:
    answer = cast.platform.browser().get(reverse("admin:claims_quota_export"))
    return b"".join(answer.streaming_content)  # type: ignore[attr-defined]


def sent(cast: Cast, data: bytes) -> Any:
    file = SimpleUploadedFile("quota.csv", data, content_type="text/csv")
    return cast.platform.browser().post(reverse("admin:claims_quota_import"), {"file": file})


def everything() -> list[Any]:
    return [list(model.objects.order_by("pk").values()) for model in (Quota, QuotaChange, AuditEvent)]


def test_what_is_exported_changes_nothing_when_it_is_imported(cast: Cast, of: Offering) -> None:
    data = exported(cast)
    assert data.decode().splitlines() == [HEADER, "cw12ab,US-WEST-04A,gb200-4x,8,3,1"]
    reading = quota_csv_read(data)
    assert (reading.changes, reading.wrong, reading.same) == ([], [], 1)
    page = sent(cast, data).content.decode()
    assert "0 quotas would be changed, 1 stay as they are" in page
    assert 'name="moves"' not in page


def test_a_dry_run_shows_each_change_and_then_they_are_made(cast: Cast, of: Offering) -> None:
    other = (
        world.offering("US-EAST-01A", "gb200-4x") if Offering.objects.filter(zone__name="US-EAST-01A").exists() else of
    )
    data = text_of("ours,us-west-04a,GB200-4X,10,3,0", f"cw34cd,{other.zone.name},gb200-4x,5,0,0")
    before = everything()
    page = sent(cast, data).content.decode()
    assert everything() == before, "a dry run stores nothing"
    assert "2 quotas would be changed" in page
    assert "limit 8 → <b>10</b>, other use 1 → <b>0</b>" in page
    assert "(new)" in page
    found = re.search(r'name="moves" value="([^"]+)"', page)
    assert found
    answer = cast.platform.browser().post(reverse("admin:claims_quota_import"), {"moves": found[1]})
    assert answer.status_code == 302
    row = quota_of(cast.organization, of)
    assert (row.limit, row.reserved, row.other_usage) == (10, 3, 0)
    assert quota_of(cast.other, other).limit == 5
    assert AuditEvent.objects.filter(action="quota.set", user=cast.platform.user).count() == 2
    again = cast.platform.browser().post(reverse("admin:claims_quota_import"), {"moves": found[1]}, follow=True)
    assert "was changed meanwhile" in again.content.decode()


@pytest.mark.parametrize(("data", "line", "said"), [
    (b"", 1, "the columns must be"), (b"\xff\xfe\x00", 1, "not UTF-8"), (b"a,b\n1,2", 1, "they are a, b"),
    (text_of(header=HEADER + ",more"), 1, "the columns must be"), (text_of(header=HEADER + ",limit"), 1, "the columns must be"),
    (text_of("ours,US-WEST-04A,gb200-4x,9,0"), 2, "has 5 cells"),
    (text_of("ours,US-WEST-04A,gb200-4x,9,0,0,0"), 2, "has 7 cells"),
    (text_of("ours,US-WEST-04A,gb200-4x,-1,0,0"), 2, "limit: must be a whole number"),
    (text_of("ours,US-WEST-04A,gb200-4x,1.5,0,0"), 2, "limit: must be a whole number"),
    (text_of("ours,US-WEST-04A,gb200-4x,9,,0"), 2, "reserved: must be a whole number"),
    (text_of("ours,US-WEST-04A,gb200-4x,9,0,1e3"), 2, "other_usage: must be a whole number"),
    (text_of("ours,US-WEST-04A,gb200-4x,1000001,0,0"), 2, "from 0 to 1000000"),
    (text_of("ours,US-WEST-04A,gb200-4x,99999999999999999999,0,0"), 2, "from 0 to 1000000"),
    (text_of("ours,US-WEST-04A,gb200-4x,٣,0,0"), 2, "limit: must be a whole number"),
    (text_of("nobody,US-WEST-04A,gb200-4x,9,0,0"), 2, "there is none called 'nobody'"),
    (text_of("ours,NOWHERE,gb200-4x,9,0,0"), 2, "there is no 'gb200-4x' in 'NOWHERE'"),
    (text_of("ours,US-WEST-04A,none,9,0,0"), 2, "there is no 'none'"),
    (text_of("ours,US-WEST-04A,gb200-4x,9,0,0", "", "cw12ab,us-west-04a,gb200-4x,7,0,0"), 4, "in line 2 already"),
    (b'organization,zone\n"x', 1, "no CSV"), (text_of("\0,US-WEST-04A,gb200-4x,9,0,0"), 2, "there is none called"),
])  # fmt: skip
def test_what_is_wrong_is_told_by_line_and_nothing_is_stored(
    cast: Cast, of: Offering, data: bytes, line: int, said: str
) -> None:
    before = everything()
    reading = quota_csv_read(data)
    assert [(one.line, said in one.text) for one in reading.wrong] == [(line, True)]
    if data:
        page = sent(cast, data)
        assert page.status_code == 200
        assert 'name="moves"' not in page.content.decode()
    assert everything() == before


def test_one_wrong_line_stops_all_of_them(cast: Cast, of: Offering) -> None:
    page = sent(
        cast, text_of("ours,US-WEST-04A,gb200-4x,9,0,0", "theirs,US-WEST-04A,gb200-4x,-4,0,0.5")
    ).content.decode()
    assert "2 errors; nothing is imported" in page
    assert 'name="moves"' not in page


@pytest.mark.parametrize("rows", [MOST_ROWS + 1, 100_000])
def test_a_file_that_is_too_long_is_refused_at_once(cast: Cast, of: Offering, rows: int) -> None:
    data = text_of(*["ours,US-WEST-04A,gb200-4x,9,0,0"] * rows)
    with CaptureQueriesContext(connection) as found:
        reading = quota_csv_read(data)
    assert len(found) == 0
    assert len(reading.wrong) == 1
    assert "import it in parts" in reading.wrong[0].text
    assert "import it in parts" in sent(cast, data).content.decode()


def test_a_long_file_asks_as_often_as_a_short_one_and_shows_some_errors(cast: Cast, of: Offering) -> None:
    with CaptureQueriesContext(connection) as found:
        reading = quota_csv_read(text_of(*[f"org{n},US-WEST-04A,gb200-4x,9,0,0" for n in range(9000)]))
    assert len(found) == 3
    assert len(reading.wrong) == 9000
    page = sent(cast, text_of(*[f"org{n},US-WEST-04A,gb200-4x,9,0,0" for n in range(300)])).content.decode()
    assert "300 errors; nothing is imported. The first 100:" in page
    assert page.count("there is none called") == 100


def test_what_was_changed_meanwhile_stops_all_of_them(cast: Cast, of: Offering) -> None:
    before = everything()
    good = QuotaMove(cast.other.pk, of.pk, None, (4, 0, 0))
    stale = QuotaMove(cast.organization.pk, of.pk, (7, 3, 1), (9, 3, 1))
    with pytest.raises(FailedPrecondition, match="changed meanwhile"):
        quotas_import(actor=world.PLATFORM, moves=[good, stale])
    with pytest.raises(PermissionDenied):
        quotas_import(actor=cast.admin.actor, moves=[good])
    assert everything() == before


def test_what_was_shown_cannot_be_changed_on_the_way(cast: Cast, of: Offering) -> None:
    before = everything()
    answer = cast.platform.browser().post(reverse("admin:claims_quota_import"), {"moves": "W10:x:y"}, follow=True)
    assert "read the file again" in answer.content.decode()
    assert everything() == before


@pytest.mark.parametrize("name", ["admin:claims_quota_export", "admin:claims_quota_import"])
def test_it_is_for_staff_alone(cast: Cast, of: Offering, name: str) -> None:
    for member in (cast.admin, cast.viewer, cast.outsider):
        assert member.browser().get(reverse(name)).status_code == 302
    assert cast.platform.browser().get(reverse(name)).status_code == 200
    assert "Import CSV" in cast.platform.browser().get(reverse("admin:claims_quota_changelist")).content.decode()


def test_an_export_of_many_asks_once(cast: Cast, of: Offering) -> None:
    with CaptureQueriesContext(connection) as found:
        assert len(list(quota_csv_rows())) == 2
    assert len(found) == 1
