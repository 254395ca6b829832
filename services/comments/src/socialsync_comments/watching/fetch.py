"""Reads the comments of one watched post: what webhooks did not bring, what was edited, what is gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from socialsync_comments.watching import decide, repository
from socialsync_comments.watching.decide import Walk
from socialsync_comments.watching.posts import Posts
from socialsync_comments.watching.schemas import Calls, Kept, Outcome, Place, Post, Watched
from socialsync_common.accounts import Account, load_account, stop_account
from socialsync_common.contracts import Platform
from socialsync_common.crypto import TokenCipher
from socialsync_common.db import Connection, Database
from socialsync_common.errors import AuthenticationExpired, PermanentError, SocialSyncError, TransientError
from socialsync_common.platforms import GraphClient
from socialsync_common.platforms.allowance import Usage
from socialsync_common.platforms.comments import CommentPage, CommentsApi, Gone, Throttled
from socialsync_common.platforms.publishing import Channel

log = structlog.get_logger()

LEASE = timedelta(seconds=120)
# a comment that was stored so shortly before may not be shown yet
SETTLING = timedelta(minutes=1)

Announce = Callable[[list[tuple[UUID, UUID]]], None]


@dataclass(frozen=True, slots=True)
class Work:
    """A post in one run. ``calls``: what was stored of the account's allowance when it began."""

    post: Watched
    account: Account
    api: CommentsApi
    calls: Calls

    @property
    def channel(self) -> Channel:
        return Channel(self.account.platform, self.account.external_id, self.account.token)


class Watching:
    """Thread-safe; shared by all slots of a worker. ``announce`` sends a task for each (tenant, post), ``wake`` lets
    comments that were stored be handed over soon."""

    def __init__(
        self,
        database: Database,
        cipher: TokenCipher,
        apis: dict[Platform, CommentsApi],
        graph: GraphClient,
        *,
        announce: Announce,
        wake: Callable[[], None],
        sees_pictures: bool,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._apis = apis
        self._announce = announce
        self._wake = wake
        self._clock = clock
        self._posts = Posts(database, apis, graph, sees_pictures=sees_pictures)

    def describe(self, account: Account, post_id: UUID) -> Post:
        """What the post looks like; see ``Posts.describe``."""
        return self._posts.describe(account, post_id, self._clock())

    def hand_over(self, max_rows: int, wait_seconds: float) -> int:
        """Send a task for each post whose comments are to be read; returns how many."""
        with self._database.transaction(wait_seconds=wait_seconds) as connection:
            posts = repository.hand_over(connection, LEASE, max_rows)
        self._announce(posts)
        return len(posts)

    def fetch(self, tenant: UUID, post_id: UUID) -> str:
        """Read the post's comments; returns what became of it, in a word or two for the log.

        Runs any number of times with one effect: a comment is stored once, by whoever is first.
        """
        with self._database.transaction(tenant) as connection:
            post = repository.take(connection, post_id, LEASE)
            if post is None:
                return "not due"
            try:
                account = load_account(connection, self._cipher, post.account_id)
            except PermanentError as error:
                self._put_off(connection, post, Walk.begin(post), error, 0.0)
                return "token unreadable"
            calls = repository.calls_of(connection, account.id)
            api = self._apis.get(account.platform)
            if api is None:
                repository.unwatch(connection, post.id, f"{account.platform} has no comments")
                return "no comments"
            if account.status != "active" or (calls.paused_until and calls.paused_until > self._clock()):
                repository.give_back(connection, post.id, post.cursor)
                return "account waits"
        return self._run(Work(post, account, api, calls))

    def _run(self, work: Work) -> str:
        walk = Walk.begin(work.post)
        error = self._read(work, walk)
        if walk.stored:
            self._wake()
        usage = _usage(work, walk, error)
        if usage is not None:
            self._note_usage(work, usage)
        outcome = self._settle(work, walk, error, usage.percent if usage else 0.0)
        log.info(
            "comments read", post=str(work.post.id), outcome=outcome, stored=walk.stored, pages=walk.pages
        )
        return outcome

    # --- reading ---

    def _read(self, work: Work, walk: Walk) -> SocialSyncError | None:
        """As far as this run goes; returns what ended it before."""
        try:
            while place := walk.next():
                page = self._page(work, place)
                walk.add(place, page, self._keep(work, page))
        except SocialSyncError as error:
            return error
        return None

    def _page(self, work: Work, place: Place) -> CommentPage:
        if place.thread is None:
            return work.api.page(work.channel, work.post.external_id, place.after)
        try:
            return work.api.replies(work.channel, place.thread, place.after)
        except Gone:
            return CommentPage(())  # deleted since it was shown

    def _keep(self, work: Work, page: CommentPage) -> Kept:
        """Store what is new, and note what is not as it was."""
        post = work.post
        with self._database.transaction(post.tenant_id) as connection:
            repository.hold(connection, post.id, LEASE)
        with self._database.transaction(post.tenant_id) as connection:
            new = repository.insert_comments(connection, post, page.comments)
            changes = repository.lock_changed(connection, post, work.account.external_id, page.comments)
            again = repository.record_changes(connection, changes) if changes else 0
            held = repository.activity(connection, post.id).held
        return Kept(new, again, held)

    # --- what becomes of the post ---

    def _note_usage(self, work: Work, usage: Usage) -> None:
        now = self._clock()
        paused_until = decide.calls_paused_until(usage, now)
        if paused_until is None and not decide.is_worth_writing(work.calls, usage, now):
            return
        with self._database.transaction(work.post.tenant_id) as connection:
            repository.save_calls(connection, work.account.id, usage.percent, now, paused_until)
        if paused_until is not None:
            log.warning(
                "calls used up", account=str(work.account.id), percent=usage.percent, until=paused_until
            )

    def _settle(self, work: Work, walk: Walk, error: SocialSyncError | None, percent: float) -> str:
        post, cursor = work.post, decide.cursor_of(walk.left)
        if error is None:
            return self._record(work, walk, cursor, percent)
        with self._database.transaction(post.tenant_id) as connection:
            if isinstance(error, AuthenticationExpired):
                repository.give_back(connection, post.id, cursor)
                stop_account(connection, work.account, str(error))
                log.error("account needs reconnecting", account=str(work.account.id), reason=str(error))
                return "account stopped"
            if isinstance(error, Throttled):
                repository.give_back(connection, post.id, cursor)
                return "calls used up"
            if isinstance(error, Gone):
                repository.unwatch(connection, post.id, str(error))
                repository.forget_pictures(connection, post.id)
                return "post gone"
            self._put_off(connection, post, walk, error, percent)
        return "failed"

    def _record(self, work: Work, walk: Walk, cursor: str | None, percent: float) -> str:
        """All was read that this run had to read."""
        post, now = work.post, self._clock()
        gone = self._mark_deleted(post, walk) if walk.shows_gone else 0
        goes_on = cursor is not None and percent <= decide.BUSY_PERCENT
        with self._database.transaction(post.tenant_id) as connection:
            activity = repository.activity(connection, post.id)
            quiet = decide.quiet_for(post, activity.latest, now)
            rest = decide.pause(quiet, percent, chosen=post.origin == "chosen")
            outcome = Outcome(
                next_poll_at=post.taken_at if goes_on else decide.due_at(now, rest, post.id),
                comments_count=post.comments_count if walk.count is None else walk.count,
                unseen=walk.unseen(activity.held),
                cursor=cursor,
                last_comment_at=activity.latest,
            )
            repository.record(connection, post.id, outcome)
            if quiet > decide.PICTURES_KEPT and post.pictures_at is not None:
                repository.forget_pictures(connection, post.id)
        if goes_on:
            self._announce([(post.tenant_id, post.id)])
            return "goes on"
        return f"{walk.stored} stored, {gone} gone"

    def _mark_deleted(self, post: Watched, walk: Walk) -> int:
        with self._database.transaction(post.tenant_id) as connection:
            gone = repository.lock_unseen(connection, post.id, walk.seen, post.taken_at - SETTLING)
            if gone:
                repository.mark_deleted(connection, gone)
        return len(gone)

    def _put_off(
        self, connection: Connection, post: Watched, walk: Walk, error: SocialSyncError, percent: float
    ) -> None:
        """It could not be read: again in a while. The count stays, so that the next run sees how it changed."""
        now, failures = self._clock(), post.failures + 1
        rest = decide.pause(decide.quiet_for(post, None, now), percent, chosen=post.origin == "chosen")
        rest = decide.pause_after_failure(failures, rest)
        # where the platform refuses, its own cursor may be what it refuses
        cursor = decide.cursor_of(walk.left) if isinstance(error, TransientError) else None
        outcome = Outcome(
            next_poll_at=decide.due_at(now, rest, post.id),
            comments_count=post.comments_count,
            unseen=post.unseen,
            cursor=cursor,
            last_comment_at=None,
            failures=failures,
            reason=str(error),
        )
        repository.record(connection, post.id, outcome)
        log.warning("comments not read", post=str(post.id), failures=failures, reason=str(error))


def _usage(work: Work, walk: Walk, error: SocialSyncError | None) -> Usage | None:
    """How much of the allowance is used up after this run; None where it could not ask."""
    told = work.api.usage(work.channel) if walk.pages or isinstance(error, Throttled) else None
    if isinstance(error, Throttled):
        return Usage(100.0, max(error.retry_after or 0.0, told.regain_seconds if told else 0.0))
    return told
