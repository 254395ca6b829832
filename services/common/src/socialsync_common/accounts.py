"""Tenants, their connected accounts, and their API keys."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from uuid import NAMESPACE_URL, UUID, uuid5

from socialsync_common.contracts import Platform
from socialsync_common.crypto import TokenCipher
from socialsync_common.db import SCOPE, Connection, tenant_scope
from socialsync_common.errors import PermanentError

_KEY_PREFIX = "ssk_"


@dataclass(frozen=True, slots=True)
class Account:
    """A connected account. ``external_id`` is the platform's id; ``token`` is in the clear: never log it."""

    id: UUID
    tenant_id: UUID
    platform: Platform
    external_id: str
    name: str
    instructions: str
    status: str
    token: str = field(repr=False)


def tenant_id(name: str) -> UUID:
    """The id of the tenant called ``name``: derived, since no role may look a name up across tenants."""
    return uuid5(NAMESPACE_URL, f"socialsync:tenant:{name}")


def connect_account(
    connection: Connection,
    cipher: TokenCipher,
    *,
    tenant: str,
    platform: Platform,
    external_id: str,
    name: str,
    token: str,
    instructions: str = "",
) -> Account:
    """Create or refresh one account of ``tenant`` (created where absent).

    Raises:
        PermanentError: another tenant has connected it.
    """
    owner = tenant_id(tenant)
    account_id = uuid5(owner, f"{platform}:{external_id}")
    connection.execute(SCOPE, (tenant_scope([owner]),))
    connection.execute(
        "INSERT INTO tenants (id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING", (owner, tenant)
    )
    taken = connection.execute(
        "SELECT account_id FROM resolve_accounts(%s) WHERE platform = %s AND tenant_id <> %s",
        ([external_id], platform, owner),
    ).fetchone()
    if taken:
        raise PermanentError(
            f"{platform} account {external_id} is connected to another tenant: disconnect it there first"
        )
    connection.execute(
        """
        INSERT INTO accounts (id, tenant_id, platform, external_id, name, instructions, token)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, instructions = EXCLUDED.instructions,
          token = EXCLUDED.token, status = 'active', status_reason = NULL
        """,
        (
            account_id,
            owner,
            platform,
            external_id,
            name,
            instructions,
            cipher.encrypt(token, owner, account_id),
        ),
    )
    return Account(account_id, owner, platform, external_id, name, instructions, "active", token)


def load_account(connection: Connection, cipher: TokenCipher, account_id: UUID) -> Account:
    """The account with its token decrypted.

    Raises:
        PermanentError: it is not there (or not in this transaction's tenants), or its token does not decrypt.
    """
    row = connection.execute(
        "SELECT id, tenant_id, platform, external_id, name, instructions, status, token FROM accounts WHERE id = %s",
        (account_id,),
    ).fetchone()
    if row is None:
        raise PermanentError(f"account {account_id}: not found")
    token = cipher.decrypt(row.pop("token"), row["tenant_id"], row["id"])
    return Account(**{**row, "platform": Platform(row["platform"])}, token=token)


def create_api_key(connection: Connection, tenant: UUID, name: str) -> str:
    """A new API key of ``tenant``, shown this once; only its hash is kept."""
    key = _KEY_PREFIX + secrets.token_urlsafe(32)
    connection.execute(SCOPE, (tenant_scope([tenant]),))
    connection.execute(
        "INSERT INTO api_keys (tenant_id, name, key_hash) VALUES (%s, %s, %s)",
        (tenant, name, hash_api_key(key)),
    )
    return key


def hash_api_key(key: str) -> bytes:
    """SHA-256 is enough: the key has 256 random bits."""
    return hashlib.sha256(key.encode()).digest()
