"""What people do in a conversation. Each function is one transaction; the endpoints enqueue after its commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog

from socialsync_common.batches import ConversationName
from socialsync_common.contracts import Platform
from socialsync_common.db import Row
from socialsync_common.platforms.limits import split_text
from socialsync_gateway.api import repository
from socialsync_gateway.api.decide import (
    HELD_REASONS,
    TAKEN_OVER,
    Refusal,
    batch_of_key,
    is_repeat,
    refuse_answer,
    refuse_resolution,
)
from socialsync_gateway.database import Connection, Database
from socialsync_gateway.problems import ProblemError

log = structlog.get_logger()

ANSWERED_HERE = "answered here"
NOT_SENT = "a person found that it was not sent"


@dataclass(frozen=True, slots=True)
class HandedOff:
    """The conversation as it is now; ``due`` names it for Redis where the AI has something to answer."""

    conversation: Row
    due: ConversationName | None = None


async def answer(
    database: Database, tenant: UUID, conversation_id: UUID, text: str, idempotency_key: str
) -> list[Row]:
    """Write a person's answer to the outbox, once for each key; returns its sends.

    Raises:
        ProblemError: 404; 409 where it could not reach the contact; 422 where the key was used for another answer.
    """
    batch_id = batch_of_key(tenant, idempotency_key)
    async with database.transaction([tenant]) as connection:
        conversation = _found(await repository.lock_conversation(connection, conversation_id))
        platform = Platform(conversation["platform"])
        parts = split_text(platform, text)
        sends = await repository.sends_of_batch(connection, batch_id)
        if not sends:
            _raise(
                refuse_answer(
                    now=datetime.now(UTC),
                    platform=platform,
                    account_status=conversation["account_status"],
                    reachable=conversation["reachable"],
                    last_inbound_at=conversation["last_inbound_at"],
                )
            )
            sends = await _write_answer(connection, conversation, batch_id, parts)
        if not is_repeat(sends, conversation_id, parts):
            raise ProblemError(
                422,
                "The Idempotency-Key was used for another answer: use a new key for each.",
                kind="idempotency-key-reused",
            )
    log.info("person answers", conversation=str(conversation_id), parts=len(sends))
    return sends


async def _write_answer(
    connection: Connection, conversation: Row, batch_id: UUID, parts: Sequence[str]
) -> list[Row]:
    if await repository.insert_person_sends(connection, conversation, batch_id, parts):
        await repository.give_to_person(connection, conversation["id"], ANSWERED_HERE)
        await repository.withdraw_ai(connection, conversation["id"], TAKEN_OVER)
        await repository.mark_answered(connection, conversation["id"], batch_id, HELD_REASONS)
    return await repository.sends_of_batch(connection, batch_id)


async def hand_off(
    database: Database, tenant: UUID, conversation_id: UUID, to: str, reason: str | None
) -> HandedOff:
    """Give a conversation to a person or to the AI; nothing changes where they have it already.

    Raises:
        ProblemError: 404.
    """
    async with database.transaction([tenant]) as connection:
        conversation = _found(await repository.lock_conversation(connection, conversation_id))
        waits = False
        if to == "person" and conversation["handler"] != "person":
            await repository.give_to_person(connection, conversation_id, reason or TAKEN_OVER)
            await repository.withdraw_ai(connection, conversation_id, TAKEN_OVER)
        elif to == "ai":
            # also where the AI has it already: a repeat after a lost response makes it due again
            waits = await _give_to_ai(connection, conversation, reason)
        now = _found(await repository.get_conversation(connection, conversation_id))
    log.info("handed off", conversation=str(conversation_id), to=to, waits=waits)
    name = ConversationName(Platform(conversation["platform"]), conversation["account_id"], conversation_id)
    return HandedOff(now, name if waits else None)


async def _give_to_ai(connection: Connection, conversation: Row, reason: str | None) -> bool:
    if conversation["handler"] == "person":
        await repository.give_to_ai(connection, conversation["id"], reason, HELD_REASONS)
    return await repository.anything_waits(connection, conversation["id"])


async def resolve(database: Database, tenant: UUID, send_id: UUID, outcome: str) -> Row:
    """Settle a send of unknown outcome by a person's word; it is never sent again.

    Raises:
        ProblemError: 404; 409 where its outcome is not unknown.
    """
    async with database.transaction([tenant]) as connection:
        send = _found(await repository.get_send(connection, send_id, lock=True), "send")
        _raise(refuse_resolution(send["status"], outcome))
        if send["status"] == "unknown" and outcome == "sent":
            # the platform's id is not known; this one keeps the message unique
            await repository.settle_sent(connection, send_id, f"send:{send_id}")
        elif send["status"] == "unknown":
            await repository.settle_not_sent(connection, send_id, NOT_SENT)
        settled = _found(await repository.get_send(connection, send_id), "send")
    log.info("send settled", send=str(send_id), status=settled["status"])
    return settled


def _found(row: Row | None, what: str = "conversation") -> Row:
    if row is None:
        raise _not_found(what)
    return row


def _not_found(what: str) -> ProblemError:
    return ProblemError(404, f"There is no such {what}.", kind="not-found")


def _raise(refusal: Refusal | None) -> None:
    if refusal:
        raise ProblemError(409, refusal.detail, kind=refusal.kind)
