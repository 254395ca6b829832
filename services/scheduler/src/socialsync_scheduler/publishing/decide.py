"""What to do next with a target, and what an answer means for it: pure, with the time given.

Only proof that a post is not live leads to another publish call. Whatever else is asked about: the container, the
feed, and in the end a person.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from socialsync_common.contracts import Platform
from socialsync_common.errors import PermanentError, SocialSyncError, TransientError, UnknownOutcome
from socialsync_common.platforms.publishing import Container, ContainerState, Duplicate, NotReady, Unreadable
from socialsync_scheduler.publishing.schemas import (
    Again,
    Ask,
    Closed,
    Confirm,
    Create,
    Fail,
    Finish,
    Launch,
    Poll,
    Reconcile,
    Step,
    Target,
    Verdict,
    Wait,
)

RETRIES = 3
RETRY_PAUSE = timedelta(seconds=300)
# before the first publish call nothing can be doubled: a hiccup need not cost five minutes
CREATE_PAUSES = (timedelta(seconds=15), timedelta(seconds=60), RETRY_PAUSE)
LEAD = timedelta(seconds=75)
CONTAINER_LIFETIME = timedelta(hours=23)
PROCESSING_AT_MOST = timedelta(hours=1)
# a call whose answer was lost may still be on its way in
SETTLING = timedelta(seconds=30)
RECHECK = timedelta(seconds=10)
RECONCILE_AT_MOST = timedelta(minutes=15)
# a feed shows a new post within seconds; one that is not there after this is not proven absent
FEED_AT_MOST = timedelta(minutes=2)
_POLL_MIN, _POLL_MAX = timedelta(seconds=3), timedelta(seconds=60)

UNCERTAIN = "nobody can tell whether it was published: look at the account, then say so"
STOPPED = "the account must be reconnected first"
MISSED = "it was not published in time: say whether it shall go out now"


def next_step(target: Target, now: datetime, *, account_active: bool, grace: timedelta, pieces: int) -> Step:
    """``pieces``: how many containers the post needs."""
    late = now - target.due_at > grace + target.attempt * RETRY_PAUSE
    if target.phase == "confirmed":
        return _after_confirmed(target, now, account_active=account_active, late=late)
    if target.status not in ("queued", "publishing"):
        return Closed()
    if target.phase == "publish_called":
        if account_active:
            return Reconcile()
        return Ask(UNCERTAIN) if late else Wait(now + RETRY_PAUSE, STOPPED)
    if late:
        return Ask(MISSED, missed=True)
    if not account_active:
        return Wait(now, STOPPED)
    if target.container_at is not None and now - target.container_at > CONTAINER_LIFETIME:
        return Create()
    if target.phase == "container_ready":
        return Launch(max(now, target.due_at))
    return Create() if len(target.container_ids) < pieces else Poll()


def _after_confirmed(target: Target, now: datetime, *, account_active: bool, late: bool) -> Step:
    unfinished = target.permalink is None or target.comment_status in ("pending", "sending")
    if unfinished and not account_active:
        return Closed() if late else Wait(now, STOPPED)
    return Finish() if unfinished else Closed()


def is_stale(target: Target, now: datetime) -> bool:
    """Whether its containers are about to expire, so that new ones are needed."""
    return target.container_at is not None and now - target.container_at > CONTAINER_LIFETIME


def after_create_error(target: Target, error: SocialSyncError, now: datetime) -> Verdict:
    """A container was not made, or nobody knows: either may be tried again, since nobody sees a container."""
    if isinstance(error, NotReady):
        return Wait(now + _poll_pause(target, now))
    if isinstance(error, PermanentError):
        return Fail(str(error))
    return _again(target, str(error), now, CREATE_PAUSES)


def after_look(target: Target, container: Container, now: datetime) -> Verdict:
    """Before the publish call: Launch where all is ready."""
    match container.state:
        case ContainerState.READY:
            return Launch(max(now, target.due_at))
        case ContainerState.PUBLISHED:
            return Confirm()
        case ContainerState.WORKING:
            begun = target.container_at or now
            if now - begun <= PROCESSING_AT_MOST:
                return Wait(now + _poll_pause(target, now), "Meta is processing the media")
            return _again(target, "Meta did not process the media within an hour", now, fresh=True)
        case ContainerState.EXPIRED:
            return _again(target, "the prepared post expired", now, CREATE_PAUSES, fresh=True)
        case ContainerState.FAILED:
            if not container.may_succeed:
                return Fail(container.reason)
            return _again(target, container.reason, now, CREATE_PAUSES, fresh=True)


def after_parts(target: Target, container: Container, now: datetime) -> Verdict:
    """The platform could not put the parts of a post together yet. ``container``: what it says of the first of them
    that is not ready."""
    if container.state in (ContainerState.READY, ContainerState.PUBLISHED):
        return Wait(now + _poll_pause(target, now))
    return after_look(target, container, now)


def after_look_error(target: Target, error: SocialSyncError, now: datetime) -> Verdict:
    """Before the publish call, the containers could not be asked about."""
    if isinstance(error, Unreadable):
        return _again(target, str(error), now, CREATE_PAUSES, fresh=True)
    if isinstance(error, PermanentError):
        return Fail(str(error))
    return _again(target, str(error), now, CREATE_PAUSES)


def after_publish_error(target: Target, platform: Platform, error: SocialSyncError, now: datetime) -> Verdict:
    """The publish call was not answered with success. ``target`` as it was when the call was made."""
    if isinstance(error, UnknownOutcome):
        return Wait(now + RECHECK, str(error))
    if isinstance(error, NotReady):
        return Again(now + RECHECK, str(error), counted=False)
    if isinstance(error, TransientError):
        return _again(target, str(error), now)
    if isinstance(error, Duplicate):
        # after an earlier call the same newest post can only be ours
        return Fail(str(error)) if target.publishes <= 1 else Wait(now + RECHECK, str(error))
    if platform is Platform.INSTAGRAM and isinstance(error, Unreadable):
        # so is a container that is live already
        return Wait(now + RECHECK, str(error))
    return Fail(str(error))


def after_reconcile(target: Target, container: Container | None, found: str | None, now: datetime) -> Verdict:
    """What is known of a post that may be live. ``container``: what it says, None where it cannot tell."""
    since = now - (target.publish_called_at or now)
    if found is not None:
        return Confirm()
    if container is None:
        return Wait(now + RECHECK, UNCERTAIN) if since < FEED_AT_MOST else Ask(UNCERTAIN)
    match container.state:
        case ContainerState.PUBLISHED:
            return Confirm()
        case ContainerState.READY | ContainerState.WORKING if since < SETTLING:
            return Wait(now + RECHECK)
        case ContainerState.READY:
            if target.publishes <= 1:
                return Launch(now)
            return _again(target, "the platform did not publish it", now)
        case ContainerState.WORKING:
            return Wait(now + RECHECK) if since < RECONCILE_AT_MOST else Ask(UNCERTAIN)
        case ContainerState.EXPIRED | ContainerState.FAILED:
            return _again(target, container.reason or "the prepared post expired", now, fresh=True)


def after_reconcile_error(target: Target, error: SocialSyncError, now: datetime) -> Verdict:
    """Whether it is live could not be asked."""
    if isinstance(error, Unreadable):
        return Ask(UNCERTAIN)
    since = now - (target.publish_called_at or now)
    return Wait(now + RECHECK, str(error)) if since < RECONCILE_AT_MOST else Ask(UNCERTAIN)


def _again(
    target: Target,
    reason: str,
    now: datetime,
    pauses: tuple[timedelta, ...] = (RETRY_PAUSE,) * RETRIES,
    *,
    fresh: bool = False,
) -> Verdict:
    if target.attempt >= RETRIES:
        return Fail(f"gave up after {RETRIES + 1} attempts: {reason}")
    return Again(now + pauses[target.attempt], reason, fresh=fresh)


def _poll_pause(target: Target, now: datetime) -> timedelta:
    """Half as long as it has taken so far: quick for pictures, once a minute for long videos."""
    begun = target.container_at or now
    return min(max((now - begun) / 2, _POLL_MIN), _POLL_MAX)
