"""What to do about a comment, and what an answer of the platform means for it: pure, with the time given."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from socialsync_comments.answering.schemas import (
    Act,
    Answer,
    Comment,
    Counts,
    Failed,
    GiveUp,
    HandOver,
    Leave,
    Ours,
    Outcome,
    Plan,
    Post,
    Retry,
    Send,
    SendKind,
    Sent,
    Superseded,
    ThreadComment,
    Unknown,
)
from socialsync_comments.detection import Outcome as Detected
from socialsync_comments.detection import Verdict
from socialsync_common.accounts import Account
from socialsync_common.comment_policy import CommentPolicy
from socialsync_common.contracts import CommentReason as Reason
from socialsync_common.errors import PermanentError, SocialSyncError, TransientError, UnknownOutcome
from socialsync_common.platforms.comments import (
    AlreadyReplied,
    CommentState,
    Gone,
    RemoteComment,
    Throttled,
)

OPEN = frozenset({"pending", "sending", "retry", "unknown"})
ATTEMPTS = 8
FAILURES_UNTIL_PERSON = 8
PRIVATE_DAYS = timedelta(days=7)
# a reply whose answer was lost may still be on its way in
LOOK_AGAIN_SECONDS = 10.0
SETTLED = timedelta(seconds=40)
RECONCILE_AT_MOST = timedelta(minutes=15)
# a comment is told a moment after it was written, and clocks differ
_SLACK = timedelta(minutes=5)
_CLOCK_SKEW = timedelta(seconds=60)
_RETRY_SECONDS_AT_MOST = 3600.0


def is_own(author_id: str | None, author_name: str | None, account: Account) -> bool:
    """Whether the account itself wrote it."""
    if author_id is not None and author_id == account.external_id:
        return True
    return bool(author_name) and author_id is None and str(author_name).lower() == account.name.lower()


def before_reading(
    comment: Comment, post: Post | None, policy: CommentPolicy, now: datetime, *, own: bool, connected: bool
) -> Leave | HandOver | None:
    """What is known of a comment without reading it; None: it is read."""
    if comment.kind == "mention" or post is None:
        return Leave(Reason.MENTION, "the account is named on somebody else's post")
    if own:
        return Leave(Reason.OWN, "the account wrote it itself")
    if connected:
        return Leave(Reason.CONNECTED_ACCOUNT, "a connected account wrote it: two of them must not talk")
    if comment.deleted_at is not None:
        return Leave(Reason.DELETED, "it was deleted")
    if comment.hidden:
        return Leave(Reason.HIDDEN, "it is hidden")
    if not policy.enabled:
        return Leave(Reason.OFF, "comments of this account are not answered")
    if not is_watched(post, policy):
        return Leave(Reason.NOT_MONITORED, "its post is not monitored")
    return _too_old(comment, post, policy, now)


def is_watched(post: Post, policy: CommentPolicy) -> bool:
    return post.monitored or (policy.watch == "all" and post.origin == "seen")


def _too_old(comment: Comment, post: Post, policy: CommentPolicy, now: datetime) -> Leave | HandOver | None:
    before = post.monitored_since is not None and comment.written_at < post.monitored_since - _SLACK
    if before:
        return Leave(Reason.TOO_OLD, "it was written before its post was monitored")
    if now - comment.written_at <= timedelta(hours=policy.within_hours):
        return None
    if comment.failures:
        return HandOver(Reason.FAULT, f"no answer could be written within {policy.within_hours} hours")
    return Leave(Reason.TOO_OLD, f"it is older than {policy.within_hours} hours")


def plan(verdict: Verdict, policy: CommentPolicy, *, can_like: bool) -> Plan:
    """What follows from what was read, by the business's policy."""
    reason, detail = verdict.reason, verdict.detail
    if verdict.outcome is Detected.PERSON:
        return HandOver(reason, detail)
    if verdict.outcome is Detected.LEAVE:
        return Act("hide", reason, detail) if hides(reason, policy) else Leave(reason, detail)
    if reason is Reason.PRAISE and policy.praise != "answer":
        return Act("like", reason, detail) if policy.praise == "like" and can_like else Leave(reason, detail)
    return Answer(reason, detail)


def hides(reason: Reason, policy: CommentPolicy) -> bool:
    return reason is Reason.SPAM and policy.spam == "hide"


def reply_kinds(comment: Comment, policy: CommentPolicy, now: datetime) -> tuple[SendKind, ...]:
    """How it is answered. A private reply is possible within seven days."""
    if policy.reply == "public" or now - comment.written_at > PRIVATE_DAYS:
        return ("public_reply",)
    return ("private_reply",) if policy.reply == "private" else ("private_reply", "public_reply")


def limited(counts: Counts, policy: CommentPolicy) -> Leave | Retry | None:
    """Whether the limits allow one more answer. An author who has had his is left alone; the rest waits."""
    if counts.author >= policy.author_per_hour:
        return Leave(Reason.AUTHOR_LIMIT, f"this person had {counts.author} answers within an hour")
    if counts.post >= policy.post_per_hour:
        return Retry(300.0, f"{counts.post} answers on this post within an hour")
    if counts.account >= policy.account_per_hour:
        return Retry(300.0, f"{counts.account} answers of this account within an hour")
    return None


def person_answered(
    comment: Comment, thread: Sequence[ThreadComment], account: Account
) -> ThreadComment | None:
    """The account's own later comment in the thread, where SocialSync did not write it."""
    later = (each for each in thread if each.written_at >= comment.written_at and not each.ours)
    return next((each for each in later if is_own(each.author_id, each.author_name, account)), None)


# --- right before a send leaves ---


def outdated(comment: Comment, send: Send) -> Superseded | None:
    """Why a reply must not leave, as far as is known here."""
    if comment.deleted_at is not None:
        return Superseded(Reason.DELETED, "it was deleted")
    if send.author == "ai" and send.version < comment.version:
        return Superseded(Reason.REMARK, "it was edited meanwhile", again=True)
    return None


def superseded(
    comment: Comment, send: Send, state: CommentState, account: Account, ours: Ours
) -> Superseded | None:
    """Why a reply must not leave, seen on the platform right now. A person's own answer leaves anyway."""
    if send.author == "person":
        return None
    if state.comment.text.strip() != comment.text.strip():
        return Superseded(Reason.REMARK, "it was edited meanwhile", again=True, text=state.comment.text)
    if state.comment.hidden:
        return Superseded(Reason.HIDDEN, "it was hidden meanwhile")
    said = {*ours.texts, send.text or ""}
    theirs = (each for each in state.replies if each.id not in ours.ids and each.text not in said)
    if any(is_own(each.author_id, each.author_name, account) and _after(each, comment) for each in theirs):
        return Superseded(Reason.PERSON_ANSWERED, "a person answered first")
    return None


def _after(reply: RemoteComment, comment: Comment) -> bool:
    return reply.written_at is None or reply.written_at >= comment.written_at - _CLOCK_SKEW


# --- what became of a call ---


def after_error(send: Send, error: SocialSyncError) -> Outcome:
    """A call was not answered with success. ``send`` as it was before the call."""
    if isinstance(error, Gone):
        return Superseded(Reason.DELETED, "it was deleted meanwhile")
    if isinstance(error, AlreadyReplied):
        # after an earlier attempt of ours it can only be that one
        return (
            Sent(None)
            if send.attempt
            else Superseded(Reason.PERSON_ANSWERED, "somebody answered privately first")
        )
    if isinstance(error, UnknownOutcome):
        return Unknown(LOOK_AGAIN_SECONDS, str(error))
    if isinstance(error, Throttled):
        return Retry(error.retry_after or 300.0, str(error), counted=False)
    if isinstance(error, TransientError):
        if send.attempt + 1 >= ATTEMPTS:
            return Failed(f"gave up after {ATTEMPTS} attempts: {error}")
        return Retry(error.retry_after or backoff(send.attempt), str(error))
    if isinstance(error, PermanentError):
        return Failed(str(error))
    return Unknown(LOOK_AGAIN_SECONDS, str(error))


def reconciled(send: Send, state: CommentState, account: Account, ours: Ours, now: datetime) -> Outcome:
    """A public reply may have been published: is it there? Absent twice, the second time some while after the call,
    it was not."""
    called_at = send.called_at or now
    for reply in state.replies:
        fresh = reply.written_at is None or reply.written_at >= called_at - _CLOCK_SKEW
        is_it = reply.text.strip() == (send.text or "").strip() and reply.id not in ours.ids
        if is_it and fresh and is_own(reply.author_id, reply.author_name, account):
            return Sent(reply.id)
    if now - called_at < SETTLED:
        return Unknown(LOOK_AGAIN_SECONDS, "it is not among the replies yet")
    if state.complete:
        return Retry(0.0, "it was not published: it is not among the replies")
    return _keep_looking(called_at, now)


def repeatable(send: Send, now: datetime) -> Outcome:
    """What else may be repeated after a lost answer: the platform takes one private reply only, and hiding or liking
    twice is no more than once."""
    waits = send.kind == "private_reply" and now - (send.called_at or now) < SETTLED
    return (
        Unknown(LOOK_AGAIN_SECONDS, "an echo may still tell")
        if waits
        else Retry(0.0, "the platform takes it once only")
    )


def after_look_error(send: Send, error: SocialSyncError, now: datetime) -> Outcome:
    """Whether a reply is there could not be asked."""
    if isinstance(error, Gone):
        return Superseded(Reason.DELETED, "it was deleted meanwhile")
    if isinstance(error, Throttled):
        return Unknown(error.retry_after or 300.0, str(error))
    return _keep_looking(send.called_at or now, now)


def _keep_looking(called_at: datetime, now: datetime) -> Outcome:
    if now - called_at < RECONCILE_AT_MOST:
        return Unknown(LOOK_AGAIN_SECONDS, "whether it was published cannot be read")
    return GiveUp("nobody can tell whether the answer was published: look at the post")


def backoff(failures: int) -> float:
    """Seconds until the next attempt: 4, 8, 16 … at most an hour."""
    return float(min(4 * 2 ** min(failures, 12), _RETRY_SECONDS_AT_MOST))
