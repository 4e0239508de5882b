"""`/healthz`: the process is alive. `/readyz`: it can serve. `/metrics`: for Prometheus."""

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from console.stack.metrics import exposition


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    return HttpResponse("alive\n", content_type="text/plain")


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when the database answers and knows every migration, else 503 and why."""
    problem = unready()
    return JsonResponse({"ready": not problem, "problem": problem}, status=503 if problem else 200)


_migrated: list[bool] = []


def unready() -> str | None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        if not _migrated:
            executor = MigrationExecutor(connection)
            if executor.migration_plan(executor.loader.graph.leaf_nodes()):
                return "Migrations are missing: run `manage.py migrate`."
            _migrated.append(True)
    except DatabaseError as error:
        return f"The database does not answer: {type(error).__name__}."
    return None


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST)
