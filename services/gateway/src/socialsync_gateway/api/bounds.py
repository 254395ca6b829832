"""A bound on request bodies, kept while they are read; one that is too large leaves as a problem."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message, Receive

from socialsync_gateway.problems import ProblemError

MAX_BODY_BYTES = 256 * 1024


class BoundedRoute(APIRoute):
    """A route whose body has at most ``MAX_BODY_BYTES``, whatever its Content-Length says."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            return await handle(Request(request.scope, _bounded(request.receive)))

        return bounded


def _bounded(receive: Receive) -> Receive:
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY_BYTES:
            raise ProblemError(413, f"The body is larger than {MAX_BODY_BYTES} bytes.", kind="body-too-large")
        return message

    return counted
