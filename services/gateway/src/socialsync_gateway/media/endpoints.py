"""``/media``: upload, look, delete; and ``/api/media/…``, where whoever holds a signed URL fetches one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from socialsync_common.errors import PermanentError, SocialSyncError, TransientError
from socialsync_common.fetching import TooLarge
from socialsync_common.media_urls import EXTENSIONS, MediaUrlExpired, MediaUrlForged
from socialsync_gateway.api import paging
from socialsync_gateway.api.dependencies import Tenant
from socialsync_gateway.api.schemas import Page
from socialsync_gateway.media import schemas
from socialsync_gateway.media.delivery import deliver
from socialsync_gateway.media.faults import (
    BrokenMedia,
    ContentMissing,
    StillUsed,
    StorageAway,
    UnsupportedMedia,
    UploadsBusy,
    UploadTooSlow,
)
from socialsync_gateway.media.service import MediaLibrary
from socialsync_gateway.media.spool import check_size
from socialsync_gateway.problems import RETRY_SECONDS, ProblemError, problem, problem_responses

_JSON = "application/json"
_MAX_JSON_BYTES = 16 * 1024
_MAX_JSON_SECONDS = 20.0
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            **dict.fromkeys(EXTENSIONS, _BINARY),
            _JSON: {"schema": schemas.MediaFromUrl.model_json_schema()},
        },
    }
}
_RETRY = {"Retry-After": str(RETRY_SECONDS)}
# what each fault is for the caller: status, kind, headers; those of a file that was named by URL are all its URL's
_FAULTS: dict[type[SocialSyncError], tuple[int, str, dict[str, str]]] = {
    UnsupportedMedia: (415, "unsupported-media", {}),
    BrokenMedia: (422, "broken-media", {}),
    TooLarge: (413, "media-too-large", {}),
    # the rest of the body is not waited for
    UploadTooSlow: (408, "upload-too-slow", {"Connection": "close"}),
    UploadsBusy: (429, "uploads-busy", _RETRY),
    StorageAway: (503, "storage-away", _RETRY),
    ContentMissing: (404, "content-missing", {}),
    StillUsed: (409, "media-in-use", {}),
}

router = APIRouter(tags=["media"])
public_router = APIRouter(tags=["media"])


def _library(request: Request) -> MediaLibrary:
    library: MediaLibrary = request.app.state.media
    return library


Library = Annotated[MediaLibrary, Depends(_library)]


@router.post(
    "/media",
    operation_id="uploadMedia",
    summary="Upload a picture or a video",
    description="Send the file itself (a picture of at most 30 MB, a video of at most 300 MB), or JSON with the URL "
    "to fetch it from. What it is, its content says. The same content is kept once: 200 with what is there already.",
    status_code=201,
    response_model=schemas.Media,
    responses={
        200: {"model": schemas.Media, "description": "This content is there already"},
        **problem_responses(400, 408, 413, 415, 429),
    },
    openapi_extra=_UPLOAD_BODY,
)
async def upload_media(
    request: Request,
    response: Response,
    tenant: Tenant,
    library: Library,
    x_filename: Annotated[
        str | None, Header(max_length=2000, description="Percent-encoded where it is not ASCII")
    ] = None,
) -> Any:
    mime_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity") != "identity":
        raise ProblemError(415, "Send the body without Content-Encoding.", kind="unsupported-media")
    try:
        if mime_type == _JSON:
            row, created = await library.fetch(tenant, await _url_of(request))
        elif mime_type in EXTENSIONS:
            length = request.headers.get("content-length", "")
            if length.isdigit():
                check_size(int(length[:19]), library.limits.max_bytes(mime_type))
            async with aclosing(_body(request)) as body:
                row, created = await library.upload(tenant, body, mime_type, x_filename)
        else:
            raise UnsupportedMedia(f"Content-Type must be {_JSON} or one of {', '.join(EXTENSIONS)}.")
    except ClientDisconnect:
        raise ProblemError(400, "The upload broke off.") from None  # nobody reads it
    except SocialSyncError as error:
        return _refusal(error, "/body/url" if mime_type == _JSON else "/body")
    response.status_code = 201 if created else 200
    return row


@router.get(
    "/media",
    operation_id="listMedia",
    summary="Media, newest first",
    response_model=Page[schemas.Media],
    responses=problem_responses(400),
)
async def list_media(
    tenant: Tenant, library: Library, limit: paging.Limit = 50, cursor: paging.Cursor = None
) -> Any:
    after = paging.decode_cursor(cursor, paging.as_time, paging.as_uuid)
    rows = await library.list(tenant, (after[0], after[1]) if after else None, limit + 1)
    items, following = paging.cut(rows, limit, "created_at", "id")
    return {"items": items, "next": following}


@router.get(
    "/media/{media_id}",
    operation_id="getMedia",
    summary="One medium",
    response_model=schemas.Media,
    responses=problem_responses(404),
)
async def get_media(tenant: Tenant, library: Library, media_id: UUID) -> Any:
    row = await library.get(tenant, media_id)
    if row is None:
        raise _no_such()
    return row


@router.delete(
    "/media/{media_id}",
    operation_id="deleteMedia",
    summary="Delete a medium that no post uses",
    status_code=204,
    responses=problem_responses(404, 409),
)
async def delete_media(tenant: Tenant, library: Library, media_id: UUID) -> Response:
    try:
        if not await library.delete(tenant, media_id):
            raise _no_such()
    except (StillUsed, StorageAway) as error:
        return _refusal(error, "/path/media_id")
    return Response(status_code=204)


@public_router.head("/api/media/{token}.{extension}", include_in_schema=False)
@public_router.get(
    "/api/media/{token}.{extension}",
    operation_id="fetchMedia",
    summary="The content of a medium, for whoever holds its signed URL",
    description="Meta fetches pictures and videos here when it publishes them. One byte range is served.",
    response_class=Response,
    responses={
        200: {"content": dict.fromkeys(EXTENSIONS, _BINARY), "description": "The file"},
        206: {"description": "The range that was asked for"},
        **problem_responses(403, 404, 416, 503),
    },
)
async def fetch_media(request: Request, library: Library, token: str, extension: str) -> Response:
    try:
        tenant, media_id = library.urls.read(token, time.time())
        row = await library.get(tenant, media_id)
        if row is None or EXTENSIONS[row["mime_type"]] != extension:
            raise _no_such()
        return await deliver(request, library, tenant, row)
    except MediaUrlForged:
        raise _no_such() from None
    except MediaUrlExpired as error:
        raise ProblemError(403, str(error), kind="url-expired") from None
    except (StorageAway, ContentMissing) as error:
        return _refusal(error, "/path/token")


async def _body(request: Request) -> AsyncGenerator[bytes, None]:
    async for chunk in request.stream():
        if chunk:
            yield chunk


async def _url_of(request: Request) -> str:
    body = b""
    try:
        async with asyncio.timeout(_MAX_JSON_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MAX_JSON_BYTES:
                    raise ProblemError(
                        413, f"The body is larger than {_MAX_JSON_BYTES} bytes.", kind="body-too-large"
                    )
    except TimeoutError:
        raise UploadTooSlow from None
    try:
        return schemas.MediaFromUrl.model_validate_json(body).url
    except ValidationError as error:
        faults = [
            {**one, "loc": ("body", *one["loc"])}
            for one in error.errors(include_url=False, include_input=False)
        ]
        raise RequestValidationError(faults) from None


def _refusal(error: SocialSyncError, pointer: str) -> Response:
    of_url = pointer == "/body/url"
    status, kind, headers = _FAULTS.get(type(error), (422, "url-refused", {}))
    if of_url and isinstance(error, PermanentError):
        status = 422
    elif of_url and type(error) is TransientError:
        kind = "url-unreachable"
    detail = _sentence(str(error))
    errors = [{"pointer": pointer, "detail": detail}] if status in (415, 422) else []
    return problem(status, detail, kind=kind, errors=errors, headers=headers)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")


def _no_such() -> ProblemError:
    return ProblemError(404, "There is no such medium.", kind="not-found")
