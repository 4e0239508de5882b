import threading
import uuid

import pytest
from django.db import connection, transaction

from console.common.errors import InvalidArgument
from console.common.ids import new_id
from console.organizations.models import IdempotencyKey, Organization
from console.organizations.services import idempotency_claim
from tests.cast import Cast


def claim(organization: Organization, key: str, body: dict[str, object], new: uuid.UUID) -> uuid.UUID | None:
    with transaction.atomic():
        return idempotency_claim(
            organization=organization, key=key, body=body, resource_type="CapacityClaim", resource_id=new
        )


@pytest.mark.django_db
def test_a_new_key_lets_the_creation_go_on_and_a_repeat_names_the_first(cast: Cast) -> None:
    first = new_id()
    assert claim(cast.organization, "k1", {"a": 1}, first) is None
    assert claim(cast.organization, "k1", {"a": 1}, new_id()) == first


@pytest.mark.django_db
def test_a_key_of_another_organization_is_another_key(cast: Cast) -> None:
    assert claim(cast.organization, "k1", {"a": 1}, new_id()) is None
    assert claim(cast.other, "k1", {"a": 1}, new_id()) is None


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["", "x" * 201, "line\nbreak"])
def test_an_unusable_key_is_refused(cast: Cast, key: str) -> None:
    with pytest.raises(InvalidArgument):
        claim(cast.organization, key, {}, new_id())
    assert not IdempotencyKey.objects.exists()


@pytest.mark.django_db
def test_the_same_key_with_another_body_is_refused(cast: Cast) -> None:
    assert claim(cast.organization, "k1", {"a": 1}, new_id()) is None
    with pytest.raises(InvalidArgument, match="another request"):
        claim(cast.organization, "k1", {"a": 2}, new_id())
    assert IdempotencyKey.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_goes_on_and_all_others_name_it(cast: Cast) -> None:
    results: list[uuid.UUID | None] = []
    ids = [new_id() for _ in range(6)]

    def run(new: uuid.UUID) -> None:
        try:
            results.append(claim(cast.organization, "same", {"a": 1}, new))
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(new,)) for new in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    winner = IdempotencyKey.objects.get().resource_id
    assert results.count(None) == 1
    assert [one for one in results if one] == [winner] * 5
