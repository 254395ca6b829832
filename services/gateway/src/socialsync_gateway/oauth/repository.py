"""SQL of login states."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from socialsync_gateway.database import Connection


async def insert_state(
    connection: Connection,
    tenant: UUID,
    *,
    state_hash: bytes,
    login: str,
    binding: bytes,
    caller: str,
    expires_at: datetime,
) -> None:
    """Remember a login that has begun; those of the tenant that have run out are forgotten."""
    await connection.execute("DELETE FROM oauth_states WHERE expires_at < now()")
    await connection.execute(
        """
        INSERT INTO oauth_states (hash, tenant_id, platform, binding, caller, expires_at)
        VALUES (%s, %s, %s, %s, %s, %s)
        """,
        (state_hash, tenant, login, binding, caller, expires_at),
    )


async def use_state(
    connection: Connection, state_hash: bytes, login: str, binding: bytes | None, caller: str | None
) -> UUID | None:
    """The tenant of a state, which is used up by this; None where it is not there for whoever asks."""
    found = await connection.execute(
        "SELECT tenant_id FROM use_oauth_state(%s, %s, %s, %s)", (state_hash, login, binding, caller)
    )
    row = await found.fetchone()
    return row["tenant_id"] if row else None
