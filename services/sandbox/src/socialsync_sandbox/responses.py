"""Answers, and the ways of not giving one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from socialsync_sandbox.graph_errors import GraphError

ModelT = TypeVar("ModelT", bound=BaseModel)


class Json(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


async def read(request: Request, model: type[ModelT]) -> ModelT:
    """The body as ``model``; no body at all is an empty object."""
    return model.model_validate_json(await request.body() or b"{}")


async def graph_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, GraphError)  # noqa: S101 - registered for this class
    return Json(error.body, error.status)


async def invalid_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationError)  # noqa: S101 - registered for this class
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return Json({"error": "the request does not fit", "faults": faults}, 422)


async def unless_client_leaves(request: Request, waiting: Coroutine[Any, Any, None]) -> bool:
    """Wait; false when the client closed its connection first."""
    wait = asyncio.create_task(waiting)
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({wait, gone}, return_when=asyncio.FIRST_COMPLETED)
        return wait.done()
    finally:
        wait.cancel()
        gone.cancel()


class Disconnect(Response):
    """Closes the connection without a byte of answer."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._request = request

    async def __call__(self, *_: Any) -> None:
        # only the server's own request cycle knows the socket; without one (in-process calls) raising does
        cycle = getattr(self._request.receive, "__self__", None)
        transport = getattr(cycle, "transport", None)
        if transport is None:
            raise ConnectionResetError("closed without an answer")
        transport.close()
        await _gone(self._request)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
