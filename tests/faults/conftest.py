from collections.abc import Iterator

import pytest

from claims.models import Offering
from tests import keep
from tests.clockwork import clockwork
from tests.faults.worlds import catalogue


@pytest.fixture
def of(transactional_db: None) -> Iterator[Offering]:
    """A small catalogue in a database whose clock is the test's."""
    with clockwork():
        yield catalogue()
        keep.forget()
