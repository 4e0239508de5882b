"""Everything that web and workers run, imported once: the parts of the stack are forks of the process that did it.

That saves each part a second of start-up, and the pages that none of them writes to exist once. Nothing random is
drawn here and no connection is opened: a fork would share them.
"""

import gc
from importlib import import_module

from django.urls import get_resolver

# What web and workers import only once they run.
LATE = (
    "asgiref.sync",
    "celery.bin.worker",
    "celery.concurrency.thread",
    "celery.worker.consumer",
    "celery.worker.worker",
    "console.connect.application",
    "django.contrib.sessions.backends.db",
    "django.core.handlers.asgi",
    "django.db.backends.postgresql.base",
    "django.template.loader_tags",
    "kombu.transport.redis",
    "psycopg_pool",
    "uvicorn.lifespan.off",
    "uvicorn.loops.asyncio",
    "uvicorn.protocols.http.auto",
    "whitenoise.middleware",
)


def preload() -> None:
    from console.celery import app

    for name in LATE:
        import_module(name)
    _ = get_resolver().url_patterns  # imports every view
    app.loader.import_default_modules()
    gc.collect()
    gc.freeze()  # so that no collection in a fork writes to what is shared
