"""SQL of the API. Every statement also names its tenant through row-level security."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import orjson

from socialsync_common.db import Row
from socialsync_common.outbox import RECORD_SENT, send_id
from socialsync_gateway.accounts.repository import ACCOUNT_COLUMNS
from socialsync_gateway.database import Connection

OPEN_SENDS_AT_MOST = 200
PREVIEW_CHARACTERS = 200

_SEND = """
o.id, o.conversation_id, o.part, o.author, o.text, o.status, o.reason, o.attempt,
CASE WHEN o.status = 'retry' THEN o.due_at END AS retry_at, o.created_at, o.updated_at
"""

_CONVERSATION = f"""
SELECT c.id, c.account_id, c.handler, c.handler_reason, c.handler_since, c.last_message_at AS last_activity_at,
       json_build_object('id', k.id, 'name', k.name) AS contact,
       json_build_object('id', a.id, 'name', a.name, 'platform', a.platform) AS account,
       last.message AS last_message,
       EXISTS (SELECT FROM messages m WHERE m.conversation_id = c.id AND m.awaiting_reply) AS awaiting_reply,
       EXISTS (SELECT FROM outbox o
                WHERE o.conversation_id = c.id AND (o.status = 'unknown' OR o.status = 'failed' AND NOT EXISTS (
                  SELECT FROM messages m WHERE m.conversation_id = c.id AND m.direction = 'out'
                     AND m.received_at > o.updated_at))) AS needs_check
  FROM conversations c
  JOIN contacts k ON k.id = c.id
  JOIN accounts a ON a.id = c.account_id
  LEFT JOIN LATERAL (
    SELECT json_build_object(
             'direction', m.direction, 'author', m.author, 'kind', m.kind, 'sent_at', m.sent_at,
             'revoked', m.revoked_at IS NOT NULL,
             'text', CASE WHEN m.revoked_at IS NULL THEN left(m.text, {PREVIEW_CHARACTERS}) END) AS message
      FROM messages m WHERE m.conversation_id = c.id ORDER BY m.id DESC LIMIT 1) last ON true
"""  # noqa: S608


async def list_accounts(
    connection: Connection, tenant: UUID, after: tuple[str, UUID] | None, limit: int
) -> list[Row]:
    """Accounts by name, from after (name, id)."""
    name, account = after or (None, None)
    start = " AND (name, id) > (%(name)s::text, %(account)s::uuid)" if after else ""
    return await _all(
        connection,
        f"""
        SELECT {ACCOUNT_COLUMNS} FROM accounts
         WHERE tenant_id = %(tenant)s{start}
         ORDER BY name, id LIMIT %(limit)s
        """,  # noqa: S608
        {"tenant": tenant, "name": name, "account": account, "limit": limit},
    )


async def account_exists(connection: Connection, account: UUID) -> bool:
    return bool(await _all(connection, "SELECT 1 FROM accounts WHERE id = %s", (account,)))


async def list_conversations(
    connection: Connection,
    tenant: UUID,
    *,
    handler: str | None,
    account: UUID | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    """Conversations, newest activity first, from after (last_activity_at, id)."""
    at, conversation = after or (None, None)
    conditions = ["c.tenant_id = %(tenant)s"]
    if handler:
        conditions.append("c.handler = %(handler)s")
    if account:
        conditions.append("c.account_id = %(account)s")
    if after:
        conditions.append("c.last_message_at <= %(at)s AND (c.last_message_at < %(at)s OR c.id > %(id)s)")
    return await _all(
        connection,
        f"""
        {_CONVERSATION} WHERE {" AND ".join(conditions)}
         ORDER BY c.last_message_at DESC, c.id LIMIT %(limit)s
        """,
        {
            "tenant": tenant,
            "handler": handler,
            "account": account,
            "at": at,
            "id": conversation,
            "limit": limit,
        },
    )


async def get_conversation(connection: Connection, conversation: UUID) -> Row | None:
    return await _one(connection, _CONVERSATION + " WHERE c.id = %s", (conversation,))


async def conversation_exists(connection: Connection, conversation: UUID) -> bool:
    return bool(await _all(connection, "SELECT 1 FROM conversations WHERE id = %s", (conversation,)))


async def list_messages(
    connection: Connection, conversation: UUID, before: int | None, limit: int
) -> list[Row]:
    """Messages, newest first, from before an id; revoked ones without their content."""
    start = " AND id < %(before)s" if before is not None else ""
    return await _all(
        connection,
        f"""
        SELECT id, direction, author, kind, sent_at, received_at, awaiting_reply, skip_reason, status, error,
               edited_at, revoked_at IS NOT NULL AS revoked,
               CASE WHEN revoked_at IS NULL THEN text END AS text,
               CASE WHEN revoked_at IS NULL THEN attachments END AS attachments
          FROM messages
         WHERE conversation_id = %(conversation)s{start}
         ORDER BY id DESC LIMIT %(limit)s
        """,  # noqa: S608
        {"conversation": conversation, "before": before, "limit": limit},
    )


async def list_open_sends(connection: Connection, conversation: UUID) -> list[Row]:
    """Sends that are on their way, failed, or of unknown outcome; newest first."""
    return await _all(
        connection,
        f"""
        SELECT {_SEND} FROM outbox o
         WHERE o.conversation_id = %s AND o.status IN ('pending', 'sending', 'retry', 'unknown', 'failed')
         ORDER BY o.created_at DESC, o.part DESC LIMIT %s
        """,  # noqa: S608
        (conversation, OPEN_SENDS_AT_MOST),
    )


async def lock_conversation(connection: Connection, conversation: UUID) -> Row | None:
    """What decisions about a conversation look at; others who decide about it wait until the commit.

    Columns: id, tenant_id, account_id, handler, platform, account_status, reachable, last_inbound_at.
    """
    # not FOR UPDATE, which would make webhooks wait that only insert messages
    locked = await _one(
        connection, "SELECT id FROM conversations WHERE id = %s FOR NO KEY UPDATE", (conversation,)
    )
    if locked is None:
        return None
    return await _one(
        connection,
        """
        SELECT c.id, c.tenant_id, c.account_id, c.handler, a.platform, a.status AS account_status,
               EXISTS (SELECT FROM contact_identities i WHERE i.contact_id = c.id) AS reachable,
               (SELECT max(m.sent_at) FROM messages m
                 WHERE m.conversation_id = c.id AND m.direction = 'in') AS last_inbound_at
          FROM conversations c JOIN accounts a ON a.id = c.account_id WHERE c.id = %s
        """,
        (conversation,),
    )


async def sends_of_batch(connection: Connection, batch_id: UUID) -> list[Row]:
    return await _all(
        connection,
        f"SELECT {_SEND} FROM outbox o WHERE o.batch_id = %s ORDER BY o.part",  # noqa: S608
        (batch_id,),
    )


async def insert_person_sends(
    connection: Connection, conversation: Row, batch_id: UUID, parts: Sequence[str]
) -> bool:
    """Write an answer's sends, parts from 1; False where another transaction took the batch id first."""
    cursor = await connection.execute(
        """
        INSERT INTO outbox (id, tenant_id, account_id, conversation_id, batch_id, part, author, text)
        SELECT t.id, %s, %s, %s, %s, t.part, 'person', t.text
          FROM unnest(%s::uuid[], %s::text[]) WITH ORDINALITY AS t(id, text, part)
        ON CONFLICT DO NOTHING
        """,
        (
            conversation["tenant_id"],
            conversation["account_id"],
            conversation["id"],
            batch_id,
            [send_id(batch_id, part) for part in range(1, len(parts) + 1)],
            list(parts),
        ),
    )
    return cursor.rowcount == len(parts)


async def mark_answered(
    connection: Connection, conversation: UUID, batch_id: UUID, held_reasons: Sequence[str]
) -> None:
    """What waits, and what was held for a person since the last outbound message, is answered by this batch."""
    await connection.execute(
        """
        UPDATE messages SET awaiting_reply = false, skip_reason = NULL, batch_id = %(batch)s
         WHERE conversation_id = %(conversation)s AND direction = 'in'
           AND (awaiting_reply OR skip_reason = ANY (%(held)s) AND id > coalesce(
             (SELECT max(id) FROM messages WHERE conversation_id = %(conversation)s AND direction = 'out'), 0))
        """,
        {"batch": batch_id, "conversation": conversation, "held": list(held_reasons)},
    )


async def give_to_person(connection: Connection, conversation: UUID, reason: str) -> None:
    await connection.execute(
        """
        UPDATE conversations SET handler = 'person', handler_reason = %s, handler_since = now()
         WHERE id = %s AND handler = 'ai'
        """,
        (reason, conversation),
    )


async def withdraw_ai(connection: Connection, conversation: UUID, reason: str) -> None:
    """What the AI has not sent does not leave any more, and what it would have answered is held for a person."""
    await connection.execute(
        """
        WITH withdrawn AS (
          UPDATE outbox SET status = 'superseded', reason = %(reason)s, due_at = NULL, updated_at = now()
           WHERE conversation_id = %(conversation)s AND author = 'ai' AND status IN ('pending', 'retry')
          RETURNING batch_id, part
        )
        UPDATE messages SET awaiting_reply = false, skip_reason = %(reason)s, batch_id = NULL
         WHERE conversation_id = %(conversation)s AND direction = 'in'
           AND (awaiting_reply OR revoked_at IS NULL AND batch_id IN (SELECT batch_id FROM withdrawn WHERE part = 1))
        """,
        {"reason": reason, "conversation": conversation},
    )


async def give_to_ai(
    connection: Connection, conversation: UUID, reason: str | None, held_reasons: Sequence[str]
) -> None:
    """The AI answers from now on, also what was held for a person since the last outbound message."""
    await connection.execute(
        """
        UPDATE conversations SET handler = 'ai', handler_reason = %s, handler_since = now(), failures = 0, retry_at = NULL
         WHERE id = %s AND handler = 'person'
        """,
        (reason, conversation),
    )
    await connection.execute(
        """
        UPDATE messages SET awaiting_reply = true, skip_reason = NULL, batch_id = NULL
         WHERE conversation_id = %(conversation)s AND direction = 'in' AND revoked_at IS NULL
           AND (skip_reason = ANY (%(held)s) OR batch_id IN (
             SELECT batch_id FROM outbox WHERE conversation_id = %(conversation)s AND part = 1
                AND status = 'superseded' AND reason = ANY (%(held)s)))
           AND id > coalesce(
             (SELECT max(id) FROM messages WHERE conversation_id = %(conversation)s AND direction = 'out'), 0)
        """,
        {"conversation": conversation, "held": list(held_reasons)},
    )


async def anything_waits(connection: Connection, conversation: UUID) -> bool:
    query = "SELECT 1 FROM messages WHERE conversation_id = %s AND awaiting_reply LIMIT 1"
    return bool(await _all(connection, query, (conversation,)))


async def get_send(connection: Connection, send: UUID, *, lock: bool = False) -> Row | None:
    query = f"SELECT {_SEND} FROM outbox o WHERE o.id = %s"  # noqa: S608
    return await _one(connection, query + " FOR NO KEY UPDATE" if lock else query, (send,))


async def settle_sent(connection: Connection, send: UUID, platform_message_id: str) -> None:
    """A person saw it on the platform: it becomes a message, and counts as one."""
    row = {"send": send, "mid": platform_message_id}
    await connection.execute(RECORD_SENT, (orjson.dumps([row]).decode(),))


async def settle_not_sent(connection: Connection, send: UUID, reason: str) -> None:
    """It never arrived, and the parts after it do not leave either."""
    await connection.execute(
        """
        UPDATE outbox o SET status = 'failed', reason = %s, due_at = NULL, updated_at = now()
          FROM outbox this
         WHERE this.id = %s AND o.batch_id = this.batch_id AND o.part >= this.part
           AND o.status IN ('pending', 'retry', 'unknown')
        """,
        (reason, send),
    )


async def usage_of_month(
    connection: Connection, tenant: UUID, month: date, kinds: Sequence[str]
) -> list[Row]:
    """One row for each account: its reference, and counts by kind (absent: none)."""
    return await _all(
        connection,
        """
        SELECT json_build_object('id', a.id, 'name', a.name, 'platform', a.platform) AS account, a.platform,
               coalesce(json_object_agg(u.kind, u.count) FILTER (WHERE u.kind = ANY (%(kinds)s)), '{}') AS counts
          FROM accounts a LEFT JOIN usage u ON u.account_id = a.id AND u.month = %(month)s
         WHERE a.tenant_id = %(tenant)s
         GROUP BY a.id ORDER BY a.name, a.id
        """,
        {"tenant": tenant, "month": month, "kinds": list(kinds)},
    )


async def _all(connection: Connection, query: str, parameters: Any) -> list[Row]:
    return await (await connection.execute(query, parameters)).fetchall()


async def _one(connection: Connection, query: str, parameters: Any) -> Row | None:
    return await (await connection.execute(query, parameters)).fetchone()
