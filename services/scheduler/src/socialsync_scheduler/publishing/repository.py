"""SQL of publishing. Every change of a target says whose lease it is made under, and changes nothing without it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from socialsync_common.accounts import Account
from socialsync_common.contracts import Platform, PostKind
from socialsync_common.db import Connection
from socialsync_scheduler.publishing.schemas import LEASE_SECONDS, Target

_LEASE = f"now() + interval '{LEASE_SECONDS} seconds'"
_RELEASED = "lease_token = NULL, lease_until = NULL, updated_at = now()"
# with the parameters of `_claims`
_HELD = """
  FROM unnest(%(ids)s::uuid[], %(leases)s::uuid[]) AS claim(target, lease)
 WHERE t.id = claim.target AND t.lease_token = claim.lease
"""


def hand_over(connection: Connection, grace: timedelta, max_rows: int) -> list[tuple[UUID, UUID]]:
    """Claim the targets whose time has come and that nobody has; (tenant, target) each. Held for a minute, so that
    a task that is lost is found again."""
    rows = connection.execute(
        "SELECT tenant_id, target_id FROM hand_over_targets(interval '60 seconds', %s, %s)", (grace, max_rows)
    )
    return [(row["tenant_id"], row["target_id"]) for row in rows]


def take(connection: Connection, target: UUID, lease: UUID) -> Target | None:
    """Take the lease of a target whose time has come; None where it has not, or somebody else has it."""
    taken = connection.execute(
        f"""
        UPDATE post_targets SET lease_token = %s, lease_until = {_LEASE}
         WHERE id = %s AND next_at <= now() AND (lease_token IS NULL OR lease_until < now())
        """,  # noqa: S608
        (lease, target),
    ).rowcount
    return _load(connection, target, lease) if taken else None


def _load(connection: Connection, target: UUID, lease: UUID) -> Target | None:
    row = connection.execute(
        """
        SELECT t.id, t.tenant_id, t.post_id, t.account_id, p.kind, p.text, p.first_comment, t.due_at, t.status, t.phase,
               t.container_ids, t.container_at, t.attempt, t.publishes, t.publish_called_at, t.media_id, t.permalink,
               t.comment_status, t.comment_attempt,
               coalesce((SELECT json_agg(json_build_object('id', m.id, 'mime_type', m.mime_type, 'kind', m.kind,
                                                           'alt_text', pm.alt_text) ORDER BY pm.position)
                           FROM post_media pm JOIN media m ON m.id = pm.media_id WHERE pm.post_id = p.id), '[]') AS media
          FROM post_targets t JOIN scheduled_posts p ON p.id = t.post_id WHERE t.id = %s
        """,
        (target,),
    ).fetchone()
    if row is None:
        return None
    containers = tuple(row.pop("container_ids"))
    media, kind = tuple(row.pop("media")), PostKind(row.pop("kind"))
    return Target(**row, container_ids=containers, media=media, kind=kind, lease=lease)


def load_sealed(connection: Connection, account: UUID) -> Account:
    """An account without its token: people can be told about it, and nothing else."""
    row = connection.execute(
        """
        SELECT id, tenant_id, platform, external_id, name, instructions, status, token_issued_at, token_expires_at,
               business_account_id FROM accounts WHERE id = %s
        """,
        (account,),
    ).fetchone()
    assert row  # noqa: S101 - a target's account is there
    return Account(**{**row, "platform": Platform(row["platform"])}, token="")


def renew(connection: Connection, targets: Sequence[Target]) -> set[UUID]:
    """Keep leases; returns those that are still held."""
    _lock(connection, targets)
    rows = connection.execute(
        f"UPDATE post_targets t SET lease_until = {_LEASE} {_HELD} RETURNING t.lease_token",  # noqa: S608
        _claims(targets),
    )
    return {row["lease_token"] for row in rows}


def release(
    connection: Connection,
    targets: Sequence[Target],
    next_at: datetime | None = None,
    reason: str | None = None,
) -> None:
    """Give targets back, to be looked at at ``next_at`` (None: as soon as somebody can)."""
    _lock(connection, targets)
    connection.execute(
        f"""
        UPDATE post_targets t SET {_RELEASED}, next_at = coalesce(%(next_at)s, now()), reason = coalesce(%(reason)s, reason)
        {_HELD} AND next_at IS NOT NULL
        """,  # noqa: S608
        {**_claims(targets), "next_at": next_at, "reason": reason},
    )


def begin_containers(connection: Connection, target: Target) -> bool:
    """Start anew: what was prepared is forgotten. False where the lease is lost."""
    return _changed(
        connection,
        """
        UPDATE post_targets SET phase = 'creating', container_ids = '{}', container_at = NULL, updated_at = now()
         WHERE id = %s AND lease_token = %s
        """,
        (target.id, target.lease),
    )


def add_container(connection: Connection, target: Target, container_id: str) -> bool:
    """Remember a container as soon as it is made."""
    return _changed(
        connection,
        """
        UPDATE post_targets SET phase = 'creating', container_ids = container_ids || %s::text,
               container_at = coalesce(container_at, now()), updated_at = now()
         WHERE id = %s AND lease_token = %s
        """,
        (container_id, target.id, target.lease),
    )


def mark_ready(connection: Connection, target: Target) -> bool:
    return _changed(
        connection,
        "UPDATE post_targets SET phase = 'container_ready', reason = NULL, updated_at = now() WHERE id = %s AND lease_token = %s",
        (target.id, target.lease),
    )


def begin_publishing(connection: Connection, targets: Sequence[Target], until: datetime) -> set[UUID]:
    """Committed before the calls: from here on each of them may be live. Returns the leases of those that may be called.

    What was edited, cancelled or taken over since is left out, and so is what is due after ``until``.
    """
    _lock_posts(connection, _lock(connection, targets))
    rows = connection.execute(
        f"""
        UPDATE post_targets t SET phase = 'publish_called', status = 'publishing', publishes = publishes + 1,
               publish_called_at = now(), lease_until = {_LEASE}, updated_at = now()
        {_HELD} AND due_at <= %(until)s
           AND (phase = 'container_ready' OR phase = 'publish_called') AND status IN ('queued', 'publishing')
        RETURNING t.lease_token
        """,  # noqa: S608
        {**_claims(targets), "until": until},
    )
    return {row["lease_token"] for row in rows}


def record_published(connection: Connection, posts: Sequence[tuple[UUID, str | None]]) -> list[UUID]:
    """Targets that are live, with the platform's id where it is known; from then on their comments are watched, unless
    a person has said otherwise. True whoever holds the lease. Returns those whose first comment waits."""
    _lock_posts(connection, _lock_ids(connection, [target for target, _ in posts]))
    rows = connection.execute(
        """
        WITH published AS (
          UPDATE post_targets t
             SET status = 'published', phase = 'confirmed', media_id = coalesce(t.media_id, live.media_id),
                 published_at = coalesce(t.published_at, now()), reason = NULL, warning = NULL,
                 comment_status = coalesce(t.comment_status, CASE WHEN p.first_comment IS NOT NULL THEN 'pending' END),
                 next_at = CASE WHEN p.first_comment IS NULL THEN now() + interval '3 seconds' ELSE now() END,
                 lease_token = NULL, lease_until = NULL, updated_at = now()
            FROM json_to_recordset(%s::json) AS live(target uuid, media_id text), scheduled_posts p
           WHERE t.id = live.target AND p.id = t.post_id AND t.phase IS DISTINCT FROM 'confirmed'
          RETURNING t.id, t.comment_status, t.tenant_id, t.account_id, t.media_id, t.due_at, t.published_at, p.kind, p.text
        ), watched AS (
          INSERT INTO monitored_posts AS m (tenant_id, account_id, external_id, origin, monitored, monitored_since, kind,
                                            caption, published_at, next_poll_at)
          -- watched since it was due: its first comments may be older than the record of its publication
          SELECT DISTINCT ON (account_id, media_id) tenant_id, account_id, media_id, 'published', true, due_at, kind, text,
                 published_at, now() + interval '5 minutes'
            FROM published WHERE media_id IS NOT NULL AND kind <> 'story' ORDER BY account_id, media_id
          ON CONFLICT (account_id, external_id) DO UPDATE
             SET origin = 'published', monitored = m.monitored OR m.origin = 'seen', kind = EXCLUDED.kind,
                 monitored_since = least(m.monitored_since, EXCLUDED.monitored_since), caption = EXCLUDED.caption,
                 published_at = EXCLUDED.published_at,
                 next_poll_at = CASE WHEN m.monitored OR m.origin = 'seen'
                                     THEN coalesce(m.next_poll_at, EXCLUDED.next_poll_at) END
        )
        SELECT id, comment_status FROM published
        """,
        (orjson.dumps([{"target": target, "media_id": media_id} for target, media_id in posts]).decode(),),
    )
    return [row["id"] for row in rows if row["comment_status"] == "pending"]


def record_again(
    connection: Connection,
    target: Target,
    at: datetime,
    reason: str,
    *,
    fresh: bool,
    counted: bool,
) -> bool:
    """It is not live, which is proven: it may be tried again at ``at``, with new containers where ``fresh``."""
    return _changed(
        connection,
        f"""
        UPDATE post_targets SET {_RELEASED}, status = 'queued', next_at = %(at)s, reason = %(reason)s,
               attempt = attempt + %(counted)s::int,
               phase = CASE WHEN %(fresh)s THEN NULL WHEN phase = 'publish_called' THEN
                 CASE WHEN %(counted)s THEN 'container_ready' ELSE 'creating' END ELSE phase END,
               container_ids = CASE WHEN %(fresh)s THEN '{{}}' ELSE container_ids END,
               container_at = CASE WHEN %(fresh)s THEN NULL ELSE container_at END
         WHERE id = %(target)s AND lease_token = %(lease)s
        """,  # noqa: S608
        {
            "at": at,
            "reason": reason,
            "fresh": fresh,
            "counted": counted,
            "target": target.id,
            "lease": target.lease,
        },
    )


def record_failed(connection: Connection, target: Target, reason: str) -> bool:
    return _closed(connection, target, "failed", reason)


def record_needs_check(connection: Connection, target: Target, reason: str) -> bool:
    return _closed(connection, target, "needs_check", reason)


def _closed(connection: Connection, target: Target, status: str, reason: str) -> bool:
    return _changed(
        connection,
        f"""
        UPDATE post_targets SET {_RELEASED}, status = %s, reason = %s, next_at = NULL
         WHERE id = %s AND lease_token = %s
        """,  # noqa: S608
        (status, reason, target.id, target.lease),
    )


def record_permalink(connection: Connection, target: Target, permalink: str) -> bool:
    return _changed(
        connection,
        "UPDATE post_targets SET permalink = %s, updated_at = now() WHERE id = %s AND lease_token = %s",
        (permalink, target.id, target.lease),
    )


def record_comment(
    connection: Connection,
    target: Target,
    status: str,
    *,
    comment_id: str | None = None,
    reason: str | None = None,
) -> bool:
    """``sending`` is committed before the call and counts as an attempt."""
    return _changed(
        connection,
        """
        UPDATE post_targets SET comment_status = %(status)s, comment_id = coalesce(%(comment)s, comment_id),
               comment_attempt = comment_attempt + (%(status)s = 'sending')::int, reason = %(reason)s, updated_at = now()
         WHERE id = %(target)s AND lease_token = %(lease)s
        """,
        {
            "status": status,
            "comment": comment_id,
            "reason": reason,
            "target": target.id,
            "lease": target.lease,
        },
    )


def finish(connection: Connection, target: Target) -> None:
    """Nothing is left to do. Why a live post had to wait is of no interest any more; why it has no comment is."""
    connection.execute(
        f"""
        UPDATE post_targets SET {_RELEASED}, next_at = NULL,
               reason = CASE WHEN status <> 'published' OR comment_status IN ('failed', 'unknown') THEN reason END
         WHERE id = %s AND lease_token = %s
        """,  # noqa: S608
        (target.id, target.lease),
    )


def accounts_with_posts_ahead(
    connection: Connection, horizon: timedelta, stage: int, max_rows: int
) -> list[tuple[UUID, UUID]]:
    """Accounts with posts due within ``horizon`` that have not been through this ``stage``; (tenant, account) each."""
    rows = connection.execute(
        "SELECT tenant_id, account_id FROM accounts_with_posts_ahead(%s, %s, %s)", (horizon, stage, max_rows)
    )
    return [(row["tenant_id"], row["account_id"]) for row in rows]


def save_quota(connection: Connection, account: UUID, used: int, total: int) -> None:
    connection.execute(
        "UPDATE accounts SET quota_used = %s, quota_total = %s, quota_read_at = now() WHERE id = %s",
        (used, total, account),
    )


def posts_ahead(connection: Connection, account: UUID, until: datetime) -> list[tuple[UUID, datetime]]:
    """(id, due_at) of the account's queued targets until then, first one first."""
    rows = connection.execute(
        "SELECT id, due_at FROM post_targets WHERE account_id = %s AND status = 'queued' AND due_at < %s ORDER BY due_at, id",
        (account, until),
    )
    return [(row["id"], row["due_at"]) for row in rows]


def warn(connection: Connection, warnings: Sequence[tuple[UUID, str | None]]) -> None:
    """Say what may keep targets from going out; None takes back what was said."""
    _lock_ids(connection, [target for target, _ in warnings])
    connection.execute(
        """
        UPDATE post_targets t SET warning = w.warning, updated_at = now()
          FROM json_to_recordset(%s::json) AS w(target uuid, warning text)
         WHERE t.id = w.target AND t.status = 'queued' AND t.warning IS DISTINCT FROM w.warning
        """,
        (orjson.dumps([{"target": target, "warning": warning} for target, warning in warnings]).decode(),),
    )


def _claims(targets: Sequence[Target]) -> dict[str, list[UUID | None]]:
    return {"ids": [target.id for target in targets], "leases": [target.lease for target in targets]}


def _lock(connection: Connection, targets: Sequence[Target]) -> list[UUID]:
    return _lock_ids(connection, [target.id for target in targets])


def _lock_ids(connection: Connection, targets: Sequence[UUID]) -> list[UUID]:
    """Lock targets in the order of their ids, as everybody who changes several does; returns their posts."""
    rows = connection.execute(
        "SELECT post_id FROM post_targets WHERE id = ANY (%s) ORDER BY id FOR UPDATE", (list(targets),)
    )
    return [row["post_id"] for row in rows]


def _lock_posts(connection: Connection, posts: Sequence[UUID]) -> None:
    """After the targets, and in order, too: a change of status settles the post."""
    connection.execute(
        "SELECT 1 FROM scheduled_posts WHERE id = ANY (%s) ORDER BY id FOR NO KEY UPDATE", (list(posts),)
    )


def _changed(connection: Connection, statement: str, parameters: Any) -> bool:
    return connection.execute(statement, parameters).rowcount > 0
