"""ETag and If-Match on what people edit: who changes what they have read changes nothing that they have not read.

An ETag stands for what can be changed. What is only computed beside it (money spent, the next time a window opens) may differ
under the same one. With `If-Match` the thing is compared once its lock is held, and changed in the same transaction.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.db import transaction
from rest_framework.request import Request
from rest_framework.response import Response

from console.common.errors import FailedPrecondition, InvalidArgument

IF_MATCH, ETAG = "If-Match", "ETag"
ONE = r'(W/)?"[!#-~]*"'
FORM = rf"(\*|{ONE}(\s*,\s*{ONE})*)"
Handler = Callable[..., Response]


@dataclass(frozen=True)
class Tagged:
    """A thing at an address. `find` reads it for a request, or refuses; None: there is nothing there yet. `values` are what
    of it can be changed. `lock` holds it until the transaction ends, in the order of its services' locks."""

    find: Callable[..., Any]
    values: Callable[[Any], Sequence[Any]]
    lock: Callable[[Request, Any], object]

    def tag(self, thing: Any) -> str | None:
        """Its ETag."""
        if thing is None:
            return None
        text = json.dumps(list(self.values(thing)), default=str)
        return f'"{hashlib.sha256(text.encode()).hexdigest()[:20]}"'

    def shown(self, get: Handler) -> Handler:
        """A GET that says the ETag. It is read first: one that is older than what is shown only makes a later change fail."""

        @wraps(get)
        def with_tag(view: Any, request: Request, **named: Any) -> Response:
            tag = self.tag(self.find(request, **named))
            response = get(view, request, **named)
            if tag:
                response[ETAG] = tag
            return response

        with_tag.shows_tag = True  # type: ignore[attr-defined]
        return with_tag

    def edited(self, change: Handler) -> Handler:
        """A change that heeds `If-Match`."""

        @wraps(change)
        def guarded(view: Any, request: Request, **named: Any) -> Response:
            wanted = request.headers.get(IF_MATCH)
            if wanted is None:
                return change(view, request, **named)
            tags = tags_in(wanted)
            with transaction.atomic():
                self.lock(request, self.find(request, **named))
                tag = self.tag(self.find(request, **named))
                if tag is None or (tags is not None and tag not in tags):
                    refuse(request, tag)
                response = change(view, request, **named)
                if request.method != "DELETE" and (now := self.tag(self.find(request, **named))):
                    response[ETAG] = now
                return response

        guarded.heeds_if_match = True  # type: ignore[attr-defined]
        return guarded


def tags_in(header: str) -> list[str] | None:
    """The tags of the header; None for `*`, which any is. Weak ones are none that could match (RFC 9110, 13.1.1)."""
    if not re.fullmatch(FORM, header.strip()):
        raise InvalidArgument.of("if_match", 'must be * or entity tags such as "2f0c...", separated by commas')
    return None if header.strip() == "*" else [one.strip() for one in re.findall(r'(?:W/)?"[^"]*"', header)]


def refuse(request: Request, tag: str | None) -> None:
    now = f"its ETag is {tag} now" if tag else "there is none"
    raise FailedPrecondition(
        "ETAG", request.path, f"It is not what If-Match names: {now}. Read it again, then change it."
    )
