"""Where the content of media is kept: in Postgres, or in a private bucket of Supabase Storage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, BinaryIO, ClassVar, Protocol
from uuid import UUID

import httpx
import structlog

from socialsync_common.errors import ConfigError
from socialsync_common.settings import StorageSettings
from socialsync_gateway.database import Connection, Database
from socialsync_gateway.media import repository
from socialsync_gateway.media.faults import ContentMissing, StorageAway

log = structlog.get_logger()

PIECE_BYTES = 1024 * 1024
BUCKET = "socialsync-media"
_TRIES = 3
_FIRST_PAUSE_SECONDS = 0.2
_TIMEOUT = httpx.Timeout(20.0, connect=5.0)
_UPLOAD_SECONDS_AT_MOST = 300.0


class Store(Protocol):
    """A place for content. A row of ``media`` is only committed once its content is complete in here."""

    name: ClassVar[str]

    async def put(self, tenant: UUID, media: UUID, mime_type: str, file: BinaryIO) -> None:
        """Before the row's transaction: store what does not belong into it."""

    async def insert(self, connection: Connection, tenant: UUID, media: UUID, file: BinaryIO) -> None:
        """Within the row's transaction: store what belongs into it."""

    def read(self, tenant: UUID, media: UUID, start: int, length: int) -> AsyncIterator[bytes]:
        """``length`` bytes, which must be there, in pieces. Raises StorageAway or ContentMissing."""

    async def remove(self, tenant: UUID, media: UUID) -> None:
        """After the row is gone, or was never committed. Best effort: what stays is in nobody's reach."""


class PostgresStore:
    """Pieces of 1 MiB in ``media_chunks``."""

    name: ClassVar[str] = "postgres"

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, tenant: UUID, media: UUID, mime_type: str, file: BinaryIO) -> None:
        pass

    async def insert(self, connection: Connection, tenant: UUID, media: UUID, file: BinaryIO) -> None:
        number = 0
        async for content in _pieces(file):
            await repository.insert_piece(connection, tenant, media, number, content)
            number += 1

    async def read(self, tenant: UUID, media: UUID, start: int, length: int) -> AsyncIterator[bytes]:
        while length > 0:
            number, offset = divmod(start, PIECE_BYTES)
            # a transaction for each piece: whoever reads slowly must not keep a connection
            async with self._database.transaction([tenant]) as connection:
                piece = await repository.read_piece(
                    connection, media, number, offset, min(length, PIECE_BYTES - offset)
                )
            if not piece:
                raise ContentMissing
            yield piece
            start += len(piece)
            length -= len(piece)

    async def remove(self, tenant: UUID, media: UUID) -> None:
        pass  # its pieces go with the row


class SupabaseStore:
    """Objects ``{tenant}/{media}``. Each path is written once, so that every call may be repeated."""

    name: ClassVar[str] = "supabase"

    def __init__(self, settings: StorageSettings, http: httpx.AsyncClient | None = None) -> None:
        """Raises ConfigError: one of the two settings is missing."""
        if not settings.supabase_url or not settings.supabase_service_role_key:
            raise ConfigError("SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY: set both, or neither")
        key = settings.supabase_service_role_key.get_secret_value()
        self._url = f"{str(settings.supabase_url).rstrip('/')}/storage/v1"
        self._headers = {"Authorization": f"Bearer {key}", "apikey": key}
        self._http = http or httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def put(self, tenant: UUID, media: UUID, mime_type: str, file: BinaryIO) -> None:
        headers = {
            "Content-Type": mime_type,
            "Content-Length": str(file.seek(0, 2)),
            "x-upsert": "true",  # a repeat after a lost answer
        }

        async def upload() -> httpx.Response:
            url = self._object(tenant, media)
            return await self._http.post(url, headers=self._headers | headers, content=_pieces(file))

        try:
            async with asyncio.timeout(_UPLOAD_SECONDS_AT_MOST):
                response = await _persist(upload)
                if _status(response) == 404:  # no bucket yet
                    await self._create_bucket()
                    response = await _persist(upload)
        except TimeoutError:
            raise StorageAway("Supabase Storage takes too long: try again") from None
        if not response.is_success:
            raise _refused(response)

    async def insert(self, connection: Connection, tenant: UUID, media: UUID, file: BinaryIO) -> None:
        pass

    async def read(self, tenant: UUID, media: UUID, start: int, length: int) -> AsyncIterator[bytes]:
        headers = {
            **self._headers,
            "Range": f"bytes={start}-{start + length - 1}",
            "Accept-Encoding": "identity",
        }

        async def ask() -> httpx.Response:
            request = self._http.build_request("GET", self._object(tenant, media), headers=headers)
            return await self._http.send(request, stream=True)

        response = await _persist(ask)
        try:
            if not response.is_success:
                await response.aread()
                raise ContentMissing if _status(response) == 404 else _refused(response)
            before = 0 if response.status_code == 206 else start
            async for chunk in response.aiter_raw():
                part = chunk[before : before + length]
                before -= min(before, len(chunk))
                length -= len(part)
                if part:
                    yield part
        except httpx.HTTPError as error:
            raise StorageAway(f"Supabase Storage broke off: {type(error).__name__}") from None
        finally:
            await response.aclose()
        if length:
            raise ContentMissing

    async def remove(self, tenant: UUID, media: UUID) -> None:
        async def delete() -> httpx.Response:
            return await self._http.delete(self._object(tenant, media), headers=self._headers)

        try:
            response = await _persist(delete)
            if not response.is_success and _status(response) != 404:
                raise _refused(response)
        except StorageAway as error:
            log.warning("media content left behind", bucket=BUCKET, media=str(media), error=str(error))

    async def _create_bucket(self) -> None:
        body = {"id": BUCKET, "name": BUCKET, "public": False}

        async def create() -> httpx.Response:
            return await self._http.post(f"{self._url}/bucket", headers=self._headers, json=body)

        response = await _persist(create)
        if not response.is_success and _status(response) != 409:  # another process was faster
            raise _refused(response)

    def _object(self, tenant: UUID, media: UUID) -> str:
        return f"{self._url}/object/{BUCKET}/{tenant}/{media}"


async def _persist(call: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The answer to a call that may be repeated. Raises StorageAway where none is to be had."""
    for left in reversed(range(_TRIES)):
        try:
            response = await call()
        except httpx.HTTPError as error:
            fault = type(error).__name__
        else:
            if response.status_code != 429 and response.status_code < 500:
                return response
            await response.aclose()
            fault = f"HTTP {response.status_code}"
        if left:
            await asyncio.sleep(_FIRST_PAUSE_SECONDS * 4 ** (_TRIES - 1 - left))
    raise StorageAway(f"Supabase Storage is away ({fault}): try again")


def _status(response: httpx.Response) -> int:
    """What is meant: errors leave as HTTP 400, with the status in the body."""
    body = _json(response)
    meant = str(body.get("statusCode", "")) if isinstance(body, dict) else ""
    return int(meant) if meant.isascii() and meant.isdigit() and len(meant) == 3 else response.status_code


def _refused(response: httpx.Response) -> StorageAway:
    status = _status(response)
    log.error("supabase storage refuses", status=status, body=response.text[:200])
    advice = {
        401: "check SUPABASE_SERVICE_ROLE_KEY",
        403: "check SUPABASE_SERVICE_ROLE_KEY",
        413: "raise the upload limit of the project or of its bucket",
    }.get(status, "see the gateway's log")
    return StorageAway(f"Supabase Storage refuses it ({status}): {advice}")


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    await asyncio.to_thread(file.seek, 0)
    while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
        yield piece
