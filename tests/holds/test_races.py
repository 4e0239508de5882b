"""Two operators freeze at once: one hold comes of it."""

from typing import Any

import pytest

from console.common.errors import FailedPrecondition
from deployments.models import Hold
from deployments.services import hold_create, holds
from tests.cast import Cast
from tests.claims.test_races import slow, together

pytestmark = pytest.mark.django_db(transaction=True)


def frozen_at_once(cast: Cast) -> list[Any]:
    return together(*[lambda: hold_create(actor=cast.admin.actor, kind="FREEZE", reason="at once")] * 4)


def test_r19_without_the_lock_an_organization_is_frozen_several_times(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "creation_lock", lambda fingerprint: None)
    slow(monkeypatch, holds, "_require_none")
    frozen_at_once(cast)
    assert Hold.objects.count() > 1


def test_r19_an_organization_is_frozen_once(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(monkeypatch, holds, "_require_none")
    made = frozen_at_once(cast)
    assert Hold.objects.count() == 1
    assert sum(isinstance(one, FailedPrecondition) for one in made) == 3
