"""All settings of Headroom. Every one that an operator may change is read from the environment here."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import django_stubs_ext
from csp.constants import NONE, SELF
from django.contrib import messages

from console.common import environment as env

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent


def _default_state_dir() -> Path:
    # PostgreSQL never runs as root, so root's state has to lie where another account can reach it.
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/headroom")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "headroom"


# --- what an operator sets -------------------------------------------------------------------------
STATE_DIR = env.folder("HEADROOM_STATE_DIR", _default_state_dir())
PORT = env.port("HEADROOM_PORT", 8000)
BIND = env.text("HEADROOM_BIND", "127.0.0.1")
WEB_PROCESSES = int(env.number("HEADROOM_WEB_PROCESSES", 1, at_least=1))
DEMO = env.flag("DEMO", True)
# The time before the first start that is made for the demo's deployments, in hours; 0 for none.
DEMO_HISTORY = timedelta(hours=env.number("HEADROOM_DEMO_HISTORY", 24, at_least=0))
# A SERVERLESS claim shrinks at most once in this time (C7), in seconds.
REDUCTION_INTERVAL = timedelta(seconds=env.number("HEADROOM_REDUCTION_INTERVAL", 3600, at_least=0))
# By then an instance that is given up or drained is to be empty (C10), in seconds.
DRAIN_DEADLINE = timedelta(seconds=env.number("HEADROOM_DRAIN_DEADLINE", 600, at_least=0))
SIM_SPEED = env.number("HEADROOM_SIM_SPEED", 10, at_least=0.1)
DEBUG = env.flag("HEADROOM_DEBUG", False)
ALLOWED_HOSTS = env.words("HEADROOM_HOSTS", ["*"] if BIND == "127.0.0.1" else ["localhost"])
CSRF_TRUSTED_ORIGINS = env.words("HEADROOM_ORIGINS", [])
HTTPS = env.flag("HEADROOM_HTTPS", False)
NODE_BACKEND = env.text("HEADROOM_NODE_BACKEND", "claims.backends.simulated.SimulatedNodeBackend")
# A backend that has not answered a call by then has failed it, in seconds.
BACKEND_TIMEOUT_S = env.number("HEADROOM_BACKEND_TIMEOUT", 10, at_least=0.1)
# A model that loads longer than this is given up, unless it is known to take longer (R8).
LOADING_LIMIT_S = env.number("HEADROOM_LOADING_LIMIT_S", 600, at_least=1)
RUNTIME_BACKEND = env.text("HEADROOM_RUNTIME_BACKEND", "deployments.backends.simulated.SimulatedRuntimeBackend")
# Where people reach the console: links in notifications begin with it.
PUBLIC_URL = env.text("HEADROOM_URL", f"http://{BIND}:{PORT}")
# Lets webhooks go to private and loopback addresses, and by plain http.
WEBHOOK_PRIVATE = env.flag("HEADROOM_WEBHOOK_PRIVATE", False)
# Calls of the API that one token may make in a second, counted in the broker where that is a Redis; 0 for no limit.
RATE_LIMIT = env.number("HEADROOM_RATE_LIMIT", 500, at_least=0)
# `smtp://user:password@host:587?tls=1` or `smtps://...`; without it mail is written into the state folder.
EMAIL_URL = env.text("EMAIL_URL")
EMBEDDED_DATABASE_URL = f"postgresql://headroom@/headroom?host={quote(str(STATE_DIR))}/run"
EMBEDDED_BROKER_URL = f"redis+socket://{quote(str(STATE_DIR))}/valkey/valkey.sock"
DATABASE_URL = env.text("DATABASE_URL") or EMBEDDED_DATABASE_URL
CELERY_BROKER_URL = env.text("CELERY_BROKER_URL") or EMBEDDED_BROKER_URL


def _secret_key() -> str:
    """The key from the environment, else the one the stack made in the state folder (mode 0600)."""
    given = env.text("HEADROOM_SECRET_KEY")
    kept = STATE_DIR / "secret-key"
    if given:
        return given
    if kept.exists():
        return kept.read_text().strip()
    return ""


SECRET_KEY = _secret_key()

# --- Django ----------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "console.loops",
    "console.organizations",
    "console.notifications",
    "claims",
    "deployments",
    "console.dashboard",
    "console.stack",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.forms",
    "axes",
    "csp",
    "django_filters",
    "django_htmx",
    "django_tables2",
    "drf_spectacular",
    "pgtrigger",
    "rest_framework",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "console.common.requests.RequestIdMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "console.organizations.middleware.OrganizationMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "console.urls"
ASGI_APPLICATION = "console.asgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "console.dashboard.context.chrome",
            ],
        },
    }
]
FORM_RENDERER = "console.dashboard.forms.TablerRenderer"
DATABASES: dict[str, dict[str, Any]] = {
    # Workers keep their connections; the web process has a pool instead (see console.asgi).
    "default": {**env.database(DATABASE_URL), "CONN_HEALTH_CHECKS": True, "CONN_MAX_AGE": 600}
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = False
MESSAGE_TAGS = {messages.ERROR: "danger"}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
FILE_UPLOAD_HANDLERS = [
    "console.common.uploads.BoundedUpload",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]

# --- sign-in ---------------------------------------------------------------------------------------
AUTH_USER_MODEL = "organizations.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
# As hard to guess as PBKDF2's million rounds, and four times as quick: a sign-in must not hold up the others.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "sign-in"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_TEMPLATE = "registration/locked_out.html"
AXES_ENABLE_ADMIN = False
AXES_DISABLE_ACCESS_LOG = True

# --- web -------------------------------------------------------------------------------------------
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "style-src": [SELF],
        "script-src": [SELF],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = STATE_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
}

# --- mail ------------------------------------------------------------------------------------------
globals().update(env.email(EMAIL_URL, STATE_DIR / "mail"))
DEFAULT_FROM_EMAIL = env.text("HEADROOM_MAIL_FROM", "headroom@localhost")

# --- API -------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "console.organizations.api.authentication.TokenAuthentication",
        "console.organizations.api.authentication.MemberAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["console.organizations.api.permissions.HasRole"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["console.organizations.api.parsing.JsonParser"],
    "DEFAULT_SCHEMA_CLASS": "console.organizations.api.schema.ApiSchema",
    # Every answer is JSON, whatever is asked for; and OPTIONS tells nothing that the schema does not.
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "console.organizations.api.negotiation.AlwaysJson",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "console.organizations.api.errors.exception_handler",
    "DATETIME_INPUT_FORMATS": ["iso-8601"],
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
    "FORMAT_SUFFIX_KWARG": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Headroom",
    "DESCRIPTION": "Capacity, autoscaling, quota and cost of LLM-inference fleets.",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    # What is sent may be said in more ways than what is answered.
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [],
    "PREPROCESSING_HOOKS": ["console.organizations.api.schema.both_apis"],
}

# --- Celery ----------------------------------------------------------------------------------------
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_IGNORE_RESULT = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TASK_DEFAULT_QUEUE = "control"
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3600,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_TIME_LIMIT = 1800
CELERY_TASK_SOFT_TIME_LIMIT = 1740


def beat(task: str, every_s: int, queue: str) -> dict[str, object]:
    """Wake the task up so often. A wake-up that nobody took in time is dropped: the next beat brings a fresh one (W4)."""
    return {"task": task, "schedule": float(every_s), "options": {"queue": queue, "expires": max(10, every_s)}}


CELERY_BEAT_SCHEDULE = {
    "scale": beat("deployments.tasks.scale", 5, "control"),
    "actuate": beat("deployments.tasks.actuate", 5, "io"),
    "roll-up": beat("deployments.tasks.roll_up", 60, "control"),
    "fulfil": beat("claims.tasks.fulfil", 5, "control"),
    "provision": beat("claims.tasks.provision", 5, "io"),
    "history": beat("deployments.tasks.history", 10, "bulk"),
    "backtests": beat("deployments.tasks.backtests", 5, "bulk"),
    "deliver": beat("console.notifications.tasks.deliver", 5, "io"),
    "quota-notices": beat("claims.tasks.quota_notices", 60, "control"),
    "budget-notices": beat("claims.tasks.budget_notices", 300, "control"),
    "shortage-notices": beat("deployments.tasks.shortage_notices", 60, "control"),
    "objectives": beat("deployments.tasks.objectives", 60, "control"),
    "meter": beat("claims.tasks.meter", 60, "control"),
}

# --- logs ------------------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": env.text("HEADROOM_LOG_LEVEL", "INFO")},
    "loggers": {
        "axes": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
    },
}
