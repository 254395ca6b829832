"""After a post is live: its permalink and its first comment. Nothing that fails here publishes it again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from socialsync_common.db import Database
from socialsync_common.errors import AuthenticationExpired, PermanentError, SocialSyncError, TransientError
from socialsync_common.platforms.publishing import Channel, Publisher
from socialsync_scheduler.publishing import repository
from socialsync_scheduler.publishing.schemas import Target

log = structlog.get_logger()

COMMENT_ATTEMPTS = 4
COMMENT_PAUSE = timedelta(seconds=300)
CHECK_PAUSE = timedelta(seconds=10)
PERMALINK_AT_MOST = timedelta(minutes=10)
UNKNOWN_ID = "the post is live, but Meta did not tell its id, so nothing can be written below it"


def finish(database: Database, publisher: Publisher, channel: Channel, target: Target, now: datetime) -> None:
    """One attempt at what is left; gives the lease back, with a time to look again where something still is.

    Raises:
        AuthenticationExpired: the token has ended; the lease is kept.
    """
    again = _comment(database, publisher, channel, target, now)
    if again is None:
        again = _permalink(database, publisher, channel, target, now)
    with database.transaction(target.tenant_id) as connection:
        if again is None:
            repository.finish(connection, target)
        else:
            repository.release(connection, [target], again)


def _permalink(
    database: Database, publisher: Publisher, channel: Channel, target: Target, now: datetime
) -> datetime | None:
    if target.permalink is not None or target.media_id is None:
        return None
    permalink = None
    try:
        permalink = publisher.permalink(channel, target.media_id)
    except AuthenticationExpired:
        raise
    except SocialSyncError as error:
        log.warning("permalink not read", target=str(target.id), reason=str(error))
    if permalink:
        with database.transaction(target.tenant_id) as connection:
            repository.record_permalink(connection, target, permalink)
        return None
    since = now - (target.publish_called_at or target.due_at)
    return now + timedelta(seconds=60) if since < PERMALINK_AT_MOST else None


def _comment(
    database: Database, publisher: Publisher, channel: Channel, target: Target, now: datetime
) -> datetime | None:
    """The time of the next attempt, None where the comment is settled."""
    if target.comment_status not in ("pending", "sending") or target.first_comment is None:
        return None

    def record(status: str, *, comment_id: str | None = None, reason: str | None = None) -> bool:
        with database.transaction(target.tenant_id) as connection:
            return repository.record_comment(connection, target, status, comment_id=comment_id, reason=reason)

    if target.media_id is None:
        record("failed", reason=UNKNOWN_ID)
        return None
    text, comment_id = target.first_comment, None
    try:
        # an earlier attempt may have arrived: the post's own comments tell
        if target.comment_status == "sending":
            comment_id = publisher.find_comment(channel, target.media_id, text)
    except AuthenticationExpired:
        raise  # it stays in doubt until the account is reconnected
    except SocialSyncError as error:
        return _after_look_error(target, error, record, now)
    if comment_id is not None:
        record("sent", comment_id=comment_id)
        return None
    return _write_comment(publisher, channel, target, target.media_id, text, record, now)


def _write_comment(
    publisher: Publisher,
    channel: Channel,
    target: Target,
    media_id: str,
    text: str,
    record: Callable[..., bool],
    now: datetime,
) -> datetime | None:
    if target.comment_attempt >= COMMENT_ATTEMPTS:
        record("failed", reason=f"the first comment was not accepted in {COMMENT_ATTEMPTS} attempts")
        return None
    if not record("sending"):
        return now
    try:
        comment_id = publisher.comment(channel, media_id, text)
    except SocialSyncError as error:
        return _after_comment_error(target, error, record, now)
    record("sent", comment_id=comment_id)
    return None


def _after_look_error(
    target: Target, error: SocialSyncError, record: Callable[..., bool], now: datetime
) -> datetime | None:
    """Whether an earlier attempt arrived could not be asked: until it is known, nothing is sent."""
    if isinstance(error, PermanentError) or target.comment_attempt >= COMMENT_ATTEMPTS:
        record("unknown", reason=f"the post is live, its first comment may be missing: look at it ({error})")
        return None
    record("sending", reason=f"the first comment may have arrived, which is looked up again: {error}")
    return now + COMMENT_PAUSE


def _after_comment_error(
    target: Target, error: SocialSyncError, record: Callable[..., bool], now: datetime
) -> datetime | None:
    """Raises AuthenticationExpired again: the comment waits for the account."""
    if isinstance(error, AuthenticationExpired):
        record("pending", reason="the first comment waits: the account must be reconnected first")
        raise error
    if isinstance(error, PermanentError):
        record("failed", reason=f"the post is live, its first comment was refused: {error}")
        return None
    if isinstance(error, TransientError):
        record("pending", reason=f"the first comment is tried again: {error}")
        return now + COMMENT_PAUSE
    log.warning("first comment: outcome unknown", target=str(target.id), reason=str(error))
    return now + CHECK_PAUSE
