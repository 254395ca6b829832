"""What tests share beside fixtures."""

from __future__ import annotations

import asyncio
import base64
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from socialsync_common.accounts import Account
from socialsync_common.contracts import Platform

TEST_KEYS = "k1:" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
TEST_SECRETS = {
    "META_APP_SECRET": "meta-app-secret",
    "INSTAGRAM_APP_SECRET": "instagram-app-secret",
    "META_VERIFY_TOKEN": "verify-me",
    "TOKEN_ENCRYPTION_KEYS": TEST_KEYS,
}


@dataclass(frozen=True)
class Databases:
    """One test's database, as its owner and as the services' role."""

    owner_url: str
    service_url: str

    def query(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """Look at everything, as the owner."""
        with psycopg.connect(self.owner_url, row_factory=dict_row) as connection:
            cursor = connection.execute(statement, parameters)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []


@dataclass(frozen=True)
class Tenant:
    """A tenant with one account of each platform, and an API key."""

    name: str
    accounts: dict[Platform, Account]
    api_key: str

    @property
    def id(self) -> uuid.UUID:
        return self.accounts[Platform.WHATSAPP].tenant_id


@asynccontextmanager
async def running(app: Any) -> AsyncIterator[Any]:
    """Run an ASGI application's lifespan around a test."""
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    task = asyncio.ensure_future(
        app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, inbox.get, outbox.put)
    )
    await inbox.put({"type": "lifespan.startup"})
    started = await asyncio.wait_for(outbox.get(), 30)
    if started["type"] != "lifespan.startup.complete":
        raise RuntimeError(started.get("message", "start-up failed"))
    try:
        yield app
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        await asyncio.wait_for(outbox.get(), 30)
        await task


@contextmanager
def server_folder() -> Iterator[Path]:
    """A folder for a server that runs as another user: pytest closes its own to everybody else."""
    with tempfile.TemporaryDirectory(prefix="socialsync-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


async def eventually(condition: Callable[[], Any], seconds: float = 5.0) -> Any:
    """Wait until ``condition`` is true, and return it."""
    async with asyncio.timeout(seconds):
        while not (value := condition()):  # noqa: ASYNC110 - it happens outside this loop
            await asyncio.sleep(0.01)
    return value
