"""Tenants and accounts, as the commands manage them: through the services' own role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from socialsync_common.accounts import Account, connect_account, create_api_key, tenant_id
from socialsync_common.contracts import Platform
from socialsync_common.crypto import TokenCipher
from socialsync_common.db import SCOPE, Connection, Row, connect_options, tenant_scope
from socialsync_common.errors import ConfigError
from socialsync_common.settings import DatabaseSettings, EncryptionSettings, load


@contextmanager
def connection() -> Iterator[Connection]:
    """One transaction with the database of ``DATABASE_URL``.

    Raises:
        ConfigError: it is not set, or nobody answers there.
    """
    settings = load(DatabaseSettings)
    try:
        opened = psycopg.connect(settings.database_url.get_secret_value(), **connect_options(settings))
    except psycopg.Error as error:
        raise ConfigError(f"DATABASE_URL: cannot connect: {str(error).splitlines()[0]}") from None
    with opened:
        yield opened


def connect(
    opened: Connection,
    *,
    tenant: str,
    platform: Platform,
    external_id: str,
    name: str,
    token: str,
    instructions: str,
) -> Account:
    """Create or refresh an account; its token is encrypted with the key of ``TOKEN_ENCRYPTION_KEYS``."""
    cipher = TokenCipher(load(EncryptionSettings))
    return connect_account(
        opened,
        cipher,
        tenant=tenant,
        platform=platform,
        external_id=external_id,
        name=name,
        token=token,
        instructions=instructions,
    )


def list_accounts(opened: Connection, tenant: str) -> list[Row]:
    """The tenant's accounts by platform and name: platform, external_id, name, status, status_reason."""
    opened.execute(SCOPE, (tenant_scope([tenant_id(tenant)]),))
    return opened.execute(
        "SELECT platform, external_id, name, status, status_reason FROM accounts ORDER BY platform, name"
    ).fetchall()


def new_api_key(opened: Connection, tenant: str, name: str) -> str:
    """An API key of a tenant, shown this once.

    Raises:
        ConfigError: there is no such tenant.
    """
    owner = tenant_id(tenant)
    opened.execute(SCOPE, (tenant_scope([owner]),))
    if opened.execute("SELECT 1 FROM tenants WHERE id = %s", (owner,)).fetchone() is None:
        raise ConfigError(f"no tenant is called {tenant!r}: connect an account of it first")
    return create_api_key(opened, owner, name)
