"""Webhook deliveries into Postgres, then into their batches.

Deliveries that arrive while a transaction runs share the next one (group commit): one round trip and one flush
to disk for many, and none is acknowledged before its own rows are committed.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID

import psycopg
import redis.asyncio
import structlog
from psycopg import errors as pg

from socialsync_common.batches import ADD_SCRIPT, add_arguments
from socialsync_common.contracts import Action, Platform, WebhookItem
from socialsync_common.settings import BatchSettings
from socialsync_gateway.database import Connection, Database
from socialsync_gateway.webhooks import repository
from socialsync_gateway.webhooks.rows import DUPLICATE, NOT_OURS, AccountRef, Decision, Rows, unstorable
from socialsync_gateway.webhooks.waker import Waker

log = structlog.get_logger()

GATHER_SECONDS = 0.002
GROUP_ITEMS = 1000
WRITERS = 2
ATTEMPTS = 3
ACCOUNT_TTL_SECONDS = 10.0
# orjson reports what it cannot write, such as very deep nesting, as TypeError
UNSTORABLE = (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError, TypeError)


@dataclass(slots=True)
class Delivery:
    """One webhook body, parsed, and the future that its request waits on."""

    platform: Platform
    body: bytes
    items: list[WebhookItem]
    done: asyncio.Future[list[Decision]]


@dataclass(slots=True)
class Waiting:
    """What is told to the workers once the transaction is committed: (conversation name, message id), and whether
    there are new comments."""

    messages: list[tuple[str, int]] = field(default_factory=list)
    comments: bool = False


Wake = Callable[[], Awaitable[None]]


class WebhookService:
    """Takes deliveries from requests and writes them in groups. ``wake`` lets the comments workers look for new ones."""

    def __init__(
        self, database: Database, client: redis.asyncio.Redis, batches: BatchSettings, wake: Wake
    ) -> None:
        self._database = database
        self._wake = Waker(wake)
        self._add = client.register_script(ADD_SCRIPT)
        self._batches = batches
        self._accounts: dict[tuple[str, str], tuple[float, AccountRef]] = {}
        self._queue: list[Delivery] = []
        self._arrived = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._write_groups()) for _ in range(WRITERS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        # write what waits, and tell the batches
        self._stopping = True
        self._arrived.set()
        await asyncio.gather(*self._tasks)
        await self._wake.close()

    async def take(self, platform: Platform, body: bytes, items: list[WebhookItem]) -> list[Decision]:
        """Store one delivery; returns once it is committed, with a decision for each item.

        Raises:
            psycopg.OperationalError, psycopg_pool.PoolTimeout: Postgres is away, and nothing was stored.
        """
        done: asyncio.Future[list[Decision]] = asyncio.get_running_loop().create_future()
        self._queue.append(Delivery(platform, body, items, done))
        self._arrived.set()
        return await done

    async def _write_groups(self) -> None:
        while self._queue or not self._stopping:
            await self._arrived.wait()
            await asyncio.sleep(GATHER_SECONDS)
            group = self._next_group()
            if group:
                await self._write_group(group)

    def _next_group(self) -> list[Delivery]:
        size = taken = 0
        for delivery in self._queue:
            if taken and size + len(delivery.items) > GROUP_ITEMS:
                break
            size += len(delivery.items)
            taken += 1
        group, self._queue = self._queue[:taken], self._queue[taken:]
        if not self._queue and not self._stopping:
            self._arrived.clear()
        return group

    async def _write_group(self, group: list[Delivery]) -> None:
        try:
            waiting = await self._commit(group)
        except UNSTORABLE as error:
            if len(group) == 1:
                await self._keep_unstorable(group[0], error)
                return
            # one body spoils the statement for all: write each alone
            for delivery in group:
                await self._write_group([delivery])
            return
        except Exception as error:  # noqa: BLE001 - each request reports it; the writer must live on
            for delivery in group:
                if not delivery.done.done():
                    delivery.done.set_exception(error)
            return
        if waiting.comments:
            self._wake()
        await self._add_to_batches(waiting.messages)

    async def _commit(self, group: list[Delivery]) -> Waiting:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                accounts = await self._resolve(item for delivery in group for item in delivery.items)
                rows = Rows()
                waiting = Waiting()
                now = time.time()
                spans = []
                for delivery in group:
                    first = len(rows.decisions)
                    for item in delivery.items:
                        rows.add(item, accounts.get((item.platform, item.receiving_id or "")), now)
                    spans.append((delivery, first, len(rows.decisions)))
                async with self._database.transaction(rows.tenants) as connection:
                    await _write(connection, rows, waiting)
                break
            except (pg.DeadlockDetected, pg.SerializationFailure):
                if attempt == ATTEMPTS:
                    raise
        for delivery, first, end in spans:
            if not delivery.done.done():
                delivery.done.set_result(rows.decisions[first:end])
        counts = Counter(str(decision.action) for decision in rows.decisions)
        log.debug("webhooks stored", deliveries=len(group), **counts)
        return waiting

    async def _keep_unstorable(self, delivery: Delivery, error: Exception) -> None:
        """Postgres refuses these values: keep the body as it came, so that nothing that got 200 is missing."""
        fault = f"cannot be stored as rows: {type(error).__name__}"
        log.warning("webhook kept raw", platform=delivery.platform, reason=fault, items=len(delivery.items))
        try:
            async with self._database.transaction() as connection:
                await repository.insert_events(
                    connection, [unstorable(delivery.platform, delivery.body, fault)]
                )
        except Exception as again:  # noqa: BLE001 - the request reports it
            delivery.done.set_exception(again)
            return
        delivery.done.set_result([Decision(item, Action.INVALID, reason=fault) for item in delivery.items])

    async def _resolve(self, items: Iterable[WebhookItem]) -> dict[tuple[str, str], AccountRef]:
        """The accounts that items are for. Known ones are remembered for a short while, unknown ones never."""
        now = time.monotonic()
        found: dict[tuple[str, str], AccountRef] = {}
        missing: set[str] = set()
        for item in items:
            if item.receiving_id is None:
                continue
            key = (item.platform, item.receiving_id)
            cached = self._accounts.get(key)
            if cached and cached[0] > now:
                found[key] = cached[1]
            else:
                missing.add(item.receiving_id)
        if missing:
            async with self._database.transaction() as connection:
                for row in await repository.resolve_accounts(connection, sorted(missing)):
                    key = (row["platform"], row["external_id"])
                    found[key] = AccountRef(row["account_id"], row["tenant_id"])
                    self._accounts[key] = (now + ACCOUNT_TTL_SECONDS, found[key])
        return found

    async def _add_to_batches(self, waiting: list[tuple[str, int]]) -> None:
        if not waiting:
            return
        try:
            await self._add(args=add_arguments(self._batches, waiting))
        except redis.RedisError as error:
            # the rows are committed, and the sweep makes their conversations due
            log.warning("batches not told", messages=len(waiting), error=type(error).__name__)


async def _write(connection: Connection, rows: Rows, waiting: Waiting) -> None:
    if rows.echoes:
        await _match_echoes(connection, rows)
    messages = rows.messages + rows.echoes
    if messages:
        await _write_messages(connection, rows, messages, waiting)
    if rows.comments or rows.comment_changes:
        await _write_comments(connection, rows, waiting)
    if rows.changes:
        await repository.apply_changes(connection, rows.changes)
    if rows.relinks:
        await repository.relink_identities(connection, rows.relinks)
    if rows.confirmed:
        await repository.confirm_sends(connection, rows.confirmed)
    if rows.failed:
        await repository.fail_sends(connection, rows.failed)
    if rows.statuses:
        await _write_statuses(connection, rows)
    if rows.events:
        await repository.insert_events(connection, rows.events)


async def _match_echoes(connection: Connection, rows: Rows) -> None:
    """Our own sends come back as echoes too: they confirm the send, and nobody took over. A private answer to a comment
    is the first message of its conversation."""
    persons = {row["n"]: row for row in rows.echoes}
    answers = []
    for match in await repository.match_echoes(connection, rows.echoes):
        decision = rows.decisions[match["n"]]
        if match["ours"] or match["send"]:
            decision.action, decision.reason = Action.STATUS, "the echo of our own send"
            row = persons.pop(match["n"])
            if match["send"]:
                rows.confirmed.append({"send": match["send"], "mid": row["mid"]})
        elif match["answer"]:
            decision.action, decision.reason = Action.STATUS, "the echo of our answer to a comment"
            row = persons[match["n"]]
            row["author"] = "ai"
            answers.append({"send": match["answer"], "mid": row["mid"]})
    if answers:
        await repository.confirm_answers(connection, answers)
    rows.echoes = [row for row in persons.values() if row["identities"] and row["mid"]]
    for n in persons.keys() - {row["n"] for row in rows.echoes}:
        decision = rows.decisions[n]
        decision.stored, decision.reason = False, "the echo names no contact"


async def _write_messages(
    connection: Connection, rows: Rows, messages: list[dict[str, Any]], waiting: Waiting
) -> None:
    by_n = {row["n"]: row for row in messages}
    seen: set[int] = set()
    paused: list[UUID] = []
    for result in await repository.insert_messages(connection, messages):
        row, decision = by_n[result["n"]], rows.decisions[result["n"]]
        if not result["inserted"] or result["id"] in seen:
            decision.stored, decision.reason = False, DUPLICATE
        elif row["author"] == "person":
            paused.append(result["conversation"])
        if result["awaiting"] and result["id"] not in seen:
            waiting.messages.append(
                (f"{row['platform']}:{row['account']}:{result['conversation']}", result["id"])
            )
        seen.add(result["id"])
    if paused:
        await repository.pause_conversations(connection, sorted(set(paused)))


async def _write_comments(connection: Connection, rows: Rows, waiting: Waiting) -> None:
    fresh = await repository.insert_comments(connection, rows.comments) if rows.comments else set()
    posts = {(row["account"], row["post"]) for row in rows.comments if row["n"] in fresh and row["post"]}
    if posts:
        await repository.poll_soon(
            connection, [{"account": account, "post": post} for account, post in sorted(posts)]
        )
    changed = bool(rows.comment_changes) and await repository.change_comments(
        connection, rows.comment_changes
    )
    waiting.comments = bool(fresh) or changed
    edits = {row["n"] for row in rows.comment_changes}
    for row in rows.comments:
        decision = rows.decisions[row["n"]]
        if row["n"] not in fresh and decision.action is Action.COMMENT and row["n"] not in edits:
            decision.stored, decision.reason = False, DUPLICATE


async def _write_statuses(connection: Connection, rows: Rows) -> None:
    ours = await repository.update_statuses(connection, rows.statuses)
    for row in rows.statuses:
        if (row["account"], row["target_id"]) not in ours:
            decision = rows.decisions[row["n"]]
            decision.stored, decision.reason = False, NOT_OURS
