"""A medium as an HTTP response: whole or one range of it, streamed, with what caches ask about."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast
from uuid import UUID

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from socialsync_common.db import Row
from socialsync_gateway.media.service import MediaLibrary
from socialsync_gateway.problems import problem

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Unsatisfiable(Exception):
    """The range begins behind the end."""


async def deliver(request: Request, library: MediaLibrary, tenant: UUID, row: Row) -> Response:
    """Answer GET or HEAD with a medium's content. Raises StorageAway, ContentMissing."""
    size = row["size"]
    etag = f'"{row["sha256"]}"'
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=3600",
        "Content-Disposition": "inline",
        "ETag": etag,
        "X-Content-Type-Options": "nosniff",
    }
    asked = request.headers
    if etag in (one.strip().removeprefix("W/") for one in asked.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    start, length, status = 0, size, 200
    if "range" in asked and asked.get("if-range", etag) == etag:
        try:
            part = parse_range(asked["range"], size)
        except Unsatisfiable:
            return problem(
                416,
                f"The range is not within the file's {size} bytes.",
                headers={"Content-Range": f"bytes */{size}"},
            )
        if part:
            (start, length), status = part, 206
            headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
    headers["Content-Length"] = str(length)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=row["mime_type"])
    content = library.content(tenant, row, start, length)
    # what goes wrong before the first byte can still be said with a status
    first = await anext(content)
    return _Streamed(first, content, status, headers, row["mime_type"])


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Start and length of a single range; None where the header is to be ignored. Raises Unsatisfiable."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        if not length:
            raise Unsatisfiable
        return size - length, length
    start, end = int(first), min(int(last or size), size - 1)
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return start, end - start + 1


class _Streamed(StreamingResponse):
    """Closes its source in any case, so that a reader who leaves keeps nothing open."""

    def __init__(
        self, first: bytes, rest: AsyncIterator[bytes], status: int, headers: dict[str, str], mime_type: str
    ) -> None:
        async def body() -> AsyncIterator[bytes]:
            yield first
            async for piece in rest:
                yield piece

        super().__init__(body(), status, headers, mime_type)
        self._rest = cast("AsyncGenerator[bytes, None]", rest)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._rest):
            await super().__call__(scope, receive, send)
