"""The API on a real Postgres and a real Redis, with two tenants that must never see each other."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
import redis.asyncio
from fastapi import FastAPI
from psycopg.rows import dict_row

from socialsync_common.accounts import Account, connect_account
from socialsync_common.contracts import Platform, TaskName
from socialsync_common.crypto import TokenCipher
from socialsync_common.settings import DatabaseSettings, EncryptionSettings
from socialsync_gateway.api import api_router
from socialsync_gateway.auth import AuthSettings
from socialsync_gateway.database import Database
from socialsync_gateway.health import health_router
from socialsync_gateway.problems import install_problem_handlers

JWT_SECRET = "a secret of a test that is long enough for HS256"
_numbers = itertools.count(1)


@pytest.fixture
def owner(databases: Any) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """A connection that row-level security does not bind, to seed and to look."""
    with psycopg.connect(databases.owner_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@dataclass
class TenantWorld:
    """A tenant with an API key and what a test gives it."""

    owner: psycopg.Connection[dict[str, Any]]
    id: UUID
    name: str
    cipher: TokenCipher
    headers: dict[str, str]

    def account(self, platform: Platform = Platform.WHATSAPP, name: str = "Bakery") -> Account:
        return connect_account(
            self.owner,
            self.cipher,
            tenant=self.name,
            platform=platform,
            external_id=f"x{next(_numbers)}",
            name=name,
            token="a token",
        )

    def conversation(
        self, account: Account, *, handler: str = "ai", name: str = "Ada", at: datetime | None = None
    ) -> UUID:
        contact = uuid4()
        self.owner.execute(
            "INSERT INTO contacts (id, tenant_id, account_id, name) VALUES (%s, %s, %s, %s)",
            (contact, self.id, account.id, name),
        )
        self.owner.execute(
            "INSERT INTO contact_identities (account_id, kind, value, contact_id, tenant_id) VALUES (%s, 'phone', %s, %s, %s)",
            (account.id, f"49{next(_numbers)}", contact, self.id),
        )
        self.owner.execute(
            "INSERT INTO conversations (id, tenant_id, account_id, handler, last_message_at) VALUES (%s, %s, %s, %s, %s)",
            (contact, self.id, account.id, handler, at or datetime.now(UTC)),
        )
        return contact

    def message(self, conversation: UUID, text: str = "Are you open?", **columns: Any) -> int:
        """An inbound message, unless ``columns`` say otherwise."""
        row = {
            "direction": "in",
            "author": "contact",
            "kind": "text",
            "sent_at": datetime.now(UTC),
            "awaiting_reply": False,
            "platform_message_id": f"mid.{next(_numbers)}",
            **columns,
        }
        found = self.owner.execute(
            f"""
            INSERT INTO messages (conversation_id, tenant_id, account_id, text, {", ".join(row)})
            SELECT id, tenant_id, account_id, %s, {", ".join(["%s"] * len(row))} FROM conversations WHERE id = %s
            RETURNING id
            """,  # noqa: S608
            (text, *row.values(), conversation),
        ).fetchone()
        assert found
        return int(found["id"])

    def send(
        self, conversation: UUID, status: str, *, author: str = "ai", part: int = 1, **columns: Any
    ) -> UUID:
        row = {"id": uuid4(), "batch_id": uuid4(), "text": "We are.", **columns}
        self.owner.execute(
            f"""
            INSERT INTO outbox (conversation_id, tenant_id, account_id, status, author, part, {", ".join(row)})
            SELECT id, tenant_id, account_id, %s, %s, %s, {", ".join(["%s"] * len(row))} FROM conversations WHERE id = %s
            """,  # noqa: S608
            (status, author, part, *row.values(), conversation),
        )
        return row["id"]

    def file(self, kind: str = "image", **columns: Any) -> str:
        """The id of a picture or video that was uploaded, as any platform takes it."""
        row = {
            "kind": kind,
            "mime_type": "image/jpeg" if kind == "image" else "video/mp4",
            "size": 1000,
            "sha256": b"0" * 32,
            "width": 1080,
            "height": 1080,
            "duration_seconds": None if kind == "image" else 20.0,
            "name": "bread",
            "storage": "postgres",
            **columns,
        }
        found = self.one(
            f"""
            INSERT INTO media (tenant_id, {", ".join(row)}) VALUES (%s, {", ".join(["%s"] * len(row))}) RETURNING id
            """,  # noqa: S608
            self.id,
            *row.values(),
        )
        return str(found["id"])

    def post(self, account: Account, **columns: Any) -> UUID:
        """A post whose comments are watched, unless ``columns`` say otherwise."""
        row = {"external_id": f"1{next(_numbers)}", "origin": "published", "monitored": True, **columns}
        return self._insert("monitored_posts", {"account_id": account.id, **row})

    def comment(self, account: Account, text: str = "Do you ship?", **columns: Any) -> UUID:
        """A new comment on nobody's post, unless ``columns`` say otherwise."""
        row = {
            "external_id": f"2{next(_numbers)}",
            "kind": "comment",
            "author_id": "7",
            "author_name": "ada",
            "source": "webhook",
            "written_at": datetime.now(UTC),
            **columns,
        }
        return self._insert("comments", {"account_id": account.id, "text": text, **row})

    def comment_send(self, comment: UUID, kind: str, status: str, **columns: Any) -> UUID:
        """What the AI says or does about a comment, unless ``columns`` say otherwise."""
        on = self.one("SELECT account_id, post_id, version FROM comments WHERE id = %s", comment)
        row = {**on, "comment_id": comment, "kind": kind, "author": "ai", "status": status, **columns}
        return self._insert("comment_sends", row)

    def _insert(self, table: str, row: dict[str, Any]) -> UUID:
        found = self.one(
            f"""
            INSERT INTO {table} (tenant_id, {", ".join(row)}) VALUES (%s, {", ".join(["%s"] * len(row))}) RETURNING id
            """,  # noqa: S608
            self.id,
            *row.values(),
        )
        return UUID(str(found["id"]))

    def one(self, query: str, *parameters: Any) -> dict[str, Any]:
        row = self.owner.execute(query, parameters).fetchone()
        assert row
        return row


@dataclass
class World:
    """The API under test, and who uses it."""

    client: httpx.AsyncClient
    us: TenantWorld
    them: TenantWorld
    redis: redis.asyncio.Redis
    tasks: list[tuple[TaskName, dict[str, Any]]]
    app: FastAPI

    async def get(self, path: str, tenant: TenantWorld | None = None, **query: Any) -> httpx.Response:
        return await self.client.get(path, params=query, headers=(tenant or self.us).headers)

    async def post(
        self, path: str, body: Any, tenant: TenantWorld | None = None, key: str | None = None
    ) -> httpx.Response:
        headers = dict((tenant or self.us).headers)
        if key:
            headers["Idempotency-Key"] = key
        return await self.client.post(path, json=body, headers=headers)

    async def patch(self, path: str, body: Any, tenant: TenantWorld | None = None) -> httpx.Response:
        return await self.client.patch(path, json=body, headers=(tenant or self.us).headers)

    async def put(self, path: str, body: Any, tenant: TenantWorld | None = None) -> httpx.Response:
        return await self.client.put(path, json=body, headers=(tenant or self.us).headers)


@pytest.fixture
async def world(
    tenants: Any,
    databases: Any,
    environment: dict[str, str],
    owner: psycopg.Connection[dict[str, Any]],
) -> AsyncIterator[World]:
    tasks: list[tuple[TaskName, dict[str, Any]]] = []

    async def send_task(name: TaskName, arguments: dict[str, Any]) -> None:
        tasks.append((name, arguments))

    cipher = TokenCipher(EncryptionSettings(token_encryption_keys=environment["TOKEN_ENCRYPTION_KEYS"]))
    us, them = (
        TenantWorld(owner, tenant.id, tenant.name, cipher, {"Authorization": f"Bearer {tenant.api_key}"})
        for tenant in tenants
    )
    database = Database(DatabaseSettings(database_url=databases.service_url, database_pool_size=4))
    await database.open()
    await database.check_role()
    client = redis.asyncio.Redis.from_url(environment["CELERY_BROKER_URL"], socket_timeout=2)
    app = FastAPI()
    app.state.database, app.state.redis, app.state.send_task = database, client, send_task
    install_problem_handlers(app)
    app.include_router(health_router())
    app.include_router(api_router(AuthSettings(supabase_jwt_secret=JWT_SECRET)))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        yield World(http, us, them, client, tasks, app)
    await client.aclose()
    await database.close()
