"""`/api/v1/usage`: how long a range may be."""

import pytest

from tests.cast import Cast

pytestmark = pytest.mark.django_db


def test_usage_of_centuries_is_refused_before_it_is_rated(cast: Cast) -> None:
    api = cast.admin.api()
    for start, status in (("1210-11-28T17:47:32Z", 400), ("2025-01-01T00:00:00Z", 400), ("2026-01-01T00:00:00Z", 200)):
        answer = api.get("/api/v1/usage", {"start": start, "end": "2026-12-01T00:00:00Z"})
        assert answer.status_code == status, answer.content
        if status == 400:
            assert [one["field"] for one in answer.json()["details"][0]["fieldViolations"]] == ["end"]
