"""Sends what was written about a comment, each thing once, right after a last look at whether it may still leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from socialsync_comments.answering import decide, repository
from socialsync_comments.answering.schemas import (
    ORDER,
    REPLIES,
    Comment,
    Failed,
    GiveUp,
    Outcome,
    Retry,
    Send,
    Sent,
    Superseded,
    Unknown,
)
from socialsync_common.accounts import Account, stop_account
from socialsync_common.contracts import CommentReason as Reason
from socialsync_common.contracts import CommentStatus as Status
from socialsync_common.contracts import Platform
from socialsync_common.db import Connection, Database
from socialsync_common.errors import AuthenticationExpired, SocialSyncError, UnknownOutcome
from socialsync_common.leases import Leases
from socialsync_common.platforms.comments import CommentsApi, CommentState, Gone
from socialsync_common.platforms.publishing import Channel

log = structlog.get_logger()

STOPPED_SECONDS = 300.0


class Delivery:
    """Thread-safe."""

    def __init__(
        self,
        database: Database,
        apis: dict[Platform, CommentsApi],
        leases: Leases[Comment],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._leases = leases
        self._apis = apis
        self._clock = clock

    def deliver(self, comment: Comment, account: Account) -> str:
        """Send, or find out about, all that is open; the comment is under this process's lease. Returns a word for
        the log."""
        for _ in range(2 * len(ORDER)):
            with self._database.transaction(comment.tenant_id) as connection:
                sends = repository.sends(connection, comment)
                following = next_open(sends)
                if following is None:
                    return self._close(connection, comment, sends)
            outcome = self._outcome_of(comment, account, following)
            if outcome is None:
                return "superseded"
            pause = self._record(comment, following, outcome)
            if pause is not None:
                return pause
        return self._again(comment, 0.0)

    def _outcome_of(self, comment: Comment, account: Account, send: Send) -> Outcome | None:
        """None: the comment has changed under it, or another worker has it."""
        channel = Channel(account.platform, account.external_id, account.token)
        try:
            if send.status in ("sending", "unknown"):
                return self._find_out(comment, account, channel, send)
            return self._send(comment, account, channel, send)
        except AuthenticationExpired as error:
            with self._database.transaction(comment.tenant_id) as connection:
                stop_account(connection, account, str(error))
            if send.status in ("sending", "unknown"):
                return Unknown(STOPPED_SECONDS, str(error))
            return Retry(STOPPED_SECONDS, str(error), counted=False)

    def _send(self, comment: Comment, account: Account, channel: Channel, send: Send) -> Outcome | None:
        if send.kind in REPLIES:
            refusal = self._last_look(comment, account, channel, send)
            if refusal is not None:
                return refusal
        with self._database.transaction(comment.tenant_id) as connection:
            if not repository.mark_sending(connection, comment, send):
                repository.release(connection, comment, self._clock())
                return None
        if not self._leases.is_safe(comment):
            return None  # it may be another worker's by now, who finds out what became of this
        try:
            return Sent(self._call(channel, comment, send))
        except AuthenticationExpired:
            raise
        except SocialSyncError as error:
            return decide.after_error(send, error)

    def _last_look(self, comment: Comment, account: Account, channel: Channel, send: Send) -> Outcome | None:
        refusal: Outcome | None = decide.outdated(comment, send)
        if refusal is None:
            refusal = self._look_now(comment, account, channel, send)
        if isinstance(refusal, Superseded) and refusal.again:
            with self._database.transaction(comment.tenant_id) as connection:
                repository.start_anew(connection, comment, refusal.text)
        return refusal

    def _look_now(self, comment: Comment, account: Account, channel: Channel, send: Send) -> Outcome | None:
        try:
            state = self._look(channel, comment)
        except AuthenticationExpired:
            raise
        except UnknownOutcome as error:
            return Retry(decide.backoff(send.attempt), str(error))
        except SocialSyncError as error:
            return decide.after_error(send, error)
        with self._database.transaction(comment.tenant_id) as connection:
            ours = repository.our_replies(connection, comment, send)
        return decide.superseded(comment, send, state, account, ours)

    def _look(self, channel: Channel, comment: Comment) -> CommentState:
        """The comment as it is now, with the replies among which ours would be: those of its thread."""
        api = self._apis[channel.platform]
        if comment.parent_external_id is None:
            return api.state(channel, comment.external_id)
        thread = api.state(channel, comment.parent_external_id)
        for reply in thread.replies:
            if reply.id == comment.external_id:
                return CommentState(reply, thread.replies, thread.complete)
        if thread.complete:
            raise Gone(f"comment {comment.external_id} is not in its thread any more")
        return CommentState(api.state(channel, comment.external_id).comment, thread.replies, thread.complete)

    def _call(self, channel: Channel, comment: Comment, send: Send) -> str | None:
        api = self._apis[channel.platform]
        match send.kind:
            case "public_reply":
                return api.reply(channel, comment.external_id, send.text or "")
            case "private_reply":
                return api.reply_privately(channel, comment.external_id, send.text or "")
            case "hide":
                api.hide(channel, comment.external_id)
            case "like":
                api.like(channel, comment.external_id)
        return None

    def _find_out(self, comment: Comment, account: Account, channel: Channel, send: Send) -> Outcome:
        """Its call may have been made, and nobody knows what came of it."""
        if send.kind != "public_reply":
            return decide.repeatable(send, self._clock())
        try:
            state = self._look(channel, comment)
        except AuthenticationExpired:
            raise
        except SocialSyncError as error:
            return decide.after_look_error(send, error, self._clock())
        with self._database.transaction(comment.tenant_id) as connection:
            ours = repository.our_replies(connection, comment, send)
        return decide.reconciled(send, state, account, ours, self._clock())

    def _record(self, comment: Comment, send: Send, outcome: Outcome) -> str | None:
        """Write down what became of it; None: go on with the next one."""
        if isinstance(outcome, Superseded) and outcome.again:
            return "edited"  # it is new again, and has been given back
        with self._database.transaction(comment.tenant_id) as connection:
            match outcome:
                case Sent(platform_id):
                    _record_sent(connection, comment, send, platform_id)
                case Failed(reason):
                    _record_failed(connection, comment, send, reason)
                case Retry(seconds, reason, counted):
                    repository.record(connection, comment, send, "retry", reason=reason, counted=counted)
                    return self._put_off(connection, comment, seconds)
                case Unknown(seconds, reason):
                    repository.record(connection, comment, send, "unknown", reason=reason)
                    return self._put_off(connection, comment, seconds)
                case GiveUp(reason):
                    repository.record(connection, comment, send, "unknown", reason=reason)
                    repository.settle(connection, comment, Status.PERSON, Reason.UNKNOWN, reason)
                    return "unknown"
                case Superseded(why, detail):
                    _record_superseded(connection, comment, send, why, detail)
                    return str(why)
        return None

    def _put_off(self, connection: Connection, comment: Comment, seconds: float) -> str:
        repository.release(connection, comment, self._clock() + timedelta(seconds=seconds))
        return "later"

    def _again(self, comment: Comment, seconds: float) -> str:
        with self._database.transaction(comment.tenant_id) as connection:
            return self._put_off(connection, comment, seconds)

    def _close(self, connection: Connection, comment: Comment, sends: list[Send]) -> str:
        """Nothing is open any more."""
        was_unknown = comment.status is Status.PERSON and comment.reason is Reason.UNKNOWN
        if comment.status is not Status.ANSWERING and not was_unknown:
            # a person had it hidden, which this worker knows by now
            repository.release(connection, replace(comment, hidden=True), None)
            return "done"
        # what a person had done beside an answer says nothing about the answer
        told = REPLIES if any(each.kind in REPLIES for each in sends) else frozenset({"hide", "like"})
        reason = comment.reason or Reason.REMARK
        detail = comment.detail
        if any(each.status == "failed" and each.kind in told for each in sends):
            repository.settle(
                connection, comment, Status.FAILED, Reason.REFUSED, "the platform refused it: see its sends"
            )
            return "failed"
        hidden = any(each.kind == "hide" and each.status == "sent" for each in sends)
        answered = any(each.kind != "hide" and each.status == "sent" for each in sends)
        status = Status.LEFT if hidden and not answered else Status.ANSWERED
        repository.settle(connection, comment, status, reason, detail)
        return str(status)


def _record_sent(connection: Connection, comment: Comment, send: Send, platform_id: str | None) -> None:
    repository.record(connection, comment, send, "sent", platform_id=platform_id)
    if send.kind in REPLIES:
        repository.count(connection, comment, {"comment_answers": 1})
    if send.kind == "hide":
        repository.note_hidden(connection, comment)


def _record_failed(connection: Connection, comment: Comment, send: Send, reason: str) -> None:
    repository.record(connection, comment, send, "failed", reason=reason, counted=True)
    log.warning("answer refused", comment=str(comment.id), kind=send.kind, reason=reason)
    if send.kind == "private_reply":
        # what announces it must not leave
        repository.supersede(connection, comment, "public_reply", reason)


def _record_superseded(
    connection: Connection, comment: Comment, send: Send, reason: Reason, detail: str
) -> None:
    repository.record(connection, comment, send, "superseded", reason=detail)
    if reason is Reason.DELETED:
        repository.note_gone(connection, comment)
    if reason is Reason.HIDDEN:
        repository.note_hidden(connection, comment)
    repository.settle(connection, comment, Status.LEFT, reason, detail)


def next_open(sends: list[Send]) -> Send | None:
    """What comes next. What announces a private answer waits for it."""
    waiting = [each for each in sends if each.status in decide.OPEN]
    return min(waiting, key=lambda each: ORDER.index(each.kind)) if waiting else None
