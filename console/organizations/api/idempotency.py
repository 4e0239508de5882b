"""`Idempotency-Key` on the POSTs of both APIs."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from console.organizations.api.permissions import request_actor
from console.organizations.idempotency import Answer, answer_once

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
Post = Callable[..., Response]


def idempotent(*shown_once: str) -> Callable[[Post], Post]:
    """A POST that heeds the key. `shown_once` are members of the answer that are not kept: a repeat has null there."""

    def around(post: Post) -> Post:
        @wraps(post)
        def once(view: Any, request: Request, **named: Any) -> Response:
            key = request.headers.get(HEADER)
            if key is None:
                return post(view, request, **named)
            answer = answer_once(
                actor=request_actor(request), key=key,
                request={"method": "POST", "address": request.get_full_path(), "body": request.data},
                make=lambda: written(post(view, request, **named)),
                stored=lambda body: without(body, shown_once),
            )  # fmt: skip
            return response_to(answer)

        once.idempotent = True  # type: ignore[attr-defined]
        return once

    return around


def written(response: Response) -> Answer:
    return Answer(response.status_code, JSONRenderer().render(response.data).decode())


def without(body: str, names: tuple[str, ...]) -> str:
    return json.dumps(json.loads(body) | dict.fromkeys(names)) if names else body


def response_to(answer: Answer) -> Response:
    response = Response(json.loads(answer.body) if answer.body else None, status=answer.status)
    if answer.repeated:
        response[REPLAYED] = "true"
    return response
