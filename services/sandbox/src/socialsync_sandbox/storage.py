"""A stand-in for Supabase Storage; errors leave as HTTP 400, with the status in the body, as there."""

from __future__ import annotations

import re
from urllib.parse import quote
from uuid import uuid4

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from socialsync_sandbox.objects import MAX_BYTES, Object
from socialsync_sandbox.responses import Json, read
from socialsync_sandbox.sandbox import sandbox_of

_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{0,15})")


class NewBucket(BaseModel):
    """``id`` is its name where there is none."""

    id: str | None = None
    name: str = Field(min_length=1)
    public: bool = False


class Signing(BaseModel):
    expires_in: float = Field(alias="expiresIn", gt=0)


async def create_bucket(request: Request) -> Response:
    if not _is_let_in(request):
        return _no_key()
    wanted = await read(request, NewBucket)
    buckets, name = sandbox_of(request).objects.buckets, wanted.id or wanted.name
    if name in buckets:
        return _fault(409, "Duplicate", "The resource already exists")
    buckets.add(name)
    return Json({"name": name})


async def upload(request: Request) -> Response:
    """Over what is there only with ``x-upsert``."""
    if not _is_let_in(request):
        return _no_key()
    objects, path = sandbox_of(request).objects, _path(request)
    if request.path_params["bucket"] not in objects.buckets:
        return _fault(404, "Bucket not found", "Bucket not found")
    content = bytearray()
    async for chunk in request.stream():
        if len(content) <= MAX_BYTES:  # the rest is read all the same: a client that writes hears no answer
            content += chunk
    if len(content) > MAX_BYTES:
        return _fault(413, "Payload too large", "The object exceeded the maximum allowed size")
    if path in objects.by_path and request.headers.get("x-upsert") != "true":
        return _fault(409, "Duplicate", "The resource already exists")
    mime_type = request.headers.get("content-type", "application/octet-stream")
    stored = Object(str(uuid4()), bytes(content), mime_type)
    objects.put(path, stored)
    return Json({"Key": path, "Id": stored.id})


async def download(request: Request) -> Response:
    return _content(request) if _is_let_in(request) else _no_key()


async def delete(request: Request) -> Response:
    if not _is_let_in(request):
        return _no_key()
    if not sandbox_of(request).objects.remove(_path(request)):
        return _not_found()
    return Json({"message": "Successfully deleted"})


async def sign(request: Request) -> Response:
    if not _is_let_in(request):
        return _no_key()
    seconds = (await read(request, Signing)).expires_in
    objects, path = sandbox_of(request).objects, _path(request)
    if path not in objects.by_path:
        return _not_found()
    return Json({"signedURL": f"/object/sign/{quote(path)}?token={objects.sign(path, seconds)}"})


async def download_signed(request: Request) -> Response:
    token = request.query_params.get("token", "")
    if not sandbox_of(request).objects.is_signed(_path(request), token):
        return _fault(400, "InvalidJWT", "The signed URL is forged or has expired")
    return _content(request)


async def show(request: Request) -> Response:
    """What is kept, for tests and people."""
    objects = sandbox_of(request).objects
    return Json(
        {
            "buckets": sorted(objects.buckets),
            "objects": {path: len(each.content) for path, each in objects.by_path.items()},
            "bytes": objects.size,
            "keys": sorted(objects.keys),
        }
    )


def _is_let_in(request: Request) -> bool:
    """With any key, which is remembered."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        return False
    sandbox_of(request).objects.keys.add(key.strip())
    return True


def _path(request: Request) -> str:
    return f"{request.path_params['bucket']}/{request.path_params['path']}"


def _content(request: Request) -> Response:
    """Or the part that the Range header asks for."""
    found = sandbox_of(request).objects.by_path.get(_path(request))
    if found is None:
        return _not_found()
    size, headers = len(found.content), {"Accept-Ranges": "bytes"}
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None:
        return Response(found.content, media_type=found.mime_type, headers=headers)
    first, last = int(asked[1]), min(int(asked[2] or size), size - 1)
    if first > last:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Response(found.content[first : last + 1], 206, media_type=found.mime_type, headers=headers)


def _fault(status: int, error: str, message: str) -> Response:
    return Json({"statusCode": str(status), "error": error, "message": message}, 400)


def _no_key() -> Response:
    return _fault(403, "Unauthorized", "Invalid Compact JWS")


def _not_found() -> Response:
    return _fault(404, "not_found", "Object not found")


_OBJECT = "/storage/v1/object/{bucket}/{path:path}"
_SIGNED = "/storage/v1/object/sign/{bucket}/{path:path}"

routes = [
    Route("/storage/v1/bucket", create_bucket, methods=["POST"]),
    Route(_SIGNED, sign, methods=["POST"]),
    Route(_SIGNED, download_signed, methods=["GET"]),
    Route(_OBJECT, upload, methods=["POST"]),
    Route(_OBJECT, download, methods=["GET"]),
    Route(_OBJECT, delete, methods=["DELETE"]),
    Route("/sandbox/storage", show),
]
