import pytest
from django.conf import settings

from tests.cast import Cast, make_cast


@pytest.fixture(autouse=True, scope="session")
def quick_settings() -> None:
    """What would only cost time: slow password hashes, and static files that are collected first."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()
