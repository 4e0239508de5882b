from django.apps import AppConfig


class StackConfig(AppConfig):
    name = "console.stack"

    def ready(self) -> None:
        """Tasks belong to the Celery application wherever they are sent from."""
        from console import celery  # noqa: F401 - for what it does when it is imported
