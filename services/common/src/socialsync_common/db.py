"""Postgres for the workers: a pool of connections, and transactions that see only the tenants they name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from socialsync_common.errors import ConfigError
from socialsync_common.settings import DatabaseSettings

Row = dict[str, Any]
Connection = psycopg.Connection[Row]

# attempts to connect again wait twice as long each time: after this, the next request starts afresh
RECONNECT_SECONDS = 5.0

SCOPE = "SELECT set_config('app.tenants', %s, true)"
ROLE_CHECK = "SELECT rolsuper OR rolbypassrls AS bypasses FROM pg_roles WHERE rolname = current_user"
BYPASS_FAULT = (
    "DATABASE_URL: its role bypasses row-level security, which keeps tenants apart; "
    "use a role that `socialsync migrate` has admitted"
)


def tenant_scope(tenants: Iterable[UUID]) -> str:
    """The value of ``app.tenants``: an array literal of tenant ids."""
    return "{" + ",".join(str(tenant) for tenant in tenants) + "}"


def connect_options(settings: DatabaseSettings) -> dict[str, Any]:
    """Options of every connection. Times are bounded so that a hung server frees its slot."""
    return {
        "row_factory": dict_row,
        "connect_timeout": 5,
        "prepare_threshold": 5 if settings.database_prepare else None,
        "options": "-c statement_timeout=30000 -c idle_in_transaction_session_timeout=60000 -c timezone=UTC",
    }


class Database:
    """A pool of connections to Postgres, shared by a worker's threads."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            settings.database_url.get_secret_value(),
            kwargs=connect_options(settings),
            min_size=1,
            max_size=settings.database_pool_size,
            timeout=30,
            reconnect_timeout=RECONNECT_SECONDS,
            check=ConnectionPool.check_connection,
            open=False,
        )

    def open(self) -> None:
        self._pool.open()

    def close(self) -> None:
        self._pool.close()

    def check_role(self) -> None:
        """Raises ConfigError where the role would see every tenant."""
        with self._pool.connection() as connection:
            row = connection.execute(ROLE_CHECK).fetchone()
        if row is None or row["bypasses"]:
            raise ConfigError(BYPASS_FAULT)

    @contextmanager
    def transaction(self, *tenants: UUID, wait_seconds: float | None = None) -> Iterator[Connection]:
        """One transaction that sees ``tenants`` only; none named: only the functions that return ids.

        Raises psycopg_pool.PoolTimeout after ``wait_seconds`` (or the pool's time) without a connection.
        """
        with self._pool.connection(timeout=wait_seconds) as connection:
            if tenants:
                connection.execute(SCOPE, (tenant_scope(tenants),))
            yield connection
