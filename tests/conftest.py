import pytest
from django.conf import settings
from hypothesis import settings as hypothesis

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


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()
