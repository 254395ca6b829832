"""SQL of connecting accounts, and of what people are told about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from socialsync_common.accounts import ACCOUNT_TAKEN, SAVE_ACCOUNT
from socialsync_common.db import Row
from socialsync_gateway.database import Connection

ACCOUNT_COLUMNS = """
id, platform, external_id, name, instructions, status, status_reason, created_at, token_expires_at, subscribed,
CASE WHEN quota_read_at IS NOT NULL
     THEN json_build_object('used', quota_used, 'total', quota_total, 'read_at', quota_read_at) END AS quota
"""
_NOTICE = """
SELECT n.id, n.kind, n.message, n.post_id, n.created_at, n.resolved_at,
       CASE WHEN a.id IS NOT NULL
            THEN json_build_object('id', a.id, 'name', a.name, 'platform', a.platform) END AS account
  FROM notices n LEFT JOIN accounts a ON a.id = n.account_id
"""


async def is_taken(connection: Connection, values: Mapping[str, Any]) -> bool:
    """Whether another tenant has it."""
    return await (await connection.execute(ACCOUNT_TAKEN, values)).fetchone() is not None


async def save(connection: Connection, values: Mapping[str, Any]) -> bool:
    """Save an account with its new token; whether it is new. Its subscription is to be looked after.

    Raises:
        psycopg.errors.UniqueViolation: another tenant has it.
    """
    # waits for whoever stops the account at this moment, so that what they tell is seen and settled below
    known = await connection.execute(
        "SELECT 1 FROM accounts WHERE id = %(id)s FOR NO KEY UPDATE", {"id": values["id"]}
    )
    is_new = await known.fetchone() is None
    await connection.execute(SAVE_ACCOUNT, values)
    await connection.execute(
        "UPDATE accounts SET subscribed = false, checked_at = NULL WHERE id = %s", (values["id"],)
    )
    return is_new


async def mark_subscribed(connection: Connection, accounts: Sequence[UUID]) -> None:
    await connection.execute(
        "UPDATE accounts SET subscribed = true, checked_at = now() WHERE id = ANY (%s)", (list(accounts),)
    )
    await connection.execute(
        """
        UPDATE notices SET resolved_at = now()
         WHERE account_id = ANY (%s) AND kind = 'subscription_lost' AND resolved_at IS NULL
        """,
        (list(accounts),),
    )


async def get_accounts(connection: Connection, accounts: Sequence[UUID]) -> list[Row]:
    rows = await connection.execute(
        f"SELECT {ACCOUNT_COLUMNS} FROM accounts WHERE id = ANY (%s) ORDER BY name, id",  # noqa: S608
        (list(accounts),),
    )
    return await rows.fetchall()


async def list_notices(
    connection: Connection,
    tenant: UUID,
    *,
    is_open: bool | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    """Notices, newest first, from after (created_at, id)."""
    at, notice = after or (None, None)
    conditions = ["n.tenant_id = %(tenant)s"]
    if is_open is not None:
        conditions.append(f"n.resolved_at IS {'' if is_open else 'NOT '}NULL")
    if after:
        conditions.append("n.created_at <= %(at)s AND (n.created_at < %(at)s OR n.id > %(id)s)")
    rows = await connection.execute(
        f"{_NOTICE} WHERE {' AND '.join(conditions)} ORDER BY n.created_at DESC, n.id LIMIT %(limit)s",
        {"tenant": tenant, "at": at, "id": notice, "limit": limit},
    )
    return await rows.fetchall()


async def resolve_notice(connection: Connection, notice: UUID) -> Row | None:
    """The notice, resolved now or before."""
    await connection.execute(
        "UPDATE notices SET resolved_at = now() WHERE id = %s AND resolved_at IS NULL", (notice,)
    )
    return await (await connection.execute(_NOTICE + " WHERE n.id = %s", (notice,))).fetchone()
