"""What people do with posts. Each function is one transaction; the endpoints tell the workers after its commit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from fastapi.exceptions import RequestValidationError
from psycopg.errors import ForeignKeyViolation

from socialsync_common.contracts import Platform, PostKind
from socialsync_common.db import Row
from socialsync_gateway.database import Connection, Database
from socialsync_gateway.posts import repository, schemas
from socialsync_gateway.posts.decide import (
    GIVEN_UP,
    as_id,
    cancel_note,
    check_post,
    check_quota,
    is_decided,
    lead_time,
    post_of_key,
    read_due,
    refuse_cancel,
    refuse_decision,
    refuse_edit,
    request_hash,
)
from socialsync_gateway.posts.limits import QUOTA_PERIOD
from socialsync_gateway.posts.model import Attachment, Channel, Decision, Fault, File, Refusal, Target, Wanted
from socialsync_gateway.posts.quota import LOOK_AHEAD
from socialsync_gateway.posts.zones import TimeFault, find_zone, local_time, start_of_day
from socialsync_gateway.problems import ProblemError

log = structlog.get_logger()

MAX_CALENDAR_DAYS = 62
MAX_CALENDAR_POSTS = 5000


@dataclass(frozen=True, slots=True)
class Done:
    """The post as it is now, and its targets that a worker has to look at at once."""

    post: Row
    due: list[UUID] = field(default_factory=list)
    note: str | None = None


@dataclass(frozen=True, slots=True)
class _Checked:
    """A post without faults."""

    accounts: list[UUID]
    lead: timedelta


async def create(database: Database, tenant: UUID, request: schemas.NewPost, idempotency_key: str) -> Done:
    """Write a post, once for each key.

    Raises:
        ProblemError: 422 where the key was used for another post.
        RequestValidationError: every fault of the request.
    """
    post = post_of_key(tenant, idempotency_key)
    digest = request_hash(request.model_dump(mode="json"))
    written: list[repository.Written] = []
    async with _writing(database, tenant) as connection:
        # a duplicate waits here until the first one is there to be found
        await repository.lock_names(connection, "post", [post])
        stored = await repository.request_hash_of(connection, post)
        if stored is None:
            written = await _write(connection, tenant, post, request, digest)
        elif stored != digest:
            raise ProblemError(
                422,
                "The Idempotency-Key was used for another post: use a new key for each.",
                kind="idempotency-key-reused",
            )
        row = _found(await repository.get_post(connection, post))
    log.info("post written", post=str(post), targets=len(written), repeated=stored is not None)
    return _done(row, written)


async def _write(
    connection: Connection, tenant: UUID, post: UUID, request: schemas.NewPost, digest: bytes
) -> list[repository.Written]:
    wanted = Wanted(
        request.kind,
        request.text,
        request.first_comment,
        _attachments(request.media),
        tuple(request.accounts),
    )
    due_at, faults = read_due(request.due_at, request.zone, datetime.now(UTC))
    checked = await _check(connection, post, wanted, due_at, request.zone, faults)
    assert due_at  # noqa: S101 - else it had been a fault
    await repository.insert_post(connection, tenant, post, wanted, due_at, request.zone, digest)
    await repository.replace_media(connection, tenant, post, wanted.media)
    return await repository.write_targets(connection, tenant, post, checked.accounts, due_at, checked.lead)


async def change(database: Database, tenant: UUID, post: UUID, request: schemas.PostChange) -> Done:
    """Change a post that nothing was published of; where nothing is different, what was prepared is kept.

    Raises:
        ProblemError: 404; 409 where it cannot be changed any more.
        RequestValidationError: every fault of the post as it would be.
    """
    written: list[repository.Written] = []
    async with _writing(database, tenant) as connection:
        await repository.lock_names(connection, "post", [post])
        targets = await repository.lock_targets(connection, post)
        row = _found(await repository.get_post(connection, post))
        _raise(refuse_edit(targets))
        written = await _rewrite(connection, tenant, row, targets, request)
        row = _found(await repository.get_post(connection, post))
    log.info("post changed", post=str(post), targets=len(written))
    return _done(row, written)


async def _rewrite(
    connection: Connection, tenant: UUID, row: Row, targets: Sequence[Target], request: schemas.PostChange
) -> list[repository.Written]:
    post = row["id"]
    has = {target.account_id: target.id for target in targets if target.is_open}
    before = Wanted(
        PostKind(row["kind"]),
        row["text"],
        row["first_comment"],
        tuple(Attachment(str(each["id"]), each["alt_text"]) for each in row["media"]),
        tuple(str(account) for account in has),
    )
    named = request.model_fields_set
    wanted = Wanted(
        before.kind,
        request.text if "text" in named else before.text,
        request.first_comment if "first_comment" in named else before.first_comment,
        _attachments(request.media) if "media" in named else before.media,
        tuple(request.accounts) if "accounts" in named else before.accounts,
    )
    zone = request.zone if "zone" in named else row["zone"]
    due_at, faults = _new_due(request, row, zone)
    checked = await _check(
        connection, post, wanted, due_at, zone, faults, has, is_moved=due_at != row["due_at"]
    )
    assert due_at  # noqa: S101 - else it had been a fault
    accounts, moved = set(checked.accounts), due_at != row["due_at"]
    media_differ = _known(wanted.media) != _known(before.media)
    if not (
        media_differ
        or moved
        or accounts != has.keys()
        or (wanted.text, wanted.first_comment, zone) != (before.text, before.first_comment, row["zone"])
    ):
        return []
    await repository.change_post(connection, post, wanted, due_at, zone)
    if media_differ:
        await repository.replace_media(connection, tenant, post, wanted.media)
    await repository.take_off(connection, [has[account] for account in has.keys() - accounts])
    kept = [has[account] for account in has.keys() & accounts]
    added = [account for account in checked.accounts if account not in has]
    return [
        *await repository.reset_targets(connection, kept, due_at if moved else None, checked.lead),
        *await repository.write_targets(connection, tenant, post, added, due_at, checked.lead),
    ]


def _new_due(request: schemas.PostChange, row: Row, zone: str) -> tuple[datetime | None, list[Fault]]:
    if "due_at" in request.model_fields_set:
        return read_due(request.due_at, zone, datetime.now(UTC))
    try:
        find_zone(zone)
    except TimeFault as error:
        return row["due_at"], [Fault(("zone",), str(error))]
    return row["due_at"], []  # the moment stays, whatever the clock


async def cancel(database: Database, tenant: UUID, post: UUID) -> Done:
    """Cancel what is not being published yet, and say what is.

    Raises:
        ProblemError: 404; 409 where nothing is left to cancel.
    """
    async with database.transaction([tenant]) as connection:
        await repository.lock_names(connection, "post", [post])
        targets = await repository.lock_targets(connection, post)
        _found(await repository.get_post(connection, post))
        _raise(refuse_cancel(targets))
        cancelled = [target.id for target in targets if target.is_open]
        await repository.cancel_targets(connection, cancelled)
        row = _found(await repository.get_post(connection, post))
    log.info("post cancelled", post=str(post), targets=len(cancelled))
    return Done(_shown(row), note=cancel_note(targets))


async def decide(database: Database, tenant: UUID, post: UUID, target_id: UUID, decision: Decision) -> Done:
    """Settle by a person's word what nobody knows, or publish what failed.

    Raises:
        ProblemError: 404; 409 where there is nothing to decide.
    """
    async with database.transaction([tenant]) as connection:
        await repository.lock_names(connection, "post", [post])
        targets = await repository.lock_targets(connection, post)
        target = next((each for each in targets if each.id == target_id), None)
        if target is None:
            raise _not_found("target of this post")
        if not is_decided(decision, target):
            await _apply(connection, target, decision)
            await repository.settle_notices(connection, post)
        row = _found(await repository.get_post(connection, post))
    log.info("target decided", post=str(post), target=str(target_id), decision=decision)
    return Done(_shown(row), [target_id] if decision == "publish" else [])


async def _apply(connection: Connection, target: Target, decision: Decision) -> None:
    account = _found(await repository.account_of(connection, target.account_id), "account")
    _raise(refuse_decision(decision, target, account["status"], Platform(account["platform"])))
    if decision == "published":
        await repository.mark_published(connection, target.id)
    elif decision == "publish":
        await repository.publish_now(connection, target.id)
    else:
        await repository.give_up(connection, target.id, GIVEN_UP)


async def get(database: Database, tenant: UUID, post: UUID) -> Row:
    """Raises ProblemError 404."""
    async with database.transaction([tenant]) as connection:
        return _shown(_found(await repository.get_post(connection, post)))


async def calendar(
    database: Database, tenant: UUID, first: date, last: date, zone_name: str
) -> dict[str, Any]:
    """The days from ``first`` to ``last`` on the zone's clock.

    Raises:
        RequestValidationError: no such zone, no such span, or more posts than one answer holds.
    """
    days = (last - first).days + 1
    faults: list[Fault] = []
    if not 1 <= days <= MAX_CALENDAR_DAYS:
        faults.append(Fault(("to",), f"Ask for 1 to {MAX_CALENDAR_DAYS} days: from the first to the last."))
    try:
        zone = find_zone(zone_name)
    except TimeFault as error:
        faults.append(Fault(("zone",), str(error)))
    _raise_faults(faults, "query")
    async with database.transaction([tenant]) as connection:
        rows = await repository.list_posts(
            connection,
            tenant,
            begin=start_of_day(first, zone),
            end=start_of_day(last + timedelta(days=1), zone),
            limit=MAX_CALENDAR_POSTS + 1,
        )
    if len(rows) > MAX_CALENDAR_POSTS:
        _raise_faults(
            [Fault(("to",), f"These are more than {MAX_CALENDAR_POSTS} posts: ask for fewer days.")], "query"
        )
    posts: dict[date, list[Row]] = {first + timedelta(days=day): [] for day in range(days)}
    for row in rows:
        posts[row["due_at"].astimezone(zone).date()].append(_shown(row))
    return {"zone": zone_name, "days": [{"date": day, "posts": items} for day, items in posts.items()]}


def shown(rows: Iterable[Row]) -> list[Row]:
    """Posts as the API gives them."""
    return [_shown(row) for row in rows]


async def _check(
    connection: Connection,
    post: UUID,
    wanted: Wanted,
    due_at: datetime | None,
    zone: str,
    faults: list[Fault],
    has: Iterable[UUID] = (),
    *,
    is_moved: bool = True,
) -> _Checked:
    """Raises RequestValidationError with ``faults`` and all others. Accounts in ``has`` have the post already."""
    files = await repository.find_files(connection, _ids(each.id for each in wanted.media))
    channels = await repository.find_channels(connection, _ids(wanted.accounts))
    kept = frozenset(has)
    found = [*check_post(wanted, files, channels, kept), *faults]
    if due_at is not None:
        counted = [
            channel
            for channel in channels.values()
            if channel.platform is Platform.INSTAGRAM and (is_moved or channel.id not in kept)
        ]
        found += await _quota_faults(connection, post, wanted, due_at, zone, counted)
    _raise_faults(found, "body")
    used: list[File] = [files[each] for each in _ids(each.id for each in wanted.media)]
    return _Checked(_ids(wanted.accounts), lead_time(wanted.kind, used))


async def _quota_faults(
    connection: Connection, post: UUID, wanted: Wanted, due_at: datetime, zone: str, channels: list[Channel]
) -> list[Fault]:
    if not channels:
        return []
    ids = [channel.id for channel in channels]
    # so that two posts do not take the same last place
    await repository.lock_names(connection, "quota", ids)
    posts = await repository.posts_around(
        connection, ids, due_at - 2 * QUOTA_PERIOD, due_at + LOOK_AHEAD + QUOTA_PERIOD, but=post
    )
    return list(check_quota(wanted, due_at, zone, channels, posts))


@asynccontextmanager
async def _writing(database: Database, tenant: UUID) -> AsyncIterator[Connection]:
    try:
        async with database.transaction([tenant]) as connection:
            yield connection
    except ForeignKeyViolation:
        raise ProblemError(
            409, "A file of the post was deleted at this moment: try again without it.", kind="file-deleted"
        ) from None


def _attachments(media: Iterable[schemas.MediaRef]) -> tuple[Attachment, ...]:
    return tuple(Attachment(each.id, each.alt_text) for each in media)


def _known(media: Iterable[Attachment]) -> list[tuple[UUID | None, str | None]]:
    return [(as_id(each.id), each.alt_text) for each in media]


def _ids(names: Iterable[str]) -> list[UUID]:
    """Those that are ids at all."""
    return [known for name in names if (known := as_id(name))]


def _done(row: Row, written: Iterable[repository.Written]) -> Done:
    return Done(_shown(row), [target.id for target in written if target.is_due])


def _shown(row: Row) -> Row:
    return {**row, "local_due_at": local_time(row["due_at"], row["zone"])}


def _found(row: Row | None, what: str = "post") -> Row:
    if row is None:
        raise _not_found(what)
    return row


def _not_found(what: str) -> ProblemError:
    return ProblemError(404, f"There is no such {what}.", kind="not-found")


def _raise(refusal: Refusal | None) -> None:
    if refusal:
        raise ProblemError(409, refusal.detail, kind=refusal.kind)


def _raise_faults(faults: Sequence[Fault], part: str) -> None:
    """Leave as FastAPI's own faults do: one problem that names each."""
    if faults:
        raise RequestValidationError(
            [{"type": "value_error", "loc": (part, *fault.where), "msg": fault.detail} for fault in faults]
        )
