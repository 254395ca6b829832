"""SQL of the care for accounts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from socialsync_common.accounts import Account
from socialsync_common.contracts import NoticeKind
from socialsync_common.db import Connection, Row


@dataclass(frozen=True, slots=True)
class Stored:
    """What is looked after beside the account's open form."""

    sealed: bytes = field(repr=False)
    subscribed: bool | None


def claim_accounts(connection: Connection, every: timedelta, max_rows: int) -> list[Row]:
    """Accounts that nobody has looked after for ``every``, each given out once in that time."""
    return connection.execute(
        "SELECT account_id, tenant_id FROM accounts_to_care_for(%s, %s)", (every, max_rows)
    ).fetchall()


def try_lock(connection: Connection, account_id: UUID) -> bool:
    """Until the end of the transaction; False where another one has it."""
    row = connection.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended('care for ' || %s, 0)) AS locked",
        (str(account_id),),
    ).fetchone()
    return bool(row and row["locked"])


def look(connection: Connection, account_id: UUID) -> Stored | None:
    row = connection.execute("SELECT token, subscribed FROM accounts WHERE id = %s", (account_id,)).fetchone()
    return Stored(bytes(row["token"]), row["subscribed"]) if row else None


def save_token(
    connection: Connection, account: Account, sealed: bytes, issued_at: datetime, expires_at: datetime
) -> bool:
    """Replace the token that ``account`` has; False where it has another one by now."""
    return bool(
        connection.execute(
            """
            UPDATE accounts SET token = %s, token_issued_at = %s, token_expires_at = %s
             WHERE id = %s AND token_issued_at = %s AND status = 'active'
            """,
            (sealed, issued_at, expires_at, account.id, account.token_issued_at),
        ).rowcount
    )


def reseal(connection: Connection, account_id: UUID, old: bytes, new: bytes) -> bool:
    """Replace the same token under another key; False where it is another token by now."""
    return bool(
        connection.execute(
            "UPDATE accounts SET token = %s WHERE id = %s AND token = %s", (new, account_id, old)
        ).rowcount
    )


def look_again(connection: Connection, accounts: Iterable[UUID]) -> None:
    """Let the next tick give them out."""
    connection.execute("UPDATE accounts SET checked_at = NULL WHERE id = ANY (%s)", (list(accounts),))


def mark_subscribed(connection: Connection, account_id: UUID, *, subscribed: bool) -> None:
    connection.execute(
        "UPDATE accounts SET subscribed = %s WHERE id = %s AND subscribed IS DISTINCT FROM %s",
        (subscribed, account_id, subscribed),
    )


def settle(connection: Connection, account_id: UUID, kind: NoticeKind) -> None:
    """What was told of this kind is over."""
    connection.execute(
        "UPDATE notices SET resolved_at = now() WHERE account_id = %s AND kind = %s AND resolved_at IS NULL",
        (account_id, kind),
    )
