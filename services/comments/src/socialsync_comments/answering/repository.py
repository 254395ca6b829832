"""SQL of the comments that are answered. A worker changes only what it has under its lease."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from socialsync_comments.answering.schemas import (
    LEASE_SECONDS,
    Comment,
    Counts,
    Ours,
    Post,
    Send,
    SendKind,
    ThreadComment,
)
from socialsync_common.comment_policy import POLICY, CommentPolicy, policy_of
from socialsync_common.contracts import CommentReason, CommentStatus, Platform
from socialsync_common.db import Connection

THREAD_COMMENTS = 40

_LEASE = f"now() + interval '{LEASE_SECONDS} seconds'"
_RELEASED = "lease = NULL, lease_until = NULL"
# what a person has ordered meanwhile, and nobody has done yet
_HIDES = """EXISTS (SELECT FROM comment_sends s WHERE s.comment_id = comments.id AND s.kind = 'hide' AND s.author = 'person'
                       AND s.status IN ('pending', 'retry'))"""
_CHANGED = "version <> %(version)s OR deleted_at IS DISTINCT FROM %(deleted_at)s OR hidden <> %(hidden)s OR status <> %(status)s"


def hand_over(
    connection: Connection, lease_seconds: float, *, lost: bool, fair_share: int, room: int
) -> list[dict[str, Any]]:
    """Claims comments of all tenants that want a worker: comment_id, tenant_id, crowded."""
    return connection.execute(
        "SELECT comment_id, tenant_id, crowded FROM hand_over_comments(make_interval(secs => %s), %s, %s, %s)",
        (lease_seconds, lost, fair_share, room),
    ).fetchall()


def take(connection: Connection, comment_id: UUID, lease: UUID) -> Comment | None:
    """Take the lease of a comment whose time has come; None where it has not, or somebody else has it."""
    row = connection.execute(
        f"""
        UPDATE comments SET lease = %s, lease_until = {_LEASE}
         WHERE id = %s AND due_at <= now() AND (lease IS NULL OR lease_until < now())
        RETURNING id, tenant_id, account_id, post_id, external_id, parent_external_id, kind, author_id, author_name,
                  coalesce(text, '') AS text, written_at, version, deleted_at, hidden, status, reason, detail, failures, lease
        """,  # noqa: S608
        (lease, comment_id),
    ).fetchone()
    if row is None:
        return None
    reason = CommentReason(row["reason"]) if row["reason"] else None
    return Comment(**{**row, "status": CommentStatus(row["status"]), "reason": reason})


def renew(connection: Connection, comments: Sequence[Comment]) -> set[UUID]:
    """Keep leases; returns those that are still held."""
    rows = connection.execute(
        f"""
        WITH held AS (SELECT id FROM comments WHERE lease = ANY (%s) AND id = ANY (%s) ORDER BY id FOR NO KEY UPDATE)
        UPDATE comments c SET lease_until = {_LEASE} FROM held WHERE c.id = held.id RETURNING c.lease
        """,  # noqa: S608
        ([each.lease for each in comments], [each.id for each in comments]),
    ).fetchall()
    return {row["lease"] for row in rows}


def is_held(connection: Connection, comment: Comment) -> bool:
    """Locks the comment; False where this lease has ended, or the comment has changed since it was taken."""
    row = connection.execute(
        f"SELECT 1 FROM comments WHERE id = %(id)s AND lease = %(lease)s AND NOT ({_CHANGED}) FOR NO KEY UPDATE",  # noqa: S608
        _facts(comment),
    ).fetchone()
    return row is not None


def release(
    connection: Connection, comment: Comment, due_at: datetime | None, *, failures: int | None = None
) -> None:
    """Give it back, to be looked at at ``due_at`` (None: never). One that has changed meanwhile wants a worker at once."""
    connection.execute(
        f"""
        UPDATE comments
           SET {_RELEASED}, failures = coalesce(%(failures)s, failures),
               due_at = CASE WHEN {_CHANGED} THEN now()
                             WHEN {_HIDES} THEN coalesce(%(due_at)s::timestamptz, now())
                             ELSE %(due_at)s::timestamptz END
         WHERE id = %(id)s AND lease = %(lease)s
        """,  # noqa: S608
        {**_facts(comment), "due_at": due_at, "failures": failures},
    )


def _facts(comment: Comment) -> dict[str, Any]:
    return {
        "id": comment.id,
        "lease": comment.lease,
        "version": comment.version,
        "deleted_at": comment.deleted_at,
        "hidden": comment.hidden,
        "status": comment.status,
    }


def settle(
    connection: Connection, comment: Comment, status: CommentStatus, reason: CommentReason, detail: str | None
) -> None:
    """Its end, as far as SocialSync goes; what was not sent does not leave any more."""
    connection.execute(
        "UPDATE comment_sends SET status = 'superseded', reason = %s, updated_at = now() "
        "WHERE comment_id = %s AND status IN ('draft', 'pending', 'retry') AND NOT (kind = 'hide' AND author = 'person')",
        (detail, comment.id),
    )
    connection.execute(
        f"""
        UPDATE comments SET status = %s, reason = %s, detail = %s, settled_at = now(), failures = 0, {_RELEASED},
               due_at = CASE WHEN {_HIDES} THEN now() END
         WHERE id = %s AND lease = %s
        """,  # noqa: S608
        (status, reason, detail, comment.id, comment.lease),
    )


def mark(
    connection: Connection,
    comment: Comment,
    status: CommentStatus,
    reason: CommentReason,
    detail: str,
    picture_note: str | None,
) -> None:
    """Its answer is written. One that waits for a person is given back."""
    waits = status is CommentStatus.REVIEW
    connection.execute(
        f"""
        UPDATE comments SET status = %s, reason = %s, detail = %s, picture_note = %s, failures = 0
               {f", due_at = NULL, {_RELEASED}" if waits else ""}
         WHERE id = %s AND lease = %s
        """,  # noqa: S608
        (status, reason, detail, picture_note, comment.id, comment.lease),
    )


def start_anew(connection: Connection, comment: Comment, text: str | None = None) -> None:
    """It was edited: what was written about it is superseded, and it is decided again. ``text``: as the platform shows
    it, where that is not known yet."""
    connection.execute(
        "UPDATE comment_sends SET status = 'superseded', reason = 'the comment was edited', updated_at = now() "
        "WHERE comment_id = %s AND status IN ('draft', 'pending', 'retry') AND NOT (kind = 'hide' AND author = 'person')",
        (comment.id,),
    )
    connection.execute(
        f"""
        UPDATE comments
           SET status = 'new', reason = NULL, detail = NULL, due_at = now(), {_RELEASED},
               version = version + CASE WHEN text IS DISTINCT FROM coalesce(%s, text) THEN 1 ELSE 0 END,
               edited_at = CASE WHEN text IS DISTINCT FROM coalesce(%s, text) THEN now() ELSE edited_at END,
               text = coalesce(%s, text)
         WHERE id = %s AND lease = %s
        """,  # noqa: S608
        (text, text, text, comment.id, comment.lease),
    )


def note_gone(connection: Connection, comment: Comment) -> None:
    connection.execute(
        "UPDATE comments SET deleted_at = coalesce(deleted_at, now()) WHERE id = %s", (comment.id,)
    )


def note_hidden(connection: Connection, comment: Comment) -> None:
    connection.execute("UPDATE comments SET hidden = true WHERE id = %s", (comment.id,))


def wake_open_comments(connection: Connection, account_id: UUID, thread_id: str) -> None:
    """The account itself wrote in this thread: open comments of it may be answered by that."""
    connection.execute(
        """
        UPDATE comments SET due_at = now()
         WHERE account_id = %s AND (external_id = %s OR parent_external_id = %s) AND status = 'review'
        """,
        (account_id, thread_id, thread_id),
    )


# --- what deciding needs ---


def post_of(connection: Connection, comment: Comment) -> Post | None:
    row = connection.execute(
        "SELECT external_id, origin, monitored, monitored_since FROM monitored_posts WHERE id = %s",
        (comment.post_id,),
    ).fetchone()
    return Post(**row) if row else None


def watch(connection: Connection, comment: Comment) -> None:
    """The account's policy is to watch all posts, this one too from this comment on."""
    connection.execute(
        """
        UPDATE monitored_posts SET monitored = true, monitored_since = coalesce(monitored_since, %s),
               next_poll_at = coalesce(next_poll_at, now() + interval '5 minutes')
         WHERE id = %s AND NOT monitored
        """,
        (comment.written_at, comment.post_id),
    )


def policy(connection: Connection, account_id: UUID) -> CommentPolicy:
    return policy_of(connection.execute(POLICY, (account_id,)).fetchone())


def is_connected(connection: Connection, platform: Platform, author_id: str | None) -> bool:
    """Whether the author is a connected account of anybody."""
    row = connection.execute("SELECT is_connected_author(%s, %s) AS yes", (platform, author_id)).fetchone()
    return bool(row and row["yes"])


def thread(connection: Connection, comment: Comment) -> list[ThreadComment]:
    """The other comments of its thread, oldest first: the first one, and the latest of its replies."""
    rows = connection.execute(
        """
        SELECT t.external_id, t.author_id, t.author_name, coalesce(t.text, '') AS text, t.written_at,
               EXISTS (SELECT FROM comment_sends s WHERE s.account_id = t.account_id AND s.platform_id = t.external_id)
               OR EXISTS (SELECT FROM comment_sends s WHERE s.account_id = t.account_id AND s.post_id = t.post_id
                             AND s.status IN ('sending', 'unknown') AND s.text = t.text) AS ours
          FROM (SELECT *, external_id = %(thread)s AS first FROM comments
                 WHERE account_id = %(account)s AND (external_id = %(thread)s OR parent_external_id = %(thread)s)
                   AND id <> %(id)s AND deleted_at IS NULL
                 ORDER BY first DESC, written_at DESC, id LIMIT %(limit)s) t
         ORDER BY t.first DESC, t.written_at, t.id
        """,
        {
            "account": comment.account_id,
            "thread": comment.thread_id,
            "id": comment.id,
            "limit": THREAD_COMMENTS,
        },
    ).fetchall()
    return [ThreadComment(**row) for row in rows]


def lock_limits(connection: Connection, account_id: UUID) -> None:
    """Those who count answers of this account wait for each other until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 8))", (str(account_id),))


def counts(connection: Connection, comment: Comment) -> Counts:
    row = connection.execute(
        """
        SELECT count(*) AS account, count(*) FILTER (WHERE post_id = %(post)s) AS post,
               count(*) FILTER (WHERE author_id = %(author)s) AS author
          FROM (SELECT DISTINCT ON (comment_id) post_id, author_id FROM comment_sends
                 WHERE account_id = %(account)s AND created_at > now() - interval '1 hour' AND author = 'ai'
                   AND kind IN ('public_reply', 'private_reply') AND status NOT IN ('superseded', 'failed')) answers
        """,
        {"account": comment.account_id, "post": comment.post_id, "author": comment.author_id},
    ).fetchone()
    return Counts(**row) if row else Counts(0, 0, 0)


# --- sends ---


def write(
    connection: Connection,
    comment: Comment,
    kind: SendKind,
    text: str | None,
    *,
    status: str,
    model: str | None,
) -> None:
    """One send of the AI's. There is one of each kind: only one that never left is written anew."""
    connection.execute(
        """
        INSERT INTO comment_sends (tenant_id, account_id, post_id, comment_id, kind, author, author_id, text, model, version, status)
        VALUES (%(tenant)s, %(account)s, %(post)s, %(comment)s, %(kind)s, 'ai', %(author)s, %(text)s, %(model)s, %(version)s, %(status)s)
        ON CONFLICT (comment_id, kind) DO UPDATE
          SET author = 'ai', text = EXCLUDED.text, model = EXCLUDED.model, version = EXCLUDED.version, status = EXCLUDED.status,
              attempt = 0, called_at = NULL, reason = NULL, created_at = now(), updated_at = now()
        WHERE comment_sends.status IN ('superseded', 'draft') AND comment_sends.called_at IS NULL
        """,
        {
            "tenant": comment.tenant_id,
            "account": comment.account_id,
            "post": comment.post_id,
            "comment": comment.id,
            "author": comment.author_id,
            "kind": kind,
            "text": text,
            "model": model,
            "version": comment.version,
            "status": status,
        },
    )


def sends(connection: Connection, comment: Comment) -> list[Send]:
    """All of a comment."""
    rows = connection.execute(
        "SELECT id, kind, author, text, status, attempt, version, called_at, platform_id FROM comment_sends WHERE comment_id = %s",
        (comment.id,),
    ).fetchall()
    return [Send(**row) for row in rows]


def our_replies(connection: Connection, comment: Comment, send: Send) -> Ours:
    """What SocialSync said in this comment's thread, but for this send."""
    rows = connection.execute(
        """
        SELECT s.platform_id, s.text FROM comment_sends s JOIN comments c ON c.id = s.comment_id
         WHERE c.account_id = %(account)s AND (c.external_id = %(thread)s OR c.parent_external_id = %(thread)s)
           AND s.kind = 'public_reply' AND s.id <> %(send)s
           AND (s.platform_id IS NOT NULL OR s.status IN ('sending', 'unknown'))
        """,
        {"account": comment.account_id, "thread": comment.thread_id, "send": send.id},
    ).fetchall()
    return Ours(
        ids=frozenset(row["platform_id"] for row in rows if row["platform_id"]),
        texts=frozenset(row["text"] for row in rows if not row["platform_id"]),
    )


def mark_sending(connection: Connection, comment: Comment, send: Send) -> bool:
    """Committed before the call; False where it must not leave any more. Locks the comment."""
    if not is_held(connection, comment):
        return False
    marked = connection.execute(
        """
        UPDATE comment_sends SET status = 'sending', called_at = now(), updated_at = now()
         WHERE id = %s AND status IN ('pending', 'retry')
        """,
        (send.id,),
    ).rowcount
    return bool(marked)


def record(
    connection: Connection,
    comment: Comment,
    send: Send,
    status: str,
    *,
    platform_id: str | None = None,
    reason: str | None = None,
    counted: bool = False,
) -> None:
    """What became of it. That it was sent is true whoever has the comment by now; all else is for who has it to say."""
    connection.execute(
        """
        UPDATE comment_sends s SET status = %(status)s, platform_id = coalesce(%(platform_id)s, platform_id),
               reason = %(reason)s, updated_at = now(), attempt = attempt + %(counted)s
         WHERE id = %(send)s AND status <> 'sent'
           AND (%(status)s = 'sent' OR EXISTS (SELECT FROM comments c WHERE c.id = s.comment_id AND c.lease = %(lease)s))
        """,
        {
            "status": status,
            "platform_id": platform_id,
            "reason": reason,
            "counted": int(counted),
            "send": send.id,
            "lease": comment.lease,
        },
    )


def supersede(connection: Connection, comment: Comment, kind: SendKind, reason: str) -> None:
    """One that has not left does not leave any more."""
    connection.execute(
        """
        UPDATE comment_sends SET status = 'superseded', reason = %s, updated_at = now()
         WHERE comment_id = %s AND kind = %s AND status IN ('draft', 'pending', 'retry')
        """,
        (reason, comment.id, kind),
    )


def count(connection: Connection, comment: Comment, used: dict[str, int]) -> None:
    """Add to the account's usage of this month."""
    connection.execute(
        """
        INSERT INTO usage (tenant_id, account_id, month, kind, count)
        SELECT %s, %s, date_trunc('month', now() AT TIME ZONE 'UTC')::date, kind, n
          FROM unnest(%s::text[], %s::bigint[]) AS t(kind, n) WHERE n > 0 ORDER BY kind
        ON CONFLICT (account_id, month, kind) DO UPDATE SET count = usage.count + EXCLUDED.count
        """,
        (comment.tenant_id, comment.account_id, list(used), list(used.values())),
    )
