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

# Is an echo our own send coming back? By its id, or else by its text while the send is still open. `answer`: it is the
# private answer to a comment.
_ECHOES = """
SELECT item.n, m.batch_id IS NOT NULL AS ours, m.id IS NOT NULL AS known, guess.id AS send, private.id AS answer
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
  LEFT JOIN LATERAL (
    SELECT s.id FROM comment_sends s
     WHERE s.account_id = item.account AND s.kind = 'private_reply'
       AND (s.platform_id = item.mid OR (s.status IN ('sending', 'unknown') AND s.text = item.text))
     -- two people may get the same words at the same time; a Page may know one by another id here
     ORDER BY s.platform_id IS NULL,
              s.author_id IN (SELECT value FROM json_to_recordset(item.identities) AS i(value text)) IS NOT TRUE,
              s.created_at LIMIT 1) private ON m.id IS NULL
"""

_CONFIRM_ANSWERS = """
WITH confirmed AS (
  UPDATE comment_sends s SET status = 'sent', platform_id = t.mid, reason = NULL, updated_at = now()
    FROM json_to_recordset(%s::json) AS t(send uuid, mid text)
   WHERE s.id = t.send AND s.status IN ('sending', 'unknown')
  RETURNING s.comment_id
)
UPDATE comments c SET due_at = now() FROM confirmed WHERE c.id = confirmed.comment_id AND c.status IN ('answering', 'person')
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


# A post is known from its first comment on. Comments that were told before stay as they are.
_COMMENTS = """
WITH item AS MATERIALIZED (
  SELECT DISTINCT ON (account, cid) * FROM json_to_recordset(%s::json) AS t(
    n int, tenant uuid, account uuid, post text, cid text, parent text, kind text, author text, name text, text text,
    written_at float8, raw jsonb) ORDER BY account, cid, n
), new_post AS (
  INSERT INTO monitored_posts (tenant_id, account_id, external_id, origin, monitored)
  SELECT DISTINCT ON (i.account, i.post) i.tenant, i.account, i.post, 'seen', false
    FROM item i
   WHERE i.post IS NOT NULL
     AND NOT EXISTS (SELECT FROM monitored_posts p WHERE p.account_id = i.account AND p.external_id = i.post)
   ORDER BY i.account, i.post
  ON CONFLICT (account_id, external_id) DO UPDATE SET external_id = EXCLUDED.external_id  -- so that its id is returned
  RETURNING id, account_id, external_id
), inserted AS (
  INSERT INTO comments (tenant_id, account_id, post_id, external_id, parent_external_id, kind, author_id, author_name,
                        text, source, written_at, raw)
  SELECT i.tenant, i.account, coalesce(p.id, new_post.id), i.cid, i.parent, i.kind, i.author, i.name, i.text, 'webhook',
         to_timestamp(i.written_at), i.raw
    FROM item i
    LEFT JOIN LATERAL (SELECT m.id FROM monitored_posts m
                        WHERE m.account_id = i.account AND m.external_id = i.post LIMIT 1) p ON true
    LEFT JOIN new_post ON new_post.account_id = i.account AND new_post.external_id = i.post
   ORDER BY i.account, i.cid
  ON CONFLICT (account_id, external_id) DO NOTHING
  RETURNING account_id, external_id
)
SELECT item.n FROM item JOIN inserted ON inserted.account_id = item.account AND inserted.external_id = item.cid
"""

# A post that has become quiet is read rarely, or not at all: not so one that gets comments again.
_POLL_SOON = """
WITH quiet AS (
  SELECT p.id FROM monitored_posts p
    JOIN (SELECT DISTINCT account, post FROM json_to_recordset(%s::json) AS t(account uuid, post text)) i
      ON p.account_id = i.account AND p.external_id = i.post
   WHERE p.monitored AND (p.next_poll_at IS NULL OR p.next_poll_at > now() + interval '5 minutes')
   ORDER BY p.id FOR NO KEY UPDATE OF p
)
UPDATE monitored_posts p SET next_poll_at = now() + interval '5 minutes' FROM quiet WHERE p.id = quiet.id
"""

# Facts only: what follows from them is decided by the worker that has the comment, or gets it now.
_COMMENT_CHANGES = """
WITH item AS MATERIALIZED (
  SELECT c.id, t.change, t.text
    FROM json_to_recordset(%s::json) AS t(account uuid, cid text, change text, text text)
    JOIN comments c ON c.account_id = t.account AND c.external_id = t.cid
   ORDER BY c.id FOR NO KEY UPDATE OF c
)
UPDATE comments c
   SET text = CASE WHEN t.change = 'edit' THEN coalesce(t.text, c.text) ELSE c.text END,
       version = c.version + CASE WHEN t.change = 'edit' AND t.text IS DISTINCT FROM c.text THEN 1 ELSE 0 END,
       edited_at = CASE WHEN t.change = 'edit' AND t.text IS DISTINCT FROM c.text THEN now() ELSE c.edited_at END,
       deleted_at = CASE WHEN t.change = 'remove' THEN coalesce(c.deleted_at, now()) ELSE c.deleted_at END,
       hidden = CASE t.change WHEN 'hide' THEN true WHEN 'unhide' THEN false ELSE c.hidden END,
       due_at = CASE WHEN c.status IN ('new', 'review', 'answering') THEN now() ELSE c.due_at END
  FROM item t WHERE c.id = t.id
RETURNING c.due_at IS NOT NULL AS is_due
"""


async def resolve_accounts(connection: Connection, external_ids: list[str]) -> list[Row]:
    """Which connected accounts these ids are: platform, external_id, account_id, tenant_id."""
    return await (await connection.execute(_RESOLVE, (external_ids,))).fetchall()


async def insert_messages(connection: Connection, rows: list[dict[str, Any]]) -> list[Row]:
    """Store messages with their contacts; returns n, conversation, id, inserted, awaiting for each of ``rows``."""
    return await (await connection.execute(_MESSAGES, (_json(rows),))).fetchall()


async def insert_comments(connection: Connection, rows: list[dict[str, Any]]) -> set[int]:
    """Store comments, each once; returns n of those that are new."""
    return {row["n"] for row in await (await connection.execute(_COMMENTS, (_json(rows),))).fetchall()}


async def poll_soon(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Rows {account, post}: posts that got comments."""
    await connection.execute(_POLL_SOON, (_json(rows),))


async def change_comments(connection: Connection, rows: list[dict[str, Any]]) -> bool:
    """Rows {account, cid, change: edit | remove | hide | unhide, text}; whether a worker has to look at one."""
    found = await (await connection.execute(_COMMENT_CHANGES, (_json(rows),))).fetchall()
    return any(row["is_due"] for row in found)


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
    """For each echo: n, ours (a known send), known (a known message), send (an open send with that text), answer
    (the private answer to a comment)."""
    return await (await connection.execute(_ECHOES, (_json(rows),))).fetchall()


async def confirm_answers(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Rows {send, mid}: an echo proves that the platform has these private answers to comments."""
    await connection.execute(_CONFIRM_ANSWERS, (_json(rows),))


async def pause_conversations(connection: Connection, ids: list[UUID]) -> None:
    await connection.execute(_PAUSE, {"ids": ids})


async def apply_changes(connection: Connection, rows: list[dict[str, Any]]) -> None:
    await connection.execute(_CHANGES, (_json(rows),))


async def relink_identities(connection: Connection, rows: list[dict[str, Any]]) -> None:
    await connection.execute(_RELINK, (_json(rows),))


def _json(rows: list[dict[str, Any]]) -> str:
    return orjson.dumps(rows).decode()
