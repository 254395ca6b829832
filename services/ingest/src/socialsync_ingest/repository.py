"""SQL of the conversations that the ingest workers answer."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from socialsync_common.contracts import Identity, IdentityKind
from socialsync_common.db import Connection
from socialsync_ingest.schemas import Conversation, Message

HISTORY_MESSAGES = 30

_MESSAGE_COLUMNS = "id, platform_message_id, direction, author, kind, text, attachments, sent_at, received_at"


def tenant_of(connection: Connection, conversation_id: UUID) -> UUID | None:
    row = connection.execute("SELECT conversation_tenant(%s) AS tenant", (conversation_id,)).fetchone()
    return row["tenant"] if row else None


def tenant_of_send(connection: Connection, send_id: UUID) -> UUID | None:
    row = connection.execute("SELECT outbox_tenant(%s) AS tenant", (send_id,)).fetchone()
    return row["tenant"] if row else None


def load_conversation(
    connection: Connection, conversation_id: UUID, *, lock: bool = False
) -> Conversation | None:
    """The conversation with its contact; ``lock`` makes others who decide about it wait."""
    query = (
        "SELECT id, tenant_id, account_id, handler, handler_since, failures FROM conversations WHERE id = %s"
    )
    row = connection.execute(query + " FOR NO KEY UPDATE" if lock else query, (conversation_id,)).fetchone()
    if row is None:
        return None
    identities = connection.execute(
        "SELECT kind, value FROM contact_identities WHERE contact_id = %s", (conversation_id,)
    ).fetchall()
    return Conversation(**row, recipient=_best_recipient(identities))


def _best_recipient(rows: list[dict[str, Any]]) -> Identity | None:
    """Whom to send to: a phone number where there is one, since every API version takes it."""
    order = list(IdentityKind)
    identities = sorted(
        (Identity(IdentityKind(row["kind"]), row["value"]) for row in rows),
        key=lambda one: order.index(one.kind),
    )
    return identities[0] if identities else None


def awaiting_messages(connection: Connection, conversation_id: UUID) -> list[Message]:
    """Messages that wait for a reply, oldest first."""
    rows = connection.execute(
        f"SELECT {_MESSAGE_COLUMNS} FROM messages WHERE conversation_id = %s AND awaiting_reply ORDER BY sent_at, id",  # noqa: S608
        (conversation_id,),
    ).fetchall()
    return [Message(**row) for row in rows]


def history(connection: Connection, conversation_id: UUID) -> list[Message]:
    """The latest messages that do not wait any more, oldest first; revoked ones are forgotten."""
    rows = connection.execute(
        f"""
        SELECT {_MESSAGE_COLUMNS} FROM messages
         WHERE conversation_id = %s AND NOT awaiting_reply AND revoked_at IS NULL
         ORDER BY id DESC LIMIT %s
        """,  # noqa: S608
        (conversation_id, HISTORY_MESSAGES),
    ).fetchall()
    return [Message(**row) for row in reversed(rows)]


def last_inbound_at(connection: Connection, conversation_id: UUID) -> Any:
    """The platform's time of the contact's last message: what the messaging window counts from."""
    row = connection.execute(
        "SELECT max(sent_at) AS at FROM messages WHERE conversation_id = %s AND direction = 'in'",
        (conversation_id,),
    ).fetchone()
    return row["at"] if row else None


def mark_answered(
    connection: Connection, conversation_id: UUID, message_ids: list[int], batch_id: UUID
) -> None:
    connection.execute(
        """
        UPDATE messages SET awaiting_reply = false, batch_id = %s
         WHERE conversation_id = %s AND id = ANY (%s) AND awaiting_reply
        """,
        (batch_id, conversation_id, message_ids),
    )


def mark_skipped(connection: Connection, conversation_id: UUID, message_ids: list[int], reason: str) -> None:
    connection.execute(
        """
        UPDATE messages SET awaiting_reply = false, skip_reason = %s
         WHERE conversation_id = %s AND id = ANY (%s) AND awaiting_reply
        """,
        (reason, conversation_id, message_ids),
    )


def reopen_batch(connection: Connection, conversation_id: UUID, batch_id: UUID) -> None:
    """A reply that did not leave: its messages wait again, but for those revoked meanwhile."""
    connection.execute(
        """
        UPDATE messages SET awaiting_reply = true, batch_id = NULL
         WHERE conversation_id = %s AND batch_id = %s AND direction = 'in' AND revoked_at IS NULL
        """,
        (conversation_id, batch_id),
    )


def batch_messages(connection: Connection, conversation_id: UUID, batch_id: UUID) -> list[dict[str, Any]]:
    """The inbound messages that a reply answers: received_at, edited_at, revoked_at."""
    return connection.execute(
        """
        SELECT received_at, edited_at, revoked_at FROM messages
         WHERE conversation_id = %s AND batch_id = %s AND direction = 'in'
        """,
        (conversation_id, batch_id),
    ).fetchall()


def settle(connection: Connection, conversation_id: UUID) -> None:
    """An attempt ended with a decision: forget earlier failures."""
    connection.execute(
        "UPDATE conversations SET failures = 0, retry_at = NULL, last_message_at = now() WHERE id = %s",
        (conversation_id,),
    )


def postpone(connection: Connection, conversation_id: UUID, seconds: float, *, failed: bool) -> None:
    """Nobody answers before then; the sweep finds the conversation again."""
    connection.execute(
        """
        UPDATE conversations SET retry_at = now() + make_interval(secs => %s), failures = failures + %s WHERE id = %s
        """,
        (seconds, int(failed), conversation_id),
    )


def hand_to_person(connection: Connection, conversation_id: UUID, reason: str) -> None:
    connection.execute(
        """
        UPDATE conversations SET handler = 'person', handler_reason = %s, handler_since = now()
         WHERE id = %s AND handler = 'ai'
        """,
        (reason, conversation_id),
    )


def count_tokens(
    connection: Connection, tenant_id: UUID, account_id: UUID, input_tokens: int, output_tokens: int
) -> None:
    connection.execute(
        """
        INSERT INTO usage (tenant_id, account_id, month, kind, count)
        SELECT %(tenant)s, %(account)s, date_trunc('month', now() AT TIME ZONE 'UTC')::date, kind, n
          FROM (VALUES ('input_tokens', %(input)s::bigint), ('output_tokens', %(output)s::bigint)) AS t(kind, n) WHERE n > 0
        ON CONFLICT (account_id, month, kind) DO UPDATE SET count = usage.count + EXCLUDED.count
        """,
        {"tenant": tenant_id, "account": account_id, "input": input_tokens, "output": output_tokens},
    )


def unanswered(
    connection: Connection, older_than_seconds: float, after: UUID, limit: int
) -> list[dict[str, Any]]:
    """Conversations of all tenants with waiting messages: platform, account_id, contact_id."""
    return connection.execute(
        "SELECT platform, account_id, contact_id FROM unanswered_conversations(make_interval(secs => %s), %s, %s)",
        (older_than_seconds, after, limit),
    ).fetchall()


def open_sends(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """Sends of all tenants that nobody works on: send_id, status."""
    return connection.execute("SELECT send_id, status FROM open_sends(%s)", (limit,)).fetchall()


def conversation_of_send(connection: Connection, send_id: UUID) -> UUID | None:
    row = connection.execute("SELECT conversation_id FROM outbox WHERE id = %s", (send_id,)).fetchone()
    return row["conversation_id"] if row else None
