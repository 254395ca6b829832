"""SQL of watched posts. What a run writes about a post gives its lease back.

A post's row and its comments are never locked in the same transaction: whoever stores comments from a webhook may
lock them in the other order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from socialsync_comments.watching.schemas import Activity, Calls, Described, Outcome, Watched
from socialsync_common.ai import Attachment
from socialsync_common.contracts import CommentReason, CommentStatus
from socialsync_common.db import Connection, Row
from socialsync_common.platforms.comments import PostDetails, RemoteComment

# what people see there: `held` and what may turn out to be deleted
_SHOWN = "deleted_at IS NULL AND NOT hidden AND kind <> 'mention'"
# nothing that was said about it may have left
_UNANSWERED = """
c.status <> 'answered' AND NOT EXISTS (SELECT FROM comment_sends s WHERE s.comment_id = c.id
                                          AND s.status IN ('sending', 'sent', 'unknown'))
"""
_SUPERSEDE = """
UPDATE comment_sends SET status = 'superseded', reason = %s, updated_at = now()
 WHERE comment_id = ANY (%s) AND status IN ('draft', 'pending', 'retry')
"""


def hand_over(connection: Connection, lease: timedelta, max_rows: int) -> list[tuple[UUID, UUID]]:
    """Claim the posts that are to be read; (tenant, post) each."""
    rows = connection.execute("SELECT tenant_id, post_id FROM hand_over_polls(%s, %s)", (lease, max_rows))
    return [(row["tenant_id"], row["post_id"]) for row in rows]


def take(connection: Connection, post: UUID, lease: timedelta) -> Watched | None:
    """A post whose time has come, claimed from now on; None where it has not, or nobody watches it."""
    row = connection.execute(
        """
        UPDATE monitored_posts SET poll_lease = now() + %s WHERE id = %s AND monitored AND next_poll_at <= now()
        RETURNING id, tenant_id, account_id, external_id, origin, published_at, comments_count, unseen, cursor,
                  last_comment_at, failures, pictures_at, created_at, now() AS taken_at
        """,
        (lease, post),
    ).fetchone()
    return Watched(**row) if row else None


def hold(connection: Connection, post: UUID, lease: timedelta) -> None:
    connection.execute("UPDATE monitored_posts SET poll_lease = now() + %s WHERE id = %s", (lease, post))


def give_back(connection: Connection, post: UUID, cursor: str | None) -> None:
    """To be read as soon as its account's comments are."""
    connection.execute(
        "UPDATE monitored_posts SET poll_lease = NULL, cursor = %s WHERE id = %s", (cursor, post)
    )


def record(connection: Connection, post: UUID, outcome: Outcome) -> None:
    """``next_poll_at`` of a post that nobody watches any more stays as it is."""
    connection.execute(
        """
        UPDATE monitored_posts
           SET poll_lease = NULL, next_poll_at = CASE WHEN monitored THEN %s::timestamptz END, comments_count = %s, unseen = %s,
               cursor = %s, last_comment_at = greatest(last_comment_at, %s), failures = %s, reason = %s
         WHERE id = %s
        """,
        (
            outcome.next_poll_at,
            outcome.comments_count,
            outcome.unseen,
            outcome.cursor,
            outcome.last_comment_at,
            outcome.failures,
            outcome.reason,
            post,
        ),
    )


def unwatch(connection: Connection, post: UUID, reason: str) -> None:
    connection.execute(
        """
        UPDATE monitored_posts SET poll_lease = NULL, monitored = false, next_poll_at = NULL, cursor = NULL, reason = %s
         WHERE id = %s
        """,
        (reason, post),
    )


# --- comments ---


def insert_comments(connection: Connection, post: Watched, comments: Sequence[RemoteComment]) -> int:
    """Store those that are new; returns how many. In the order of their ids, so that two that store the same wait
    for each other rather than deadlock."""
    return connection.execute(
        """
        INSERT INTO comments (tenant_id, account_id, post_id, external_id, parent_external_id, kind, author_id,
                              author_name, text, attachment, source, written_at, hidden)
        SELECT %(tenant)s, %(account)s, %(post)s, t.id, t.parent_id, 'comment', t.author_id, t.author_name, t.text,
               t.attachment, 'poll', coalesce(t.written_at, now()), t.hidden
          FROM json_to_recordset(%(comments)s::json) AS t(id text, parent_id text, author_id text, author_name text,
                 text text, written_at timestamptz, hidden bool, attachment jsonb)
         WHERE NOT EXISTS (SELECT FROM comments c WHERE c.account_id = %(account)s AND c.external_id = t.id)
         ORDER BY t.id
        ON CONFLICT (account_id, external_id) DO NOTHING
        """,
        {
            "tenant": post.tenant_id,
            "account": post.account_id,
            "post": post.id,
            "comments": orjson.dumps(comments).decode(),
        },
    ).rowcount


def lock_changed(
    connection: Connection, post: Watched, own_id: str, comments: Sequence[RemoteComment]
) -> list[Row]:
    """Stored comments that are not as they were read: id, text (None where it is the same, or the account's own), hidden.

    A comment without a text may have been asked for too little; one that was told since the reading began is newer.
    """
    return connection.execute(
        """
        WITH item AS MATERIALIZED (
          SELECT id, nullif(text, '') AS text, hidden FROM json_to_recordset(%(comments)s::json) AS t(id text, text text, hidden bool)
        )
        SELECT c.id, item.hidden,
               CASE WHEN c.author_id IS DISTINCT FROM %(own)s AND item.text <> coalesce(c.text, '') THEN item.text END AS text
          FROM comments c JOIN item ON item.id = c.external_id
         WHERE c.account_id = %(account)s AND c.external_id = ANY (%(ids)s) AND c.deleted_at IS NULL
           AND coalesce(c.edited_at, c.received_at) < %(began)s
           AND (item.hidden AND NOT c.hidden
                OR c.author_id IS DISTINCT FROM %(own)s AND item.text <> coalesce(c.text, ''))
         ORDER BY c.id FOR NO KEY UPDATE OF c
        """,
        {
            "comments": orjson.dumps(comments).decode(),
            "account": post.account_id,
            "began": post.taken_at,
            "ids": [comment.id for comment in comments],
            "own": own_id,
        },
    ).fetchall()


def record_changes(connection: Connection, changes: Sequence[Row]) -> int:
    """Of locked comments, as ``lock_changed`` returns them; returns how many are looked at again."""
    rows = connection.execute(
        f"""
        UPDATE comments c
           SET hidden = c.hidden OR t.hidden, text = coalesce(t.text, c.text), version = version + (t.text IS NOT NULL)::int,
               edited_at = CASE WHEN t.text IS NULL THEN edited_at ELSE now() END
          FROM json_to_recordset(%s::json) AS t(id uuid, text text, hidden bool) WHERE c.id = t.id
        RETURNING c.id, t.text IS NOT NULL AND c.status IN ('new', 'review', 'answering') AND {_UNANSWERED} AS again
        """,  # noqa: S608
        (orjson.dumps(changes).decode(),),
    )
    again = [row["id"] for row in rows if row["again"]]
    connection.execute(_SUPERSEDE, ("the comment was edited", again))
    connection.execute(
        """
        UPDATE comments SET status = 'new', reason = NULL, detail = NULL, failures = 0, due_at = now(), settled_at = NULL
         WHERE id = ANY (%s)
        """,
        (again,),
    )
    return len(again)


def lock_unseen(connection: Connection, post: UUID, seen: Collection[str], before: datetime) -> list[UUID]:
    """Comments stored before then that people should see, and that are not among those ``seen``."""
    rows = connection.execute(
        f"""
        SELECT id FROM comments WHERE post_id = %s AND {_SHOWN} AND kind = 'comment' AND received_at < %s
           AND NOT external_id = ANY (%s) ORDER BY id FOR NO KEY UPDATE
        """,  # noqa: S608
        (post, before, list(seen)),
    )
    return [row["id"] for row in rows]


def mark_deleted(connection: Connection, comments: Sequence[UUID]) -> None:
    """Locked comments are gone: they are left alone, but for those that are answered."""
    rows = connection.execute(
        f"""
        UPDATE comments c SET deleted_at = now() WHERE id = ANY (%s)
        RETURNING c.id, c.status <> 'left' AND {_UNANSWERED} AS leave
        """,  # noqa: S608
        (list(comments),),
    )
    left = [row["id"] for row in rows if row["leave"]]
    connection.execute(_SUPERSEDE, ("the comment was deleted", left))
    connection.execute(
        """
        UPDATE comments SET status = %s, reason = %s, detail = 'It was deleted.', due_at = NULL, settled_at = now()
         WHERE id = ANY (%s)
        """,
        (CommentStatus.LEFT, CommentReason.DELETED, left),
    )


def activity(connection: Connection, post: UUID) -> Activity:
    row = connection.execute(
        f"SELECT count(*) FILTER (WHERE {_SHOWN}) AS held, max(written_at) AS latest FROM comments WHERE post_id = %s",  # noqa: S608
        (post,),
    ).fetchone()
    assert row  # noqa: S101 - an aggregate always has one
    return Activity(**row)


# --- the allowance ---


def calls_of(connection: Connection, account: UUID) -> Calls:
    row = connection.execute(
        """
        SELECT calls_percent AS percent, calls_read_at AS read_at, calls_paused_until AS paused_until
          FROM accounts WHERE id = %s
        """,
        (account,),
    ).fetchone()
    return Calls(**row) if row else Calls(None, None, None)


def save_calls(
    connection: Connection, account: UUID, percent: float, now: datetime, paused_until: datetime | None
) -> None:
    connection.execute(
        """
        UPDATE accounts SET calls_percent = %s, calls_read_at = %s, calls_paused_until = greatest(calls_paused_until, %s)
         WHERE id = %s
        """,
        (percent, now, paused_until, account),
    )


# --- what the post looks like ---


def described(connection: Connection, post: UUID) -> Described | None:
    row = connection.execute(
        """
        SELECT id, external_id, kind, caption, permalink, details_at, pictures_at, pictures_note
          FROM monitored_posts WHERE id = %s
        """,
        (post,),
    ).fetchone()
    if row is None:
        return None
    pictures = connection.execute(
        "SELECT position, mime_type, content FROM post_pictures WHERE post_id = %s ORDER BY position", (post,)
    )
    return Described(
        **row,
        pictures={
            each["position"]: Attachment("image", each["mime_type"], bytes(each["content"]))
            for each in pictures
        },
    )


def save_details(connection: Connection, post: UUID, details: PostDetails | None, now: datetime) -> None:
    """What the platform tells now; what it does not tell stays. None: it was asked, and told nothing."""
    known: Any = details or PostDetails("", "", None, None, None, ())
    connection.execute(
        """
        UPDATE monitored_posts
           SET kind = coalesce(kind, nullif(%s, '')), caption = coalesce(nullif(%s, ''), caption),
               permalink = coalesce(%s, permalink), published_at = coalesce(%s, published_at), details_at = %s
         WHERE id = %s
        """,
        (known.kind, known.caption, known.permalink, known.published_at, now, post),
    )


def save_pictures(
    connection: Connection,
    tenant: UUID,
    post: UUID,
    pictures: Mapping[int, Attachment],
    note: str | None,
    at: datetime | None,
) -> None:
    """Keep pictures beside those that are there, and say why some are missing. ``at``: when they were asked for."""
    connection.execute(
        "UPDATE monitored_posts SET pictures_at = %s, pictures_note = %s WHERE id = %s", (at, note, post)
    )
    for position, picture in sorted(pictures.items()):
        connection.execute(
            """
            INSERT INTO post_pictures (post_id, position, tenant_id, mime_type, content) VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT DO NOTHING
            """,
            (post, position, tenant, picture.mime_type, picture.content),
        )


def forget_pictures(connection: Connection, post: UUID) -> None:
    connection.execute(
        "UPDATE monitored_posts SET pictures_at = NULL, pictures_note = NULL WHERE id = %s", (post,)
    )
    connection.execute("DELETE FROM post_pictures WHERE post_id = %s", (post,))
