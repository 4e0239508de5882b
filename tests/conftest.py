import pytest
from django.conf import settings
from django.db import connection
from hypothesis import settings as hypothesis
from pytest_django.plugin import DjangoDbBlocker

from console.stack.schema import bring_up_to_date
from tests.cast import Cast, make_cast
from tests.search import SEARCHING

# Time decides no test. The same examples in every run, so that no change is blamed for an older fault; `make test-long` looks for new ones.
hypothesis.register_profile("steady", derandomize=True, max_examples=40, deadline=None)
hypothesis.register_profile("searching", print_blob=True, deadline=None)
hypothesis.load_profile("searching" if SEARCHING else "steady")


@pytest.fixture(autouse=True, scope="session")
def quick_settings() -> None:
    """What would only cost time: slow password hashes, and static files that are collected first."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None, django_db_blocker: DjangoDbBlocker) -> None:
    """The tests' databases are copies of the cluster's own, which the first process fills as a first start does."""
    with django_db_blocker.unblock():
        bring_up_to_date()
        connection.close()
    settings.DATABASES["default"]["TEST"]["TEMPLATE"] = connection.settings_dict["NAME"]


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole stacks take the longest: they come first, so that no process has one left when the others are done."""
    items.sort(key=lambda item: item.get_closest_marker("stack") is None)
