"""SQL of comments, of monitored posts and of policies. Every statement also names its tenant through row-level security.

A worker may have a comment under its lease while a person acts: whoever writes it, or its sends, locks its row first.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from socialsync_common.comment_policy import POLICY, SAVE_POLICY, CommentPolicy, policy_of, policy_values
from socialsync_common.contracts import CommentReason, CommentStatus, Platform
from socialsync_common.db import Row
from socialsync_gateway.comments.decide import REPLIES, Comment, Send
from socialsync_gateway.database import Connection

THREAD_COMMENTS = 200

_ACCOUNT = "json_build_object('id', a.id, 'name', a.name, 'platform', a.platform) AS account"
_THREAD_COMMENT = """
c.id, c.external_id, c.parent_external_id, json_build_object('id', c.author_id, 'name', c.author_name) AS author,
CASE WHEN c.deleted_at IS NULL THEN c.text END AS text, c.written_at, c.edited_at, c.deleted_at, c.hidden, c.status, c.reason
"""
_COMMENTS = f"""
SELECT {_THREAD_COMMENT}, {_ACCOUNT}, c.account_id, c.kind, c.received_at, c.detail, c.picture_note, c.settled_at,
       CASE WHEN p.id IS NOT NULL
            THEN json_build_object('id', p.id, 'external_id', p.external_id, 'permalink', p.permalink,
                                   'caption', p.caption) END AS post
  FROM (SELECT * FROM comments c {{which}}) c
  JOIN accounts a ON a.id = c.account_id
  LEFT JOIN monitored_posts p ON p.id = c.post_id
 ORDER BY c.written_at DESC, c.id
"""  # noqa: S608
_SENDS = """
SELECT comment_id, kind, author, text, model, status, attempt, platform_id, reason, created_at, updated_at
  FROM comment_sends WHERE comment_id = ANY (%s) ORDER BY comment_id, created_at, kind
"""
_POSTS = f"""
SELECT p.id, {_ACCOUNT}, p.external_id, p.origin, p.monitored, p.monitored_since, p.kind, p.caption, p.permalink,
       p.published_at, p.comments_count, p.unseen, p.last_comment_at, p.next_poll_at, p.failures, p.reason,
       p.pictures_note, p.created_at
  FROM monitored_posts p JOIN accounts a ON a.id = p.account_id
"""  # noqa: S608
_COUNTS = "SELECT post_id, status, count(*) AS count FROM comments WHERE post_id = ANY (%s) GROUP BY post_id, status"
# one that is watched already keeps the time since when it is, so that no comment falls into a gap
_WATCHED = """
monitored = true, monitored_since = CASE WHEN p.monitored THEN p.monitored_since ELSE now() END,
cursor = CASE WHEN p.monitored THEN p.cursor END, next_poll_at = now(), failures = 0, reason = NULL
"""


# --- comments ---


async def list_comments(
    connection: Connection,
    tenant: UUID,
    *,
    status: CommentStatus | None,
    reason: CommentReason | None,
    account: UUID | None,
    post: UUID | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    """Comments, newest first, from after (written_at, id)."""
    at, comment = after or (None, None)
    wanted = {"tenant_id": tenant, "status": status, "reason": reason, "account_id": account, "post_id": post}
    conditions = [f"c.{column} = %({column})s" for column, value in wanted.items() if value is not None]
    if after:
        conditions.append("c.written_at <= %(at)s AND (c.written_at < %(at)s OR c.id > %(id)s)")
    return await _comments(
        connection,
        f"WHERE {' AND '.join(conditions)} ORDER BY c.written_at DESC, c.id LIMIT %(limit)s",
        {**wanted, "at": at, "id": comment, "limit": limit},
    )


async def get_comment(connection: Connection, comment: UUID) -> Row | None:
    rows = await _comments(connection, "WHERE c.id = %(id)s", {"id": comment})
    return rows[0] if rows else None


async def _comments(connection: Connection, which: str, parameters: dict[str, Any]) -> list[Row]:
    """Comments with ``sends``: two statements, however many they are."""
    # the page is cut before anything is joined, whatever the planner knows about the table
    comments = await _all(connection, _COMMENTS.format(which=which), parameters)
    found = {comment["id"]: comment for comment in comments}
    for comment in comments:
        comment["sends"] = []
    for send in await _all(connection, _SENDS, (list(found),)):
        found[send["comment_id"]]["sends"].append(send)
    return comments


async def list_thread(connection: Connection, comment: Row) -> list[Row]:
    """The other comments of a comment's thread, oldest first: the first one, and the latest replies."""
    return await _all(
        connection,
        f"""
        SELECT * FROM (
          SELECT {_THREAD_COMMENT}, c.external_id = %(thread)s AS is_first FROM comments c
           WHERE c.account_id = %(account)s AND (c.external_id = %(thread)s OR c.parent_external_id = %(thread)s)
             AND c.id <> %(id)s
           ORDER BY is_first DESC, c.written_at DESC, c.id LIMIT %(limit)s) latest
         ORDER BY is_first DESC, written_at, id
        """,  # noqa: S608
        {
            "account": comment["account_id"],
            "thread": comment["parent_external_id"] or comment["external_id"],
            "id": comment["id"],
            "limit": THREAD_COMMENTS,
        },
    )


async def lock_comment(connection: Connection, comment: UUID) -> Comment | None:
    """What decisions about a comment look at; others who decide about it wait until the commit."""
    locked = await _one(connection, "SELECT 1 FROM comments WHERE id = %s FOR NO KEY UPDATE", (comment,))
    if locked is None:
        return None
    row = await _one(
        connection,
        """
        SELECT c.id, c.status, c.reason, c.written_at, c.version, c.deleted_at, c.hidden,
               c.post_id IS NOT NULL AS on_own_post, a.name AS account_name, a.status AS account_status, a.platform
          FROM comments c JOIN accounts a ON a.id = c.account_id WHERE c.id = %s
        """,
        (comment,),
    )
    if row is None:
        return None
    return Comment(
        **{
            **row,
            "status": CommentStatus(row["status"]),
            "reason": CommentReason(row["reason"]) if row["reason"] else None,
            "platform": Platform(row["platform"]),
        }
    )


async def sends_of(connection: Connection, comment: UUID) -> list[Send]:
    rows = await _all(
        connection,
        "SELECT kind, author, text, status, version FROM comment_sends WHERE comment_id = %s",
        (comment,),
    )
    return [Send(**row) for row in rows]


async def edit_draft(connection: Connection, comment: UUID, kind: str, text: str) -> None:
    """From now on it is a person's."""
    await connection.execute(
        """
        UPDATE comment_sends SET text = %s, author = 'person', model = NULL, updated_at = now()
         WHERE comment_id = %s AND kind = %s AND status = 'draft'
        """,
        (text, comment, kind),
    )


async def release_drafts(connection: Connection, comment: UUID) -> None:
    await connection.execute(
        "UPDATE comment_sends SET status = 'pending', updated_at = now() WHERE comment_id = %s AND status = 'draft'",
        (comment,),
    )


async def write_send(connection: Connection, comment: UUID, kind: str, text: str | None) -> None:
    """What a person wants said or done, in place of what is there of this kind and has not happened."""
    await connection.execute(
        """
        INSERT INTO comment_sends (tenant_id, account_id, post_id, comment_id, kind, author, author_id, text, version, status)
        SELECT tenant_id, account_id, post_id, id, %s, 'person', author_id, %s, version, 'pending'
          FROM comments WHERE id = %s
        ON CONFLICT (comment_id, kind) DO UPDATE
          SET author = 'person', text = EXCLUDED.text, model = NULL, version = EXCLUDED.version, status = 'pending',
              attempt = 0, called_at = NULL, platform_id = NULL, reason = NULL, created_at = now(), updated_at = now()
        """,
        (kind, text, comment),
    )


async def withdraw(connection: Connection, comment: UUID, reason: str) -> None:
    """Replies that have not left do not leave any more."""
    await connection.execute(
        """
        UPDATE comment_sends SET status = 'superseded', reason = %s, updated_at = now()
         WHERE comment_id = %s AND kind = ANY (%s) AND status IN ('draft', 'pending', 'retry')
        """,
        (reason, comment, list(REPLIES)),
    )


async def forget_failures(connection: Connection, comment: UUID) -> None:
    """What failed before does not count any more; why it did is kept."""
    await connection.execute(
        """
        UPDATE comment_sends SET status = 'superseded', updated_at = now() WHERE comment_id = %s AND status = 'failed'
        """,
        (comment,),
    )


async def start_answering(
    connection: Connection, comment: UUID, reason: CommentReason | None = None, detail: str | None = None
) -> None:
    """A worker sends what is pending; ``reason`` None leaves it as it is."""
    await connection.execute(
        """
        UPDATE comments
           SET status = 'answering', reason = coalesce(%(reason)s, reason), failures = 0, due_at = now(), settled_at = NULL,
               detail = CASE WHEN %(reason)s::text IS NULL THEN detail ELSE %(detail)s END
         WHERE id = %(comment)s
        """,
        {"reason": reason, "detail": detail, "comment": comment},
    )


async def dismiss(connection: Connection, comment: UUID, detail: str) -> None:
    """It is left alone; what else is on its way about it, goes on."""
    await connection.execute(
        """
        UPDATE comments c
           SET status = 'left', reason = %s, detail = %s, settled_at = now(),
               due_at = CASE WHEN EXISTS (SELECT FROM comment_sends s WHERE s.comment_id = c.id
                                             AND s.status IN ('pending', 'sending', 'retry', 'unknown')) THEN due_at END
         WHERE id = %s
        """,
        (CommentReason.DISMISSED, detail, comment),
    )


async def make_due(connection: Connection, comment: UUID) -> None:
    await connection.execute("UPDATE comments SET due_at = now() WHERE id = %s", (comment,))


# --- monitored posts ---


async def post_exists(connection: Connection, post: UUID) -> bool:
    return bool(await _all(connection, "SELECT 1 FROM monitored_posts WHERE id = %s", (post,)))


async def list_posts(
    connection: Connection,
    tenant: UUID,
    *,
    account: UUID | None,
    monitored: bool | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    """Posts, those known last first, from after (created_at, id)."""
    at, post = after or (None, None)
    wanted = {"tenant_id": tenant, "account_id": account, "monitored": monitored}
    conditions = [f"p.{column} = %({column})s" for column, value in wanted.items() if value is not None]
    if after:
        conditions.append("p.created_at <= %(at)s AND (p.created_at < %(at)s OR p.id > %(id)s)")
    return await _posts(
        connection,
        f"WHERE {' AND '.join(conditions)} ORDER BY p.created_at DESC, p.id LIMIT %(limit)s",
        {**wanted, "at": at, "id": post, "limit": limit},
    )


async def get_post(connection: Connection, post: UUID) -> Row | None:
    rows = await _posts(connection, "WHERE p.id = %(id)s", {"id": post})
    return rows[0] if rows else None


async def _posts(connection: Connection, which: str, parameters: dict[str, Any]) -> list[Row]:
    """Posts with ``counts``: two statements, however many they are."""
    posts = await _all(connection, _POSTS + which, parameters)
    found = {post["id"]: post for post in posts}
    for post in posts:
        post["counts"] = {}
    for row in await _all(connection, _COUNTS, (list(found),)):
        found[row["post_id"]]["counts"][row["status"]] = row["count"]
    return posts


async def monitor(connection: Connection, tenant: UUID, account: UUID, external_id: str) -> tuple[UUID, bool]:
    """Watch a post that a person chose; its id, and whether it is new."""
    row = await _one(
        connection,
        f"""
        INSERT INTO monitored_posts AS p (tenant_id, account_id, external_id, origin, monitored, monitored_since, next_poll_at)
        VALUES (%s, %s, %s, 'chosen', true, now(), now())
        ON CONFLICT (account_id, external_id) DO UPDATE SET origin = 'chosen', {_WATCHED}
        RETURNING id, xmax = 0 AS is_new
        """,  # noqa: S608
        (tenant, account, external_id),
    )
    assert row  # noqa: S101 - it is written or there
    return row["id"], row["is_new"]


async def set_monitored(connection: Connection, post: UUID, *, monitored: bool) -> None:
    """What a policy that watches all posts would do with it does not count any more: a person chose."""
    changes = _WATCHED if monitored else "monitored = false, monitored_since = NULL, next_poll_at = NULL"
    await connection.execute(
        f"UPDATE monitored_posts p SET origin = CASE origin WHEN 'seen' THEN 'chosen' ELSE origin END, {changes} WHERE id = %s",  # noqa: S608
        (post,),
    )


# --- accounts and their policies ---


async def platform_of(connection: Connection, account: UUID) -> Platform | None:
    row = await _one(connection, "SELECT platform FROM accounts WHERE id = %s", (account,))
    return Platform(row["platform"]) if row else None


async def get_policy(connection: Connection, account: UUID) -> CommentPolicy:
    return policy_of(await _one(connection, POLICY, (account,)))


async def save_policy(connection: Connection, tenant: UUID, account: UUID, policy: CommentPolicy) -> None:
    await connection.execute(SAVE_POLICY, policy_values(tenant, account, policy))


async def _all(connection: Connection, query: str, parameters: Any) -> list[Row]:
    return await (await connection.execute(query, parameters)).fetchall()


async def _one(connection: Connection, query: str, parameters: Any) -> Row | None:
    return await (await connection.execute(query, parameters)).fetchone()
