"""Every error leaves as RFC 9457 ``application/problem+json``: what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import psycopg
import structlog
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5

_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457 problem details",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "about:blank, or a URN that names this kind of problem"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, and what to do about it"},
        "errors": {
            "type": "array",
            "description": "Every fault of an invalid request",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {
                        "type": "string",
                        "description": "JSON pointer: /body/…, /query/…, /path/… or /header/…",
                        "examples": ["/body/text"],
                    },
                    "detail": {"type": "string"},
                },
            },
        },
    },
}

_MEANINGS = {
    400: "The request cannot be read",
    401: "The credentials are missing or not accepted",
    403: "The credentials name no tenant",
    404: "Not found, or not this tenant's",
    409: "The present state does not allow it",
    413: "The body is too large",
    422: "The request is invalid",
    503: "Postgres is away; Retry-After says when to try again",
}


class ProblemError(HTTPException):
    """An error that the caller should see as it is; ``kind`` names it for programs (kebab-case)."""

    def __init__(
        self, status: int, detail: str, *, kind: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.kind = kind


def problem(
    status: int,
    detail: str,
    *,
    kind: str | None = None,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The response itself, for code that stands outside the exception handlers."""
    content: dict[str, Any] = {
        "type": f"urn:socialsync:problem:{kind}" if kind else "about:blank",
        "title": _title(status),
        "status": status,
        "detail": detail,
    }
    if errors:
        content["errors"] = list(errors)
    return JSONResponse(content, status, dict(headers or {}), media_type=MEDIA_TYPE)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI documentation of the problems that a route may answer with."""
    return {
        status: {
            "description": _MEANINGS.get(status, _title(status)),
            "content": {MEDIA_TYPE: {"schema": _SCHEMA}},
        }
        for status in statuses
    }


def install_problem_handlers(app: FastAPI) -> None:
    """Turn every exception of ``app`` into a problem; none shows internals."""
    app.add_exception_handler(StarletteHTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(psycopg.OperationalError, _database_away)  # PoolTimeout is one
    app.add_exception_handler(Exception, _unexpected)


async def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)  # noqa: S101
    kind = error.kind if isinstance(error, ProblemError) else None
    detail = str(error.detail)
    if detail == _title(error.status_code):
        detail = _MEANINGS.get(error.status_code, detail) + "."
    return problem(error.status_code, detail, kind=kind, headers=error.headers)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return problem(400, "The body is not JSON.")
    errors = [{"pointer": _pointer(fault["loc"]), "detail": fault["msg"]} for fault in faults]
    return problem(422, "The request is invalid: see errors.", kind="invalid-request", errors=errors)


async def _database_away(request: Request, error: Exception) -> JSONResponse:
    log.error("database away", path=request.scope["path"], error=type(error).__name__)
    return problem(
        503,
        "The database is away: try again.",
        kind="unavailable",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


async def _unexpected(_: Request, __: Exception) -> JSONResponse:
    # the server logs the exception itself, which is raised again after this response
    return problem(500, "An unexpected error, which has been logged: try again later.")


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _pointer(location: Sequence[Any]) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)
