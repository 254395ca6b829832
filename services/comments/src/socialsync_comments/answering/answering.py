"""Takes one comment as far as it goes: read, decided, answered, and what was said about it settled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4

import structlog

from socialsync_comments.answering import decide, repository
from socialsync_comments.answering.deliver import Delivery
from socialsync_comments.answering.schemas import (
    LEASE_SECONDS,
    ORDER,
    Act,
    Answer,
    Comment,
    HandOver,
    Leave,
    Plan,
    Post,
    Retry,
    ThreadComment,
)
from socialsync_comments.answering.writing import Writer
from socialsync_comments.detection import Heard, Rules, Said, detect
from socialsync_common.accounts import Account, load_account
from socialsync_common.comment_policy import CommentPolicy
from socialsync_common.contracts import CommentReason as Reason
from socialsync_common.contracts import CommentStatus as Status
from socialsync_common.contracts import Platform
from socialsync_common.crypto import TokenCipher
from socialsync_common.db import Connection, Database
from socialsync_common.errors import PermanentError, SocialSyncError
from socialsync_common.leases import Leases
from socialsync_common.platforms.comments import CommentsApi

log = structlog.get_logger()

UNREADABLE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Work:
    """A comment under this process's lease, and what deciding about it needs."""

    comment: Comment
    account: Account
    post: Post | None
    policy: CommentPolicy
    thread: Sequence[ThreadComment]

    @property
    def own(self) -> bool:
        return decide.is_own(self.comment.author_id, self.comment.author_name, self.account)


class Answering:
    """Thread-safe; shared by all slots of a worker."""

    def __init__(
        self,
        database: Database,
        cipher: TokenCipher,
        apis: dict[Platform, CommentsApi],
        writer: Writer,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._apis = apis
        self._writer = writer
        self._clock = clock
        self._rules = Rules.default()
        self.leases = Leases(database, repository.renew, LEASE_SECONDS, "comment-leases")
        self._delivery = Delivery(database, apis, self.leases, clock)

    def start(self) -> None:
        self.leases.start()

    def close(self) -> None:
        self.leases.stop()

    def hand_over(
        self, lease_seconds: float, *, lost: bool, fair_share: int, room: int, wait_seconds: float
    ) -> list[tuple[UUID, UUID, bool]]:
        """Claims what wants a worker: (tenant, comment, crowded)."""
        with self._database.transaction(wait_seconds=wait_seconds) as connection:
            rows = repository.hand_over(
                connection, lease_seconds, lost=lost, fair_share=fair_share, room=room
            )
        return [(row["tenant_id"], row["comment_id"], row["crowded"]) for row in rows]

    def process(self, tenant: UUID, comment_id: UUID) -> str:
        """Returns what became of it, in a word for the log. Any number of times with one effect."""
        since = self.leases.now()
        with self._database.transaction(tenant) as connection:
            comment = repository.take(connection, comment_id, uuid4())
            if comment is None:
                return "not to be taken"
            try:
                account = load_account(connection, self._cipher, comment.account_id)
            except PermanentError as error:
                log.error("comment put off", comment=str(comment.id), reason=str(error))
                repository.release(connection, comment, self._later(UNREADABLE_SECONDS))
                return "token unreadable"
            work = self._load(connection, comment, account)
            step = self._next_step(connection, work)
        if isinstance(step, str):
            return step
        self.leases.hold(comment, since)
        try:
            return self._advance(work, step)
        except Exception as error:
            log.exception("comment not processed", comment=str(comment.id))
            self._note_failure(work, f"{type(error).__name__}", ours=True)
            return "failed"
        finally:
            self.leases.drop(comment)

    def _load(self, connection: Connection, comment: Comment, account: Account) -> Work:
        return Work(
            comment,
            account,
            repository.post_of(connection, comment),
            repository.policy(connection, comment.account_id),
            repository.thread(connection, comment),
        )

    def _next_step(self, connection: Connection, work: Work) -> str | Answer | Comment:
        """What needs no call is done in the transaction that took the comment, and most comments end here; else what
        to write, or the comment about which there is something to send."""
        comment = work.comment
        is_open = any(each.status in decide.OPEN for each in repository.sends(connection, comment))
        if is_open or comment.status is Status.ANSWERING:
            return comment
        if comment.status is Status.REVIEW:
            return self._look_at_draft(connection, work)
        if comment.status is not Status.NEW:
            repository.release(connection, comment, None)
            return "nothing to do"
        plan = self._plan(connection, work)
        if isinstance(plan, Answer):
            # before the model is asked, and again when its answer is committed
            return self._limit(connection, work) or plan
        if isinstance(plan, Act):
            repository.write(connection, comment, plan.kind, None, status="pending", model=None)
            return self._mark(connection, comment, Status.ANSWERING, plan, None)
        self._end(connection, comment, plan)
        if work.own:
            repository.wake_open_comments(connection, comment.account_id, comment.thread_id)
        return str(plan.reason)

    def _plan(self, connection: Connection, work: Work) -> Plan:
        comment, account, post, policy = work.comment, work.account, work.post, work.policy
        connected = not work.own and repository.is_connected(connection, account.platform, comment.author_id)
        known = decide.before_reading(comment, post, policy, self._clock(), own=work.own, connected=connected)
        if known is not None:
            return known
        if post is not None and not post.monitored:
            repository.watch(connection, comment)
        if decide.person_answered(comment, work.thread, account):
            return Leave(Reason.PERSON_ANSWERED, "a person answered first")
        verdict = detect(_heard(work), self._rules.adjusted(policy.rules) if policy.rules else self._rules)
        return decide.plan(verdict, policy, can_like=self._apis[account.platform].can_like)

    def _look_at_draft(self, connection: Connection, work: Work) -> str:
        """Something has happened to a comment whose answer waits for a person's approval."""
        comment = work.comment
        if comment.deleted_at is not None:
            self._end(connection, comment, Leave(Reason.DELETED, "it was deleted"))
            return "deleted"
        if decide.person_answered(comment, work.thread, work.account):
            self._end(connection, comment, Leave(Reason.PERSON_ANSWERED, "a person answered first"))
            return "person answered"
        drafts = repository.sends(connection, comment)
        if any(each.status == "draft" and each.version < comment.version for each in drafts):
            repository.start_anew(connection, comment)
            return "edited"
        repository.release(connection, comment, None)
        return "waits for approval"

    def _end(self, connection: Connection, comment: Comment, plan: Leave | HandOver) -> None:
        status = Status.LEFT if isinstance(plan, Leave) else Status.PERSON
        repository.settle(connection, comment, status, plan.reason, plan.detail)
        log.info("comment settled", comment=str(comment.id), status=status, reason=plan.reason)

    # --- what takes calls ---

    def _advance(self, work: Work, step: Answer | Comment) -> str:
        written = self._write(work, step) if isinstance(step, Answer) else step
        return written if isinstance(written, str) else self._delivery.deliver(written, work.account)

    def _write(self, work: Work, plan: Answer) -> Comment | str:
        """Have the answer written, and commit it. Returns the comment where it is to be sent now."""
        comment = work.comment
        try:
            written = self._writer.write(
                work.account, comment, work.thread, private=work.policy.reply != "public"
            )
        except SocialSyncError as error:
            log.warning("no answer from the model", comment=str(comment.id), reason=str(error))
            self._note_failure(work, str(error), ours=False)
            return "no answer yet"
        with self._database.transaction(comment.tenant_id) as connection:
            if not repository.is_held(connection, comment):
                repository.release(connection, comment, self._clock())
                return "superseded"
            repository.count(connection, comment, written.used)
            if isinstance(written.plan, Leave | HandOver):
                self._end(connection, comment, written.plan)
                return str(written.plan.reason)
            return self._commit(connection, work, plan, written.texts, written.model, written.picture_note)

    def _commit(
        self,
        connection: Connection,
        work: Work,
        plan: Answer,
        texts: dict[str, str],
        model: str,
        picture_note: str | None,
    ) -> Comment | str:
        comment, policy = work.comment, work.policy
        repository.lock_limits(connection, comment.account_id)
        if limit := self._limit(connection, work):
            return limit
        kinds = decide.reply_kinds(comment, policy, self._clock())
        for kind in ORDER:
            if kind in kinds:
                text = texts["announcement" if kind == "public_reply" and len(kinds) > 1 else "answer"]
                status = "draft" if policy.review else "pending"
                repository.write(connection, comment, kind, text, status=status, model=model)
        status = Status.REVIEW if policy.review else Status.ANSWERING
        marked = self._mark(connection, comment, status, plan, picture_note)
        return "review" if policy.review else marked

    def _limit(self, connection: Connection, work: Work) -> str | None:
        """Whether the policy's limits allow one more answer; a word for the log where they do not."""
        comment = work.comment
        limit = decide.limited(repository.counts(connection, comment), work.policy)
        if isinstance(limit, Leave):
            self._end(connection, comment, limit)
            return str(limit.reason)
        if isinstance(limit, Retry):
            log.info("comment waits", comment=str(comment.id), reason=limit.reason)
            repository.release(connection, comment, self._later(limit.seconds))
            return "limit"
        return None

    def _mark(
        self,
        connection: Connection,
        comment: Comment,
        status: Status,
        plan: Answer | Act,
        picture_note: str | None,
    ) -> Comment:
        """The comment as it is from now on."""
        repository.mark(connection, comment, status, plan.reason, plan.detail, picture_note)
        return replace(comment, status=status, reason=plan.reason, detail=plan.detail)

    def _note_failure(self, work: Work, reason: str, *, ours: bool) -> None:
        """Wait longer after each failure. A model that is away is waited for; a fault of ours goes to a person."""
        comment, failures = work.comment, work.comment.failures + 1
        try:
            with self._database.transaction(comment.tenant_id) as connection:
                if ours and failures >= decide.FAILURES_UNTIL_PERSON:
                    self._end(
                        connection, comment, HandOver(Reason.FAULT, f"it could not be answered: {reason}")
                    )
                    return
                due_at = self._later(min(decide.backoff(failures - 1), 60.0))
                repository.release(connection, comment, due_at, failures=failures)
        except Exception:  # noqa: BLE001 - Postgres is away as well: the lease ends, and the sweep finds it
            log.warning("failure not noted", comment=str(comment.id))

    def _later(self, seconds: float) -> datetime:
        return self._clock() + timedelta(seconds=seconds)


def _heard(work: Work) -> Heard:
    comment, account = work.comment, work.account
    name = account.name.lower()
    before = [each for each in work.thread if each.written_at <= comment.written_at]
    return Heard(
        text=comment.text,
        author_name=comment.author_name,
        is_reply=comment.parent_external_id is not None,
        thread=tuple(Said(_who(each, comment, account), each.text) for each in before),
        own_names=frozenset({name, name.replace(" ", ""), account.external_id}),
    )


def _who(each: ThreadComment, comment: Comment, account: Account) -> Literal["us", "author", "other"]:
    if each.ours or decide.is_own(each.author_id, each.author_name, account):
        return "us"
    same = (
        each.author_id == comment.author_id if comment.author_id else each.author_name == comment.author_name
    )
    return "author" if same else "other"
