"""Postgres for the gateway: an asynchronous pool, and transactions that see only the tenants they name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool

from socialsync_common.db import (
    BYPASS_FAULT,
    RECONNECT_SECONDS,
    ROLE_CHECK,
    SCOPE,
    Row,
    connect_options,
    tenant_scope,
)
from socialsync_common.errors import ConfigError
from socialsync_common.settings import DatabaseSettings

Connection = psycopg.AsyncConnection[Row]


class Database:
    """A pool of connections on the event loop. Waiting for one is bounded, so that requests fail fast."""

    def __init__(self, settings: DatabaseSettings, planner: str = "") -> None:
        """``planner``: further server options, for a pool whose statements need a planner of their own."""
        options = connect_options(settings)
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            settings.database_url.get_secret_value(),
            kwargs={**options, "options": options["options"] + planner},
            min_size=2,
            max_size=settings.database_pool_size,
            timeout=5,
            reconnect_timeout=RECONNECT_SECONDS,
            open=False,
        )

    async def open(self) -> None:
        await self._pool.open()

    async def close(self) -> None:
        await self._pool.close()

    async def check_role(self) -> None:
        """Raises ConfigError where the role would see every tenant."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(ROLE_CHECK)).fetchone()
        if row is None or row["bypasses"]:
            raise ConfigError(BYPASS_FAULT)

    async def ping(self) -> None:
        """Raises psycopg.OperationalError or PoolTimeout where Postgres is away."""
        async with self._pool.connection() as connection:
            await connection.execute("SELECT 1")

    @asynccontextmanager
    async def transaction(self, tenants: Iterable[UUID] = ()) -> AsyncIterator[Connection]:
        """One transaction that sees ``tenants`` only; none named: only the functions that return ids."""
        scope = tenant_scope(tenants)
        async with self._pool.connection() as connection:
            if scope != "{}":
                await connection.execute(SCOPE, (scope,))
            yield connection
