"""What happens to media. An upload is taken in, looked at, and only then stored: whole, once, or not at all."""

from __future__ import annotations

import asyncio
import unicodedata
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime
from urllib.parse import unquote
from uuid import UUID, uuid4

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from socialsync_common.db import Row
from socialsync_common.fetching import Bounds, Fetcher
from socialsync_common.media_urls import EXTENSIONS, MediaUrls
from socialsync_common.settings import EncryptionSettings, PublicSettings, StorageSettings
from socialsync_gateway.database import Database
from socialsync_gateway.media import repository
from socialsync_gateway.media.faults import StillUsed, StorageAway, UploadsBusy
from socialsync_gateway.media.probe import probe
from socialsync_gateway.media.spool import Spool, UploadLimits, check_size
from socialsync_gateway.media.store import PostgresStore, Store, SupabaseStore

log = structlog.get_logger()

_PROBED_AT_ONCE = 1  # decoding a large picture may take hundreds of megabytes
_STORED_AT_ONCE = 2  # each takes a database connection
_NAME_CHARACTERS_AT_MOST = 255


class MediaLibrary:
    """The media of all tenants."""

    def __init__(
        self,
        database: Database,
        urls: MediaUrls,
        supabase: SupabaseStore | None = None,
        *,
        limits: UploadLimits | None = None,
        fetcher: Fetcher | None = None,
    ) -> None:
        self.urls = urls
        self.limits = limits or UploadLimits()
        self._database = database
        self._supabase = supabase
        self._fetcher = fetcher or Fetcher(
            image=Bounds(self.limits.image_bytes, 20.0), video=Bounds(self.limits.video_bytes, 120.0)
        )
        self._store: Store = supabase or PostgresStore(database)
        self._stores: dict[str, Store] = {
            store.name: store for store in (PostgresStore(database), supabase) if store
        }
        self._uploads: Counter[UUID] = Counter()
        self._probing = asyncio.Semaphore(_PROBED_AT_ONCE)
        self._storing = asyncio.Semaphore(_STORED_AT_ONCE)

    @classmethod
    def create(
        cls,
        database: Database,
        public: PublicSettings | None,
        encryption: EncryptionSettings,
        storage: StorageSettings,
        *,
        limits: UploadLimits | None = None,
        fetcher: Fetcher | None = None,
    ) -> MediaLibrary:
        """From settings: Supabase Storage where it is set, else Postgres. Without a public URL, media are taken,
        but cannot be published.

        Raises:
            ConfigError: TOKEN_ENCRYPTION_KEYS is bad, or Supabase is half set.
        """
        wanted = storage.supabase_url or storage.supabase_service_role_key
        urls = MediaUrls(public.base_url if public else "", encryption)
        return cls(database, urls, SupabaseStore(storage) if wanted else None, limits=limits, fetcher=fetcher)

    async def close(self) -> None:
        await self._fetcher.close()
        if self._supabase:
            await self._supabase.close()

    async def upload(
        self, tenant: UUID, chunks: AsyncIterator[bytes], mime_type: str, name: str | None
    ) -> tuple[Row, bool]:
        """Take a file in, which its sender calls ``mime_type``; returns its row, and whether that is new.

        Raises:
            UnsupportedMedia, BrokenMedia, TooLarge: it cannot be used.
            UploadTooSlow, UploadsBusy, StorageAway: not now.
        """
        with self._slot(tenant), Spool() as spool:
            await spool.fill(chunks, self.limits.max_bytes(mime_type), self.limits)
            return await self._keep(tenant, spool, name)

    async def fetch(self, tenant: UUID, url: str) -> tuple[Row, bool]:
        """Like ``upload``, from a URL. Raises also PermanentError and TransientError where it is not had."""
        with self._slot(tenant), Spool() as spool:
            name = await self._fetcher.fetch(url, spool)
            return await self._keep(tenant, spool, name)

    async def get(self, tenant: UUID, media: UUID) -> Row | None:
        async with self._database.transaction([tenant]) as connection:
            return await repository.get(connection, media)

    async def list(self, tenant: UUID, after: tuple[datetime, UUID] | None, limit: int) -> list[Row]:
        """Newest first, from after (created_at, id)."""
        async with self._database.transaction([tenant]) as connection:
            return await repository.list_media(connection, tenant, after, limit)

    async def delete(self, tenant: UUID, media: UUID) -> bool:
        """False where there is no such medium. Raises StillUsed, StorageAway."""
        try:
            async with self._database.transaction([tenant]) as connection:
                storage = await repository.delete(connection, media)
                store = self._kept_in(storage) if storage else None
        except psycopg.errors.ForeignKeyViolation:
            raise StillUsed from None
        if store:
            await store.remove(tenant, media)
            log.info("media deleted", media=str(media))
        return store is not None

    def content(self, tenant: UUID, row: Row, start: int, length: int) -> AsyncIterator[bytes]:
        """A part of a medium's content. Raises StorageAway, and while it is read ContentMissing."""
        return self._kept_in(row["storage"]).read(tenant, row["id"], start, length)

    def _kept_in(self, storage: str) -> Store:
        store = self._stores.get(storage)
        if store is None:
            raise StorageAway(
                "this file is in Supabase Storage: set SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY"
            )
        return store

    @contextmanager
    def _slot(self, tenant: UUID) -> Iterator[None]:
        if (
            self._uploads[tenant] >= self.limits.uploads_of_tenant
            or self._uploads.total() >= self.limits.uploads
        ):
            raise UploadsBusy
        self._uploads[tenant] += 1
        try:
            yield
        finally:
            self._uploads[tenant] -= 1
            self._uploads += Counter()  # forgets who has none

    async def _keep(self, tenant: UUID, spool: Spool, name: str | None) -> tuple[Row, bool]:
        async with self._probing:
            probed = await asyncio.to_thread(probe, spool.file)
        check_size(spool.size, self.limits.max_bytes(probed.mime_type))
        async with self._database.transaction([tenant]) as connection:
            known = await repository.with_content(connection, tenant, spool.sha256)
        if known:
            return known, False
        media = uuid4()
        values = {
            "id": media,
            "tenant_id": tenant,
            "kind": probed.kind,
            "mime_type": probed.mime_type,
            "size": spool.size,
            "sha256": spool.sha256,
            "width": probed.width,
            "height": probed.height,
            "duration_seconds": probed.duration_seconds,
            "name": clean_name(name) or f"{probed.kind}.{EXTENSIONS[probed.mime_type]}",
            "storage": self._store.name,
        }
        try:
            await self._store.put(tenant, media, probed.mime_type, spool.file)
            row, created = await self._write(tenant, values, spool)
        except BaseException as error:
            # a commit that was not answered may have happened: its content must stay
            if isinstance(error, PoolTimeout) or not isinstance(error, psycopg.OperationalError):
                await self._store.remove(tenant, media)
            raise
        if created:
            log.info("media stored", media=str(media), kind=probed.kind, size=spool.size)
        else:
            await self._store.remove(tenant, media)
        return row, created

    async def _write(self, tenant: UUID, values: Row, spool: Spool) -> tuple[Row, bool]:
        async with self._storing, self._database.transaction([tenant]) as connection:
            await repository.lock_content(connection, tenant, values["sha256"])
            known = await repository.with_content(connection, tenant, values["sha256"])
            if known:
                return known, False
            row = await repository.insert(connection, values)
            await self._store.insert(connection, tenant, values["id"], spool.file)
            return row, True


def clean_name(name: str | None) -> str:
    """A file's name as it may be shown: without folders and without characters that control anything."""
    last = unquote(name or "", errors="replace").replace("\\", "/").rpartition("/")[2]
    shown = "".join(one for one in last if unicodedata.category(one)[0] != "C").strip()
    return shown[:_NAME_CHARACTERS_AT_MOST]
