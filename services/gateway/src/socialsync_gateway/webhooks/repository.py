"""The webhook path's SQL: each statement takes any number of rows as one JSON array, in one round trip.

Rows are sorted before they are locked, so that two gateways that write the same conversations wait rather than
deadlock. Look-ups by identity are LATERAL with LIMIT 1, which leaves the planner only the unique index: joined, it
takes the index by account alone, and reads all contacts of the account for each message. Contact ids are derived from the first identity, so that two gateways that meet a new contact at the
same moment create the same one; an identity that is known already always wins.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson

from socialsync_common.db import Row
from socialsync_common.outbox import RECORD_SENT
from socialsync_gateway.database import Connection

_RESOLVE = "SELECT platform, external_id, account_id, tenant_id FROM resolve_accounts(%s)"

# A person's echo (`out`) pauses the AI, unless it is our own send coming back.
_MESSAGES = """
WITH item AS MATERIALIZED (
  SELECT * FROM json_to_recordset(%s::json) AS t(
    n int, tenant uuid, account uuid, platform text, contact uuid, name text, mid text, kind text, text text,
    attachments jsonb, sent_at float8, direction text, author text, awaiting bool, identities json, raw jsonb)
), resolved AS MATERIALIZED (
  SELECT item.*, coalesce(known.contact_id, item.contact) AS conversation, known.contact_id IS NULL AS fresh
    FROM item LEFT JOIN LATERAL (
      SELECT c.contact_id
        FROM ROWS FROM (json_to_recordset(item.identities) AS (kind text, value text)) WITH ORDINALITY AS i(kind, value, rank)
       CROSS JOIN LATERAL (SELECT ci.contact_id FROM contact_identities ci
                            WHERE ci.account_id = item.account AND ci.kind = i.kind AND ci.value = i.value LIMIT 1) c
       ORDER BY i.rank LIMIT 1) known ON true
), new_contact AS (
  INSERT INTO contacts (id, tenant_id, account_id, name)
  SELECT DISTINCT ON (conversation) conversation, tenant, account, name FROM resolved WHERE fresh ORDER BY conversation
  ON CONFLICT DO NOTHING
), new_identity AS (
  INSERT INTO contact_identities (account_id, kind, value, contact_id, tenant_id)
  SELECT DISTINCT ON (r.account, i.kind, i.value) r.account, i.kind, i.value, r.conversation, r.tenant
    FROM resolved r, json_to_recordset(r.identities) AS i(kind text, value text)
   ORDER BY r.account, i.kind, i.value
  ON CONFLICT DO NOTHING
), new_conversation AS (
  INSERT INTO conversations (id, tenant_id, account_id)
  SELECT DISTINCT ON (conversation) conversation, tenant, account FROM resolved WHERE fresh ORDER BY conversation
  ON CONFLICT DO NOTHING
), inserted AS (
  INSERT INTO messages (conversation_id, tenant_id, account_id, direction, author, platform_message_id, kind, text,
                        attachments, sent_at, awaiting_reply, raw, status)
  SELECT DISTINCT ON (conversation, account, mid) conversation, tenant, account, direction, author, mid, kind, text,
         attachments, to_timestamp(sent_at), awaiting, raw, CASE direction WHEN 'out' THEN 'sent' END
    FROM resolved ORDER BY conversation, account, mid
  ON CONFLICT (account_id, platform_message_id) DO NOTHING
  RETURNING id, account_id, platform_message_id
)
SELECT r.n, r.conversation, coalesce(i.id, m.id) AS id, i.id IS NOT NULL AS inserted,
       i.id IS NOT NULL AND r.awaiting OR coalesce(m.awaiting_reply, false) AS awaiting
  FROM resolved r
  LEFT JOIN inserted i ON i.account_id = r.account AND i.platform_message_id = r.mid
  LEFT JOIN messages m ON m.account_id = r.account AND m.platform_message_id = r.mid
"""

_EVENTS = """
INSERT INTO webhook_events (tenant_id, account_id, platform, kind, action, receiving_id, target_id, reason, raw)
SELECT tenant, account, platform, kind, action, receiving_id, target_id, reason, raw
  FROM json_to_recordset(%s::json) AS t(tenant uuid, account uuid, platform text, kind text, action text,
                                        receiving_id text, target_id text, reason text, raw jsonb)
"""

# Later statuses never move backwards, and only messages that we sent have one.
_STATUSES = """
WITH item AS MATERIALIZED (
  SELECT DISTINCT ON (account, target_id) *,
         array_position(ARRAY['sent', 'delivered', 'read', 'played', 'failed'], status) AS rank
    FROM json_to_recordset(%s::json) AS t(n int, account uuid, target_id text, status text, error jsonb)
   ORDER BY account, target_id, array_position(ARRAY['sent', 'delivered', 'read', 'played', 'failed'], status) DESC
), locked AS (
  SELECT m.conversation_id, m.id, m.status AS old, item.*
    FROM item CROSS JOIN LATERAL (SELECT sent.conversation_id, sent.id, sent.status FROM messages sent
                                   WHERE sent.account_id = item.account AND sent.platform_message_id = item.target_id
                                     AND sent.direction = 'out' LIMIT 1 FOR UPDATE) m
   ORDER BY m.conversation_id, m.id
), updated AS (
  UPDATE messages m SET status = locked.status, error = locked.error
    FROM locked WHERE m.conversation_id = locked.conversation_id AND m.id = locked.id
     AND locked.rank > coalesce(array_position(ARRAY['sent', 'delivered', 'read', 'played', 'failed'], locked.old), 0)
)
SELECT DISTINCT target_id, account FROM locked
"""

# Rows {send, reason}: the platform says that a send failed, perhaps long after it accepted it.
_FAILED = """
UPDATE outbox o SET status = 'failed', reason = t.reason, due_at = NULL, updated_at = now()
  FROM json_to_recordset(%s::json) AS t(send uuid, reason text)
 WHERE o.id = t.send AND o.status IN ('sending', 'unknown', 'sent')
"""

# Is an echo our own send coming back? By its id, or else by its text while the send is still open.
_ECHOES = """
SELECT item.n, m.batch_id IS NOT NULL AS ours, m.id IS NOT NULL AS known, guess.id AS send
  FROM json_to_recordset(%s::json) AS item(n int, account uuid, mid text, text text, identities json)
  LEFT JOIN messages m ON m.account_id = item.account AND m.platform_message_id = item.mid
  LEFT JOIN LATERAL (
    SELECT o.id
      FROM json_to_recordset(item.identities) AS i(kind text, value text)
     CROSS JOIN LATERAL (SELECT ci.contact_id FROM contact_identities ci
                          WHERE ci.account_id = item.account AND ci.kind = i.kind AND ci.value = i.value LIMIT 1) c
      JOIN outbox o ON o.conversation_id = c.contact_id
     WHERE o.status IN ('sending', 'unknown', 'retry') AND o.text = item.text
     ORDER BY o.created_at, o.part LIMIT 1) guess ON m.id IS NULL
"""

# A person answered in these conversations: the AI pauses, and takes back what has not left yet.
_PAUSE = """
WITH paused AS (
  UPDATE conversations SET handler = 'person', handler_since = now(), last_message_at = now(),
         handler_reason = 'a person answered from another app'
   WHERE id = ANY (%(ids)s) AND handler = 'ai'
), answered AS (
  UPDATE messages SET awaiting_reply = false, skip_reason = 'a person answered'
   WHERE conversation_id = ANY (%(ids)s) AND awaiting_reply
)
UPDATE outbox SET status = 'superseded', reason = 'a person answered', due_at = NULL, updated_at = now()
 WHERE conversation_id = ANY (%(ids)s) AND author = 'ai' AND status IN ('pending', 'retry')
"""

# Edits and revokes are applied to the stored message; one that is revoked is not answered.
_CHANGES = """
UPDATE messages m
   SET text = CASE t.kind WHEN 'edit' THEN coalesce(t.text, m.text) ELSE m.text END,
       edited_at = CASE t.kind WHEN 'edit' THEN now() ELSE m.edited_at END,
       revoked_at = CASE t.kind WHEN 'revoke' THEN coalesce(m.revoked_at, now()) ELSE m.revoked_at END,
       awaiting_reply = m.awaiting_reply AND t.kind <> 'revoke',
       skip_reason = CASE WHEN t.kind = 'revoke' AND m.awaiting_reply THEN 'the contact revoked it' ELSE m.skip_reason END
  FROM json_to_recordset(%s::json) AS t(account uuid, target_id text, kind text, text text)
 WHERE m.account_id = t.account AND m.platform_message_id = t.target_id AND m.direction = 'in'
"""

# A contact changed number or id: whoever owns one of the identities owns all of them from now on.
_RELINK = """
WITH item AS MATERIALIZED (
  SELECT t.n, t.tenant, t.account, i.kind, i.value, i.rank
    FROM json_to_recordset(%s::json) AS t(n int, tenant uuid, account uuid, identities json),
         ROWS FROM (json_to_recordset(t.identities) AS (kind text, value text)) WITH ORDINALITY AS i(kind, value, rank)
), owner AS (
  SELECT DISTINCT ON (item.n) item.n, c.contact_id
    FROM item CROSS JOIN LATERAL (SELECT ci.contact_id FROM contact_identities ci
                                   WHERE ci.account_id = item.account AND ci.kind = item.kind
                                     AND ci.value = item.value LIMIT 1) c
   ORDER BY item.n, item.rank DESC
)
INSERT INTO contact_identities (account_id, kind, value, contact_id, tenant_id)
SELECT DISTINCT ON (item.account, item.kind, item.value) item.account, item.kind, item.value, owner.contact_id, item.tenant
  FROM item JOIN owner USING (n) ORDER BY item.account, item.kind, item.value
ON CONFLICT (account_id, kind, value) DO UPDATE SET contact_id = EXCLUDED.contact_id
"""


async def resolve_accounts(connection: Connection, external_ids: list[str]) -> list[Row]:
    """Which connected accounts these ids are: platform, external_id, account_id, tenant_id."""
    return await (await connection.execute(_RESOLVE, (external_ids,))).fetchall()


async def insert_messages(connection: Connection, rows: list[dict[str, Any]]) -> list[Row]:
    """Store messages with their contacts; returns n, conversation, id, inserted, awaiting for each of ``rows``."""
    return await (await connection.execute(_MESSAGES, (_json(rows),))).fetchall()


async def insert_events(connection: Connection, rows: list[dict[str, Any]]) -> None:
    await connection.execute(_EVENTS, (_json(rows),))


async def update_statuses(connection: Connection, rows: list[dict[str, Any]]) -> set[tuple[UUID, str]]:
    """Move our messages' states forward; returns (account, platform message id) of those that are ours."""
    found = await (await connection.execute(_STATUSES, (_json(rows),))).fetchall()
    return {(row["account"], row["target_id"]) for row in found}


async def confirm_sends(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Rows {send, mid}: a webhook proves that the platform has these sends."""
    await connection.execute(RECORD_SENT, (_json(rows),))


async def fail_sends(connection: Connection, rows: list[dict[str, Any]]) -> None:
    await connection.execute(_FAILED, (_json(rows),))


async def match_echoes(connection: Connection, rows: list[dict[str, Any]]) -> list[Row]:
    """For each echo: n, ours (a known send), known (a known message), send (an open send with that text)."""
    return await (await connection.execute(_ECHOES, (_json(rows),))).fetchall()


async def pause_conversations(connection: Connection, ids: list[UUID]) -> None:
    await connection.execute(_PAUSE, {"ids": ids})


async def apply_changes(connection: Connection, rows: list[dict[str, Any]]) -> None:
    await connection.execute(_CHANGES, (_json(rows),))


async def relink_identities(connection: Connection, rows: list[dict[str, Any]]) -> None:
    await connection.execute(_RELINK, (_json(rows),))


def _json(rows: list[dict[str, Any]]) -> str:
    return orjson.dumps(rows).decode()
