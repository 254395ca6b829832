"""SQL of posts. Every statement also names its tenant through row-level security.

Locks are taken in one order: the post's name, its targets, its accounts' names. A worker that settles a target locks
the target and then the post, so that a post is written only while its targets are locked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from socialsync_common.contracts import Platform
from socialsync_common.db import Row
from socialsync_gateway.database import Connection
from socialsync_gateway.posts.decide import TAKEN_OFF, target_of
from socialsync_gateway.posts.model import Attachment, Channel, File, Target, Wanted
from socialsync_gateway.posts.quota import OwnPost

_POSTS = """
SELECT p.id, p.kind, p.text, p.first_comment, p.due_at, p.zone, p.status, p.created_at, p.updated_at
  FROM scheduled_posts p
"""
# of many posts at once; rows are faster to make and to read than JSON of the same
_FILES = """
SELECT pm.post_id, m.id, pm.alt_text, m.kind, m.mime_type, m.width, m.height, m.duration_seconds, m.name
  FROM post_media pm JOIN media m ON m.id = pm.media_id
 WHERE pm.post_id = ANY (%s) ORDER BY pm.post_id, pm.position
"""
_TARGETS = """
SELECT t.post_id, t.id, t.account_id, a.name AS account_name, a.platform, t.status, t.phase, t.due_at, t.published_at,
       t.permalink, t.media_id, t.attempt, CASE WHEN t.status = 'queued' AND t.attempt > 0 THEN t.next_at END AS retry_at,
       t.comment_status, t.warning, t.reason
  FROM post_targets t JOIN accounts a ON a.id = t.account_id
 WHERE t.post_id = ANY (%s) ORDER BY a.name, t.id
"""
_RELEASED = "lease_token = NULL, lease_until = NULL, updated_at = now()"
# a worker that still has it finds its lease gone, and what it prepared is forgotten
_RESET = f"""
phase = NULL, container_ids = '{{}}', container_at = NULL, attempt = 0, checked = 0, warning = NULL, reason = NULL,
{_RELEASED}
"""


@dataclass(frozen=True, slots=True)
class Written:
    """A target that was written; ``is_due``: a worker has to look at it now."""

    id: UUID
    is_due: bool


async def lock_names(connection: Connection, what: str, ids: Iterable[UUID]) -> None:
    """Let nobody else who asks for these names go on until this transaction ends."""
    await connection.execute(
        """
        SELECT pg_advisory_xact_lock(name) FROM (
          SELECT DISTINCT hashtextextended(%s || id, 0) AS name FROM unnest(%s::text[]) AS id ORDER BY name) AS names
        """,
        (f"{what}:", [str(each) for each in ids]),
    )


async def lock_targets(connection: Connection, post: UUID) -> list[Target]:
    """Workers that settle one of them wait until the commit."""
    rows = await _all(
        connection,
        """
        SELECT t.id, t.account_id, a.name AS account_name, t.status, t.phase
          FROM post_targets t JOIN accounts a ON a.id = t.account_id
         WHERE t.post_id = %s ORDER BY t.id FOR UPDATE OF t
        """,
        (post,),
    )
    return [Target(**row) for row in rows]


async def request_hash_of(connection: Connection, post: UUID) -> bytes | None:
    row = await _one(connection, "SELECT request_hash FROM scheduled_posts WHERE id = %s", (post,))
    return bytes(row["request_hash"]) if row else None


async def get_post(connection: Connection, post: UUID) -> Row | None:
    posts = await _posts(connection, "p.id = %(post)s", {"post": post, "limit": 1})
    return posts[0] if posts else None


async def list_posts(
    connection: Connection,
    tenant: UUID,
    *,
    status: str | None = None,
    account: UUID | None = None,
    begin: datetime | None = None,
    end: datetime | None = None,
    after: tuple[datetime, UUID] | None = None,
    limit: int,
) -> list[Row]:
    """Posts by their time, from after (due_at, id), due from ``begin`` on and before ``end``."""
    at, post = after or (None, None)
    conditions = ["p.tenant_id = %(tenant)s"]
    if status:
        conditions.append("p.status = %(status)s")
    if account:
        conditions.append(
            "EXISTS (SELECT FROM post_targets t WHERE t.post_id = p.id AND t.account_id = %(account)s)"
        )
    if begin:
        conditions.append("p.due_at >= %(begin)s")
    if end:
        conditions.append("p.due_at < %(end)s")
    if after:
        conditions.append("(p.due_at, p.id) > (%(at)s, %(post)s)")
    parameters = {
        "tenant": tenant,
        "status": status,
        "account": account,
        "begin": begin,
        "end": end,
        "at": at,
        "post": post,
        "limit": limit,
    }
    return await _posts(connection, " AND ".join(conditions), parameters)


async def _posts(connection: Connection, condition: str, parameters: dict[str, Any]) -> list[Row]:
    """Posts with ``media`` and ``targets``: three statements, however many they are."""
    posts = await _all(
        connection,
        f"{_POSTS} WHERE {condition} ORDER BY p.due_at, p.id LIMIT %(limit)s",
        parameters,
    )
    found = {post["id"]: post for post in posts}
    for post in posts:
        post["media"], post["targets"] = [], []
    for row in await _all(connection, _FILES, (list(found),)):
        found[row["post_id"]]["media"].append(row)
    for row in await _all(connection, _TARGETS, (list(found),)):
        row["account"] = {"id": row["account_id"], "name": row["account_name"], "platform": row["platform"]}
        found[row["post_id"]]["targets"].append(row)
    return posts


async def find_files(connection: Connection, ids: Iterable[UUID]) -> dict[UUID, File]:
    rows = await _all(
        connection,
        "SELECT id, kind, mime_type, size, width, height, duration_seconds FROM media WHERE id = ANY (%s)",
        (list(ids),),
    )
    return {row["id"]: File(**row) for row in rows}


async def find_channels(connection: Connection, ids: Iterable[UUID]) -> dict[UUID, Channel]:
    rows = await _all(
        connection,
        """
        SELECT id, name, platform, status, quota_used, quota_total, quota_read_at FROM accounts WHERE id = ANY (%s)
        """,
        (list(ids),),
    )
    return {row["id"]: Channel(**{**row, "platform": Platform(row["platform"])}) for row in rows}


async def posts_around(
    connection: Connection, accounts: Iterable[UUID], begin: datetime, end: datetime, *, but: UUID
) -> list[OwnPost]:
    """Posts of the accounts that went out, may have, or shall, without those of one post."""
    rows = await _all(
        connection,
        """
        SELECT account_id, coalesce(published_at, due_at) AS at, published_at IS NOT NULL AS is_published
          FROM post_targets
         WHERE account_id = ANY (%s) AND due_at >= %s AND due_at < %s AND post_id <> %s
           AND status IN ('queued', 'publishing', 'published', 'needs_check')
        """,
        (list(accounts), begin, end, but),
    )
    return [OwnPost(**row) for row in rows]


async def insert_post(
    connection: Connection,
    tenant: UUID,
    post: UUID,
    wanted: Wanted,
    due_at: datetime,
    zone: str,
    request_hash: bytes,
) -> None:
    await connection.execute(
        """
        INSERT INTO scheduled_posts (id, tenant_id, kind, text, first_comment, due_at, zone, request_hash)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (post, tenant, wanted.kind, wanted.text, wanted.first_comment, due_at, zone, request_hash),
    )


async def change_post(
    connection: Connection, post: UUID, wanted: Wanted, due_at: datetime, zone: str
) -> None:
    await connection.execute(
        """
        UPDATE scheduled_posts SET text = %s, first_comment = %s, due_at = %s, zone = %s, updated_at = now()
         WHERE id = %s
        """,
        (wanted.text, wanted.first_comment, due_at, zone, post),
    )


async def replace_media(
    connection: Connection, tenant: UUID, post: UUID, media: Sequence[Attachment]
) -> None:
    await connection.execute("DELETE FROM post_media WHERE post_id = %s", (post,))
    if media:
        await connection.execute(
            """
            INSERT INTO post_media (post_id, position, media_id, tenant_id, alt_text)
            SELECT %s, m.position, m.id, %s, m.alt_text
              FROM unnest(%s::uuid[], %s::text[]) WITH ORDINALITY AS m(id, alt_text, position)
            """,
            (post, tenant, [each.id for each in media], [each.alt_text for each in media]),
        )


async def write_targets(
    connection: Connection,
    tenant: UUID,
    post: UUID,
    accounts: Iterable[UUID],
    due_at: datetime,
    lead: timedelta,
) -> list[Written]:
    """Put a post on accounts, also on those that it was taken off."""
    ids = list(accounts)
    rows = await _all(
        connection,
        f"""
        INSERT INTO post_targets (id, tenant_id, post_id, account_id, due_at, next_at)
        SELECT t.id, %(tenant)s, %(post)s, t.account, %(due)s, %(due)s - %(lead)s
          FROM unnest(%(ids)s::uuid[], %(accounts)s::uuid[]) AS t(id, account)
        ON CONFLICT (post_id, account_id) DO UPDATE
          SET status = 'queued', due_at = EXCLUDED.due_at, next_at = EXCLUDED.next_at, {_RESET}
        RETURNING id, next_at <= now() AS is_due
        """,  # noqa: S608
        {
            "tenant": tenant,
            "post": post,
            "due": due_at,
            "lead": lead,
            "ids": [target_of(post, account) for account in ids],
            "accounts": ids,
        },
    )
    return [Written(**row) for row in rows]


async def reset_targets(
    connection: Connection, targets: Iterable[UUID], due_at: datetime | None, lead: timedelta
) -> list[Written]:
    """Forget what was prepared; ``due_at`` None leaves each its time."""
    rows = await _all(
        connection,
        f"""
        UPDATE post_targets SET due_at = coalesce(%(due)s, due_at), next_at = coalesce(%(due)s, due_at) - %(lead)s,
               {_RESET}
         WHERE id = ANY (%(targets)s)
        RETURNING id, next_at <= now() AS is_due
        """,  # noqa: S608
        {"due": due_at, "lead": lead, "targets": list(targets)},
    )
    return [Written(**row) for row in rows]


async def cancel_targets(connection: Connection, targets: Iterable[UUID], reason: str | None = None) -> None:
    await connection.execute(
        f"""
        UPDATE post_targets SET status = 'cancelled', next_at = NULL, warning = NULL, reason = %s, {_RELEASED}
         WHERE id = ANY (%s)
        """,  # noqa: S608
        (reason, list(targets)),
    )


async def take_off(connection: Connection, targets: Iterable[UUID]) -> None:
    """The post is not for these accounts any more."""
    await cancel_targets(connection, targets, TAKEN_OFF)


async def account_of(connection: Connection, account: UUID) -> Row | None:
    """Columns: platform, status."""
    return await _one(connection, "SELECT platform, status FROM accounts WHERE id = %s", (account,))


async def mark_published(connection: Connection, target: UUID) -> None:
    """A person saw it on the platform."""
    await connection.execute(
        f"""
        UPDATE post_targets SET status = 'published', phase = 'confirmed', warning = NULL, reason = NULL,
               published_at = coalesce(published_at, publish_called_at, now()), next_at = NULL, {_RELEASED}
         WHERE id = %s
        """,  # noqa: S608
        (target,),
    )


async def publish_now(connection: Connection, target: UUID) -> None:
    """A person saw that it is not on the platform: it starts from nothing."""
    await connection.execute(
        f"""
        UPDATE post_targets SET status = 'queued', publishes = 0, publish_called_at = NULL, due_at = now(),
               next_at = now(), {_RESET}
         WHERE id = %s
        """,  # noqa: S608
        (target,),
    )


async def give_up(connection: Connection, target: UUID, words: str) -> None:
    await connection.execute(
        f"""
        UPDATE post_targets SET status = 'failed', next_at = NULL, reason = concat_ws('; ', reason, %s::text), {_RELEASED}
         WHERE id = %s
        """,  # noqa: S608
        (words, target),
    )


async def settle_notices(connection: Connection, post: UUID) -> None:
    """What people were told about a post is done with where no target of it is in that state any more."""
    await connection.execute(
        """
        UPDATE notices n SET resolved_at = now()
         WHERE n.post_id = %s AND n.resolved_at IS NULL
           AND n.kind IN ('post_needs_check', 'post_missed', 'post_failed')
           AND NOT EXISTS (SELECT FROM post_targets t WHERE t.post_id = n.post_id
                AND t.status = CASE n.kind WHEN 'post_failed' THEN 'failed' ELSE 'needs_check' END)
        """,
        (post,),
    )


async def _all(connection: Connection, query: str, parameters: Any) -> list[Row]:
    return await (await connection.execute(query, parameters)).fetchall()


async def _one(connection: Connection, query: str, parameters: Any) -> Row | None:
    return await (await connection.execute(query, parameters)).fetchone()
