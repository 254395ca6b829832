"""What people do with comments. Each function is one transaction; the endpoints tell the workers after its commit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog
from fastapi.exceptions import RequestValidationError

from socialsync_common.comment_policy import CommentPolicy
from socialsync_common.contracts import CommentReason, Platform
from socialsync_common.db import Row
from socialsync_gateway.comments import repository
from socialsync_gateway.comments.decide import (
    Comment,
    Send,
    Texts,
    draft_faults,
    edited,
    is_answered_so,
    is_being_hidden,
    is_dismissed,
    policy_faults,
    post_id_faults,
    refuse_account,
    refuse_answer,
    refuse_approval,
    refuse_dismissal,
    refuse_hiding,
    text_faults,
)
from socialsync_gateway.database import Connection, Database
from socialsync_gateway.posts.model import Fault, Refusal
from socialsync_gateway.problems import ProblemError

log = structlog.get_logger()

ANSWERED_HERE = "a person answers it"
DISMISSED = "a person dismissed it"


@dataclass(frozen=True, slots=True)
class _Locked:
    """A comment that nobody else decides about now."""

    connection: Connection
    comment: Comment
    sends: list[Send]

    async def shown(self) -> Row:
        return _found(await repository.get_comment(self.connection, self.comment.id))


async def get(database: Database, tenant: UUID, comment_id: UUID) -> Row:
    """The comment with its ``thread``; raises ProblemError 404."""
    async with database.transaction([tenant]) as connection:
        comment = _found(await repository.get_comment(connection, comment_id))
        return {**comment, "thread": await repository.list_thread(connection, comment)}


async def approve(database: Database, tenant: UUID, comment_id: UUID, texts: Texts) -> Row:
    """Let what the AI wrote leave, with ``texts`` in place of its own.

    Raises:
        ProblemError: 404; 409 where nothing waits for approval, or nothing can leave.
        RequestValidationError: every fault of the texts.
    """
    async with _locked(database, tenant, comment_id) as it:
        _raise(refuse_approval(it.comment, it.sends, datetime.now(UTC)))
        _raise_faults([*draft_faults(it.sends, texts), *text_faults(it.comment.platform, texts)])
        changes = edited(it.sends, texts)
        for kind, text in changes.items():
            await repository.edit_draft(it.connection, comment_id, kind, text)
        await repository.release_drafts(it.connection, comment_id)
        await repository.start_answering(it.connection, comment_id)
        shown = await it.shown()
    log.info("answer approved", comment=str(comment_id), edited=len(changes))
    return shown


async def answer(database: Database, tenant: UUID, comment_id: UUID, texts: Texts) -> Row:
    """Write a person's own answer; a repeat changes nothing.

    Raises:
        ProblemError: 404; 409 where it could not leave.
        RequestValidationError: every fault of the texts.
    """
    async with _locked(database, tenant, comment_id) as it:
        repeated = is_answered_so(it.sends, texts)
        if not repeated:
            _raise(refuse_answer(it.comment, it.sends, texts.keys(), datetime.now(UTC)))
            _raise_faults(text_faults(it.comment.platform, texts))
            await repository.withdraw(it.connection, comment_id, ANSWERED_HERE)
            await repository.forget_failures(it.connection, comment_id)
            for kind, text in texts.items():
                await repository.write_send(it.connection, comment_id, kind, text)
            await repository.start_answering(
                it.connection, comment_id, CommentReason.PERSON_ANSWERED, ANSWERED_HERE
            )
        shown = await it.shown()
    log.info("person answers", comment=str(comment_id), repeated=repeated)
    return shown


async def dismiss(database: Database, tenant: UUID, comment_id: UUID) -> Row:
    """Leave a comment alone; a repeat changes nothing.

    Raises:
        ProblemError: 404; 409 where it is answered, or left alone for another reason.
    """
    async with _locked(database, tenant, comment_id) as it:
        if not is_dismissed(it.comment):
            _raise(refuse_dismissal(it.comment))
            await repository.withdraw(it.connection, comment_id, DISMISSED)
            await repository.dismiss(it.connection, comment_id, DISMISSED)
        shown = await it.shown()
    log.info("comment dismissed", comment=str(comment_id))
    return shown


async def hide(database: Database, tenant: UUID, comment_id: UUID) -> Row:
    """Have a comment hidden on the platform, whatever else becomes of it; a repeat changes nothing.

    Raises:
        ProblemError: 404; 409 where the platform cannot be asked.
    """
    async with _locked(database, tenant, comment_id) as it:
        if not is_being_hidden(it.comment, it.sends):
            _raise(refuse_hiding(it.comment))
            await repository.write_send(it.connection, comment_id, "hide", None)
            await repository.make_due(it.connection, comment_id)
        shown = await it.shown()
    log.info("comment to be hidden", comment=str(comment_id))
    return shown


@asynccontextmanager
async def _locked(database: Database, tenant: UUID, comment_id: UUID) -> AsyncIterator[_Locked]:
    """Raises ProblemError 404."""
    async with database.transaction([tenant]) as connection:
        comment = await repository.lock_comment(connection, comment_id)
        if comment is None:
            raise not_found("comment")
        yield _Locked(connection, comment, await repository.sends_of(connection, comment_id))


# --- monitored posts ---


@dataclass(frozen=True, slots=True)
class Monitored:
    """The post as it is now."""

    post: Row
    is_new: bool


async def monitor(database: Database, tenant: UUID, account: UUID, external_id: str) -> Monitored:
    """Watch a post's comments from now on; one that is watched already stays so.

    Raises:
        ProblemError: 404; 409 where the account has no comments.
        RequestValidationError: this is no post's id.
    """
    async with database.transaction([tenant]) as connection:
        platform = await _platform(connection, account)
        _raise_faults(post_id_faults(platform, external_id))
        post, is_new = await repository.monitor(connection, tenant, account, external_id)
        row = _found(await repository.get_post(connection, post), "monitored post")
    log.info("post monitored", post=str(post), new=is_new)
    return Monitored(row, is_new)


async def set_monitored(database: Database, tenant: UUID, post: UUID, *, monitored: bool) -> Row:
    """Watch a known post's comments from now on, or no longer; raises ProblemError 404."""
    async with database.transaction([tenant]) as connection:
        await repository.set_monitored(connection, post, monitored=monitored)
        row = _found(await repository.get_post(connection, post), "monitored post")
    log.info("post changed", post=str(post), monitored=monitored)
    return row


# --- policies ---


async def get_policy(database: Database, tenant: UUID, account: UUID) -> CommentPolicy:
    """Raises ProblemError: 404; 409 where the account has no comments."""
    async with database.transaction([tenant]) as connection:
        await _platform(connection, account)
        return await repository.get_policy(connection, account)


async def set_policy(database: Database, tenant: UUID, account: UUID, policy: CommentPolicy) -> None:
    """Decide about the account's comments by ``policy`` from now on.

    Raises:
        ProblemError: 404; 409 where the account has no comments.
        RequestValidationError: the platform does not offer it.
    """
    async with database.transaction([tenant]) as connection:
        platform = await _platform(connection, account)
        _raise_faults(policy_faults(platform, policy))
        await repository.save_policy(connection, tenant, account, policy)
    log.info("comment policy set", account=str(account), enabled=policy.enabled, review=policy.review)


async def _platform(connection: Connection, account: UUID) -> Platform:
    """Of an account that has comments."""
    platform = await repository.platform_of(connection, account)
    if platform is None:
        raise not_found("account")
    _raise(refuse_account(platform))
    return platform


def not_found(what: str) -> ProblemError:
    return ProblemError(404, f"There is no such {what}.", kind="not-found")


def _found(row: Row | None, what: str = "comment") -> Row:
    if row is None:
        raise not_found(what)
    return row


def _raise(refusal: Refusal | None) -> None:
    if refusal:
        raise ProblemError(409, refusal.detail, kind=refusal.kind)


def _raise_faults(faults: Iterable[Fault]) -> None:
    """Leave as FastAPI's own faults do: one problem that names each."""
    errors = [{"type": "value_error", "loc": ("body", *fault.where), "msg": fault.detail} for fault in faults]
    if errors:
        raise RequestValidationError(errors)
