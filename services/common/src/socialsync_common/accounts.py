"""Tenants, their connected accounts, and their API keys."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from socialsync_common import notices
from socialsync_common.contracts import NoticeKind, Platform
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
    token_issued_at: datetime
    token_expires_at: datetime | None  # None: it does not expire
    business_account_id: str | None
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
    """Create or refresh one account of the tenant called ``tenant`` (created where absent).

    Raises:
        PermanentError: another tenant has connected it.
    """
    owner = tenant_id(tenant)
    connection.execute(SCOPE, (tenant_scope([owner]),))
    connection.execute(
        "INSERT INTO tenants (id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING", (owner, tenant)
    )
    values = account_values(
        cipher, owner, platform, external_id, name=name, token=token, instructions=instructions
    )
    if connection.execute(ACCOUNT_TAKEN, values).fetchone():
        raise taken(platform, external_id)
    # one that is being stopped at this moment is stopped first, so that its notice is seen and settled
    connection.execute("SELECT 1 FROM accounts WHERE id = %(id)s FOR NO KEY UPDATE", values)
    connection.execute(SAVE_ACCOUNT, values)
    return load_account(connection, cipher, values["id"])


# Both with `account_values`, by the workers and by the gateway.
ACCOUNT_TAKEN = """
SELECT 1 FROM resolve_accounts(ARRAY[%(external_id)s]) WHERE platform = %(platform)s AND tenant_id <> %(tenant_id)s
"""
# A new token makes the account work again, and what was said about the old one is settled.
SAVE_ACCOUNT = """
WITH settled AS (
  UPDATE notices SET resolved_at = now()
   WHERE account_id = %(id)s AND kind IN ('needs_reconnect', 'token_expires') AND resolved_at IS NULL
)
INSERT INTO accounts (id, tenant_id, platform, external_id, name, instructions, token, token_issued_at,
                      token_expires_at, business_account_id)
VALUES (%(id)s, %(tenant_id)s, %(platform)s, %(external_id)s, %(name)s, coalesce(%(instructions)s, ''), %(token)s,
        clock_timestamp(), %(token_expires_at)s, %(business_account_id)s)
ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, instructions = coalesce(%(instructions)s, accounts.instructions),
  token = EXCLUDED.token, token_issued_at = EXCLUDED.token_issued_at, token_expires_at = EXCLUDED.token_expires_at,
  business_account_id = coalesce(EXCLUDED.business_account_id, accounts.business_account_id),
  status = 'active', status_reason = NULL
"""


def account_values(
    cipher: TokenCipher,
    owner: UUID,
    platform: Platform,
    external_id: str,
    *,
    name: str,
    token: str,
    instructions: str | None = None,
    token_expires_at: datetime | None = None,
    business_account_id: str | None = None,
) -> dict[str, Any]:
    """Parameters of the statements above. ``instructions`` None leaves those of a known account as they are."""
    account_id = uuid5(owner, f"{platform}:{external_id}")
    return {
        "id": account_id,
        "tenant_id": owner,
        "platform": platform,
        "external_id": external_id,
        "name": name,
        "instructions": instructions,
        "token": cipher.encrypt(token, owner, account_id),
        "token_expires_at": token_expires_at,
        "business_account_id": business_account_id,
    }


def taken(platform: Platform, external_id: str) -> PermanentError:
    return PermanentError(
        f"{platform} account {external_id} is connected to another tenant: disconnect it there first"
    )


def stop_account(connection: Connection, account: Account, reason: str) -> None:
    """Its token is no longer accepted: all its work waits, and people are told once, until it is reconnected.

    ``account`` as it was when the call was made: a refusal of an older token stops nothing.
    """
    stopped = connection.execute(
        """
        UPDATE accounts SET status = 'needs_reconnect', status_reason = %s
         WHERE id = %s AND token_issued_at = %s AND status = 'active'
        """,
        (reason, account.id, account.token_issued_at),
    ).rowcount
    if not stopped:
        return
    notices.tell(
        connection,
        account.tenant_id,
        NoticeKind.NEEDS_RECONNECT,
        f"{account.name} ({account.platform} {account.external_id}) has to be reconnected: {reason}. {how_to_reconnect(account.platform)} "
        "Until then its messages are answered by nobody, and its posts wait.",
        key=f"{account.id}:{account.token_issued_at.timestamp()}",
        account_id=account.id,
    )


def how_to_reconnect(platform: Platform) -> str:
    """What a person does about a token that has ended, as a sentence."""
    if platform is Platform.WHATSAPP:
        return "Create a new system-user token in Meta Business Suite and send it to POST /api/v1/accounts."
    login = "instagram" if platform is Platform.INSTAGRAM else "facebook"
    return f"Log in again: GET /api/oauth/{login}/start says where."


def load_account(connection: Connection, cipher: TokenCipher, account_id: UUID) -> Account:
    """The account with its token decrypted.

    Raises:
        PermanentError: it is not there (or not in this transaction's tenants), or its token does not decrypt.
    """
    row = connection.execute(
        """
        SELECT id, tenant_id, platform, external_id, name, instructions, status, token, token_issued_at,
               token_expires_at, business_account_id FROM accounts WHERE id = %s
        """,
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
