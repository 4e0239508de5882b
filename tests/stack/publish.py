"""`python -m tests.stack.publish TASK=QUEUE ...` sends each task to the broker of a stack, without an expiry."""

import sys

import django

django.setup()

from console.celery import app  # noqa: E402 - needs Django


def main() -> None:
    for argument in sys.argv[1:]:
        task, _, queue = argument.partition("=")
        app.send_task(task, queue=queue)


if __name__ == "__main__":
    main()
