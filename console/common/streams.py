"""Long answers sent as they are made, in constant memory: under ASGI a plain iterator would first be collected whole."""

import csv
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from io import StringIO
from itertools import islice

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

ROWS_A_CHUNK = 500


def csv_stream(request: HttpRequest, rows: Iterable[Sequence[str]], name: str) -> StreamingHttpResponse:
    """A CSV file to download."""
    chunks = csv_chunks(rows)
    content = aside(chunks) if isinstance(request, ASGIRequest) else chunks
    answer = StreamingHttpResponse(content, content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def csv_chunks(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    waiting = iter(rows)
    while some := list(islice(waiting, ROWS_A_CHUNK)):
        text = StringIO()
        csv.writer(text, lineterminator="\n").writerows(some)
        yield text.getvalue()


async def aside(chunks: Iterator[str]) -> AsyncIterator[str]:
    """Each chunk is made in the request's thread, where its database connection is."""
    step = sync_to_async(lambda: next(chunks, None))
    while (chunk := await step()) is not None:
        yield chunk
