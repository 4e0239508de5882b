"""`EMAIL_URL`: which mail server, and how it is spoken to."""

from pathlib import Path

import pytest

from console.common.environment import SettingError, email

FOLDER = Path("mail")


@pytest.mark.parametrize(("url", "port", "starttls", "secure"), [
    ("smtp://mail.example.com", 25, False, False), ("smtp://mail.example.com:2525", 2525, False, False),
    ("smtp://mail.example.com?tls=1", 587, True, False), ("smtps://mail.example.com", 465, False, True),
    ("smtps://mail.example.com:4465", 4465, False, True),
])  # fmt: skip
def test_a_mail_server_is_named_by_an_address(url: str, port: int, starttls: bool, secure: bool) -> None:
    found = email(url, FOLDER)
    assert (found["EMAIL_HOST"], found["EMAIL_PORT"]) == ("mail.example.com", port)
    assert (found["EMAIL_USE_TLS"], found["EMAIL_USE_SSL"]) == (starttls, secure)
    assert found["EMAIL_TIMEOUT"] == 5


def test_user_and_password_may_hold_any_character() -> None:
    found = email("smtp://me%40example.com:p%3Aa%2Fss@mail.example.com?tls=1", FOLDER)
    assert (found["EMAIL_HOST_USER"], found["EMAIL_HOST_PASSWORD"]) == ("me@example.com", "p:a/ss")


def test_without_one_letters_are_files() -> None:
    found = email("", FOLDER)
    assert found["EMAIL_FILE_PATH"] == FOLDER
    assert str(found["EMAIL_BACKEND"]).endswith("filebased.EmailBackend")


@pytest.mark.parametrize(
    "url", ["mail.example.com", "http://mail.example.com", "smtp://", "smtp://mail.example.com?ssl=1"]
)
def test_what_names_no_mail_server_is_refused(url: str) -> None:
    with pytest.raises(SettingError, match="EMAIL_URL must look like"):
        email(url, FOLDER)
