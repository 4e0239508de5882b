"""Typed readers for the process environment, used by settings alone."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

TRUE, FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}


class SettingError(ValueError):
    """An environment variable has a value that cannot be used."""


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, default)


def flag(name: str, default: bool) -> bool:
    value = os.environ.get(name, str(int(default))).strip().lower()
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise SettingError(f"{name} must be one of 1, 0, true, false, yes, no, on, off; it is {value!r}.")


def number(name: str, default: float, *, at_least: float) -> float:
    value = os.environ.get(name, str(default))
    try:
        parsed = float(value)
    except ValueError:
        raise SettingError(f"{name} must be a number; it is {value!r}.") from None
    if not at_least <= parsed < float("inf"):
        raise SettingError(f"{name} must be a number of at least {at_least:g}; it is {value!r}.")
    return parsed


def port(name: str, default: int) -> int:
    value = number(name, default, at_least=1)
    if value != int(value) or value > 65535:
        raise SettingError(f"{name} must be a port, 1 to 65535; it is {value:g}.")
    return int(value)


def words(name: str, default: Sequence[str]) -> list[str]:
    value = os.environ.get(name)
    return list(default) if value is None else [word.strip() for word in value.split(",") if word.strip()]


def folder(name: str, default: Path) -> Path:
    return Path(os.environ.get(name) or default).expanduser().absolute()


def database(url: str) -> dict[str, object]:
    """A Django database entry from `postgresql://user:password@host:port/name?host=/socket/folder`.

    Query parameters become libpq options; `host` there wins, so that a unix socket folder can be named.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise SettingError("DATABASE_URL must begin with postgresql://; Headroom needs PostgreSQL.")
    options = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", None) or parts.hostname or "",
        "PORT": str(parts.port or options.pop("port", "")),
        "OPTIONS": options,
    }


def email(url: str, folder_without: Path) -> dict[str, object]:
    """Django's settings of mail from `smtp://user:password@host:port?tls=1` or `smtps://...`; without an address mail
    becomes files in the folder."""
    if not url:
        return {"EMAIL_BACKEND": "django.core.mail.backends.filebased.EmailBackend", "EMAIL_FILE_PATH": folder_without}
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or options.keys() - {"tls"}:
        raise SettingError(
            "EMAIL_URL must look like smtp://user:password@host:587?tls=1 or smtps://user:password@host."
        )
    secure, starts = parts.scheme == "smtps", options.get("tls", "0") in TRUE
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or (465 if secure else 587 if starts else 25),
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": secure,
        "EMAIL_USE_TLS": starts and not secure,
        "EMAIL_TIMEOUT": 5,
    }
