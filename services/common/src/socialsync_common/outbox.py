"""The outbox: every text that leaves for a contact is a row here before the call is made.

``pending → sending → sent | retry | failed | unknown``, and ``superseded`` where it must not leave any more.
Only what proves non-acceptance leads to ``retry``. ``unknown`` is reconciled by a status webhook or an echo,
or settled by a person; it is never sent again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import NAMESPACE_OID, UUID, uuid5

import orjson

from socialsync_common.db import Connection

RECONCILE_SECONDS = 60

# Rows {send, mid}: the platform has it. Runs in the worker after the call, and in the gateway when a webhook
# proves it first; whoever comes second changes nothing.
RECORD_SENT = """
WITH item AS (
  SELECT * FROM json_to_recordset(%s::json) AS t(send uuid, mid text)
), done AS (
  UPDATE outbox o SET status = 'sent', platform_message_id = item.mid, due_at = NULL, reason = NULL, updated_at = now()
    FROM item WHERE o.id = item.send AND o.status IN ('sending', 'unknown', 'retry')
  RETURNING o.*
), message AS (
  INSERT INTO messages (conversation_id, tenant_id, account_id, direction, author, platform_message_id, kind, text,
                        sent_at, awaiting_reply, batch_id, status)
  SELECT conversation_id, tenant_id, account_id, 'out', author, platform_message_id, 'text', text,
         now(), false, batch_id, 'sent' FROM done
  ON CONFLICT (account_id, platform_message_id) DO NOTHING
), counted AS (
  INSERT INTO usage (tenant_id, account_id, month, kind, count)
  SELECT tenant_id, account_id, date_trunc('month', now() AT TIME ZONE 'UTC')::date, kind, sum(n)
    FROM (SELECT tenant_id, account_id, 'service_messages' AS kind, 1 AS n FROM done
          UNION ALL SELECT tenant_id, account_id, 'ai_replies', 1 FROM done WHERE author = 'ai' AND part = 1) AS each
   GROUP BY tenant_id, account_id, kind ORDER BY account_id, kind
  ON CONFLICT (account_id, month, kind) DO UPDATE SET count = usage.count + EXCLUDED.count
), bumped AS (
  UPDATE conversations c SET last_message_at = now() FROM done WHERE c.id = done.conversation_id
)
SELECT id, conversation_id FROM done
"""


@dataclass(frozen=True, slots=True)
class Send:
    """One claimed send: exactly this text, to this conversation's contact."""

    id: UUID
    conversation_id: UUID
    batch_id: UUID
    part: int
    author: str
    text: str
    attempt: int
    created_at: datetime


def send_id(batch_id: UUID, part: int) -> UUID:
    """The id of a batch's ``part``; also what the platform is asked to give back in its status webhooks."""
    return uuid5(NAMESPACE_OID, f"{batch_id}:{part}")


def create(
    connection: Connection,
    *,
    tenant_id: UUID,
    account_id: UUID,
    conversation_id: UUID,
    batch_id: UUID,
    parts: Sequence[str],
    author: str,
    model: str | None,
) -> None:
    """Write a reply's sends, parts from 1. A batch that is there already stays as it is."""
    for part, text in enumerate(parts, start=1):
        connection.execute(
            """
            INSERT INTO outbox (id, tenant_id, account_id, conversation_id, batch_id, part, author, text, model)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (batch_id, part) DO NOTHING
            """,
            (
                send_id(batch_id, part),
                tenant_id,
                account_id,
                conversation_id,
                batch_id,
                part,
                author,
                text,
                model,
            ),
        )


def next_send(connection: Connection, conversation_id: UUID) -> Send | None:
    """The send that comes next in a conversation, if it may leave now; the caller holds the conversation's lock.

    Texts leave in order: while one is being sent, or nobody knows whether it was, the ones after it wait.
    """
    row = connection.execute(
        """
        SELECT id, conversation_id, batch_id, part, author, text, attempt, created_at, status,
               status = 'pending' OR (status = 'retry' AND due_at <= now()) AS ready
          FROM outbox
         WHERE conversation_id = %s AND status IN ('pending', 'sending', 'retry', 'unknown')
         ORDER BY created_at, part LIMIT 1
        """,
        (conversation_id,),
    ).fetchone()
    if row is None or not row.pop("ready"):
        return None
    row.pop("status")
    return Send(**row)


def mark_sending(connection: Connection, send: Send, lease_seconds: float) -> None:
    """Committed before the call, which takes less than the lease. A crash from here on leaves a lease that runs out into ``unknown``."""
    connection.execute(
        """
        UPDATE outbox SET status = 'sending', attempt = attempt + 1, updated_at = now(),
               due_at = now() + make_interval(secs => %s) WHERE id = %s
        """,
        (lease_seconds, send.id),
    )


def record_sent(connection: Connection, send: UUID, platform_message_id: str) -> None:
    connection.execute(RECORD_SENT, (orjson.dumps([{"send": send, "mid": platform_message_id}]).decode(),))


def record_retry(connection: Connection, send: UUID, seconds: float, reason: str) -> None:
    """It was not accepted, which is proven: the same text may leave again in ``seconds``."""
    connection.execute(
        """
        UPDATE outbox SET status = 'retry', due_at = now() + make_interval(secs => %s), reason = %s, updated_at = now()
         WHERE id = %s AND status = 'sending'
        """,
        (seconds, reason, send),
    )


def record_failed(connection: Connection, send: UUID, reason: str) -> None:
    """It was refused for good, and so are the parts after it."""
    connection.execute(
        """
        UPDATE outbox o SET status = 'failed', reason = %s, due_at = NULL, updated_at = now()
          FROM outbox this
         WHERE this.id = %s AND o.batch_id = this.batch_id AND o.part >= this.part
           AND o.status IN ('pending', 'sending', 'retry', 'unknown')
        """,
        (reason, send),
    )


def record_unknown(connection: Connection, send: UUID, reason: str) -> None:
    """It may have been accepted: wait for a webhook to tell, then for a person."""
    connection.execute(
        """
        UPDATE outbox SET status = 'unknown', due_at = now() + make_interval(secs => %s), reason = %s, updated_at = now()
         WHERE id = %s AND status = 'sending'
        """,
        (RECONCILE_SECONDS, reason, send),
    )


def supersede(connection: Connection, batch_id: UUID, reason: str) -> None:
    """What has not left of a batch does not leave any more."""
    connection.execute(
        """
        UPDATE outbox SET status = 'superseded', reason = %s, due_at = NULL, updated_at = now()
         WHERE batch_id = %s AND status IN ('pending', 'retry')
        """,
        (reason, batch_id),
    )


def expire_lease(connection: Connection, send: UUID) -> bool:
    """A send whose worker is gone: nobody knows whether it left. False where somebody was faster."""
    cursor = connection.execute(
        """
        UPDATE outbox SET status = 'unknown', due_at = now() + make_interval(secs => %s), updated_at = now(),
               reason = 'the worker stopped while sending' WHERE id = %s AND status = 'sending' AND due_at < now()
        """,
        (RECONCILE_SECONDS, send),
    )
    return cursor.rowcount > 0


def give_to_person(connection: Connection, send: UUID) -> bool:
    """No webhook has told what became of it: show the conversation to a person. The row stays ``unknown``."""
    row = connection.execute(
        """
        UPDATE outbox SET due_at = 'infinity', updated_at = now()
         WHERE id = %s AND status = 'unknown' AND due_at < now() RETURNING conversation_id
        """,
        (send,),
    ).fetchone()
    if row is None:
        return False
    connection.execute(
        """
        UPDATE conversations SET handler = 'person', handler_since = now(),
               handler_reason = 'nobody knows whether the last reply arrived: check the conversation'
         WHERE id = %s AND handler = 'ai'
        """,
        (row["conversation_id"],),
    )
    return True
