"""SQL of media. Every statement also names its tenant through row-level security."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from socialsync_common.db import Row
from socialsync_gateway.database import Connection

_MEDIA = """
id, kind, mime_type, size, encode(sha256, 'hex') AS sha256, width, height, duration_seconds, name, storage, created_at
"""


async def get(connection: Connection, media: UUID) -> Row | None:
    return await _one(connection, f"SELECT {_MEDIA} FROM media WHERE id = %s", (media,))  # noqa: S608


async def list_media(
    connection: Connection, tenant: UUID, after: tuple[datetime, UUID] | None, limit: int
) -> list[Row]:
    """Media, newest first, from after (created_at, id)."""
    at, media = after or (None, None)
    start = " AND created_at <= %(at)s AND (created_at < %(at)s OR id > %(id)s)" if after else ""
    cursor = await connection.execute(
        f"""
        SELECT {_MEDIA} FROM media WHERE tenant_id = %(tenant)s{start}
         ORDER BY created_at DESC, id LIMIT %(limit)s
        """,  # noqa: S608
        {"tenant": tenant, "at": at, "id": media, "limit": limit},
    )
    return await cursor.fetchall()


async def with_content(connection: Connection, tenant: UUID, sha256: bytes) -> Row | None:
    """The medium of a tenant that has this content."""
    return await _one(
        connection,
        f"SELECT {_MEDIA} FROM media WHERE tenant_id = %s AND sha256 = %s ORDER BY created_at LIMIT 1",  # noqa: S608
        (tenant, sha256),
    )


async def lock_content(connection: Connection, tenant: UUID, sha256: bytes) -> None:
    """Until the commit, nobody else stores this content for this tenant."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"media:{tenant}:{sha256.hex()}",)
    )


async def insert(connection: Connection, values: Row) -> Row:
    row = await _one(
        connection,
        f"""
        INSERT INTO media (id, tenant_id, kind, mime_type, size, sha256, width, height, duration_seconds, name, storage)
        VALUES (%(id)s, %(tenant_id)s, %(kind)s, %(mime_type)s, %(size)s, %(sha256)s, %(width)s, %(height)s,
                %(duration_seconds)s, %(name)s, %(storage)s)
        RETURNING {_MEDIA}
        """,  # noqa: S608
        values,
    )
    assert row  # noqa: S101
    return row


async def delete(connection: Connection, media: UUID) -> str | None:
    """Where its content is kept; None where there is no such medium.

    Raises:
        psycopg.errors.ForeignKeyViolation: a post uses it.
    """
    row = await _one(connection, "DELETE FROM media WHERE id = %s RETURNING storage", (media,))
    return row["storage"] if row else None


async def insert_piece(
    connection: Connection, tenant: UUID, media: UUID, number: int, content: bytes
) -> None:
    await connection.execute(
        "INSERT INTO media_chunks (media_id, number, tenant_id, content) VALUES (%s, %s, %s, %b)",
        (media, number, tenant, psycopg.Binary(content)),
    )


async def read_piece(
    connection: Connection, media: UUID, number: int, start: int, length: int
) -> bytes | None:
    """A part of a piece, which begins at ``start`` (from 0)."""
    cursor = await connection.execute(
        "SELECT substring(content FROM %s FOR %s) AS content FROM media_chunks WHERE media_id = %s AND number = %s",
        (start + 1, length, media, number),
        binary=True,
    )
    row = await cursor.fetchone()
    return bytes(row["content"]) if row else None


async def _one(connection: Connection, query: str, parameters: Any) -> Row | None:
    return await (await connection.execute(query, parameters)).fetchone()
