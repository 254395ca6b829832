"""One batch, one reply: load, decide, ask, write to the outbox, send."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import redis
import structlog

from socialsync_common import outbox
from socialsync_common.accounts import Account, load_account
from socialsync_common.ai import Attachment, Reply, ReplyRequest, Turn
from socialsync_common.batches import ConversationName
from socialsync_common.db import Connection
from socialsync_common.errors import PermanentError, SocialSyncError, TransientError
from socialsync_common.platforms import fetch_media
from socialsync_common.platforms.limits import split_text
from socialsync_ingest import repository
from socialsync_ingest.decide import NO_RECIPIENT, plan_reply, retry_delay
from socialsync_ingest.delivery import Claimed, claim_send, deliver_open, dispatch
from socialsync_ingest.runtime import Runtime
from socialsync_ingest.schemas import (
    Ask,
    Capabilities,
    Conversation,
    Message,
    Say,
    Situation,
    Skip,
    Wait,
)

log = structlog.get_logger()

PICTURES_AT_MOST = 4
FAILURES_UNTIL_PERSON = 8
AGAIN_SOON_SECONDS = 0.25
TYPING_SECONDS = 1.0


def process_batch(runtime: Runtime, name: str, token: str) -> str:
    """Answer one claimed conversation; returns what became of it, in a word for the log.

    Runs any number of times for one batch with one effect: the lease keeps others away, and the outbox lets
    a message be answered by one reply only.
    """
    if not runtime.batches.start(name, token):
        return "not ours"
    again_in: float | None = None
    started = time.monotonic()
    conversation = ConversationName.parse(name)
    outcome = "failed"
    try:
        with runtime.keeper.hold(name, token):
            outcome, again_in = _answer(runtime, conversation.contact_id)
    except Exception as error:
        # a fault of ours: the messages keep waiting, and after some attempts a person is told
        log.exception("reply failed", conversation=str(conversation.contact_id))
        again_in = _note_failure(runtime, conversation.contact_id, f"{type(error).__name__}", ours=True)
    finally:
        _finish(runtime, name, token, again_in)
    log.info(
        "batch done",
        conversation=str(conversation.contact_id),
        outcome=outcome,
        seconds=round(time.monotonic() - started, 3),
    )
    return outcome


def _finish(runtime: Runtime, name: str, token: str, again_in: float | None) -> None:
    try:
        runtime.batches.finish(name, token, again_in)
    except redis.RedisError as error:
        # the lease runs out by itself, and the sweep finds what still waits
        log.warning("lease not given back", conversation=name, error=type(error).__name__)


def _answer(runtime: Runtime, conversation_id: UUID) -> tuple[str, float | None]:
    with runtime.database.transaction() as connection:
        tenant = repository.tenant_of(connection, conversation_id)
    if tenant is None:
        return "gone", None
    with runtime.database.transaction(tenant) as connection:
        conversation = repository.load_conversation(connection, conversation_id)
        waiting = repository.awaiting_messages(connection, conversation_id)
        if conversation is None or not waiting:
            return "nothing waits", None
        if conversation.recipient is None:
            return _skip(connection, conversation_id, waiting, Skip(NO_RECIPIENT, to_person=True)), None
        account = load_account(connection, runtime.cipher, conversation.account_id)
        plan = plan_reply(
            Situation(
                now=datetime.now(UTC),
                handler=conversation.handler,
                account_status=account.status,
                waiting=waiting,
                capabilities=Capabilities(runtime.responder.sees_pictures, runtime.responder.hears_voice),
            )
        )
        earlier = repository.history(connection, conversation_id) if isinstance(plan, Ask) else []
        if isinstance(plan, Skip):
            return _skip(connection, conversation_id, waiting, plan), None
        if isinstance(plan, Wait):
            repository.postpone(connection, conversation_id, plan.seconds, failed=False)
            return plan.reason, None
    return _reply(runtime, conversation, account, plan, earlier, waiting)


def _skip(connection: Connection, conversation_id: UUID, waiting: list[Message], plan: Skip) -> str:
    repository.mark_skipped(connection, conversation_id, [message.id for message in waiting], plan.reason)
    if plan.to_person:
        repository.hand_to_person(connection, conversation_id, plan.reason)
    repository.settle(connection, conversation_id)
    return plan.reason


def _reply(
    runtime: Runtime,
    conversation: Conversation,
    account: Account,
    plan: Say | Ask,
    earlier: list[Message],
    waiting: list[Message],
) -> tuple[str, float | None]:
    typing = _show_typing(runtime, conversation, account, waiting)
    if isinstance(plan, Say):
        reply = Reply(text=plan.text, model="fixed", handoff_reason=plan.handoff_reason)
    else:
        try:
            reply = _ask(runtime, account, plan, earlier, waiting)
        except (TransientError, PermanentError) as error:
            log.warning("no answer from the model", conversation=str(conversation.id), reason=str(error))
            return "no answer yet", _note_failure(runtime, conversation.id, str(error), ours=False)
    claimed = _write(runtime, conversation, account, reply, waiting)
    if claimed is None:
        # superseded, or another worker was faster; whatever waits now is answered in a batch of its own
        return "superseded", AGAIN_SOON_SECONDS
    # an indicator that arrives after the reply would stay on the contact's screen
    typing.join(TYPING_SECONDS)
    if dispatch(runtime, *claimed):
        deliver_open(runtime, conversation.tenant_id, conversation.id)
        return "sent", None
    return "not sent", None


def _show_typing(
    runtime: Runtime, conversation: Conversation, account: Account, waiting: list[Message]
) -> threading.Thread:
    """Read mark and typing indicator, beside the work: a slow one must not cost the contact a moment."""
    latest = waiting[-1].platform_message_id
    thread = threading.Thread(
        target=runtime.graph.show_typing,
        args=(account.platform, account.external_id, account.token, conversation.recipient, latest),
        name="typing",
        daemon=True,
    )
    thread.start()
    return thread


def _ask(
    runtime: Runtime, account: Account, plan: Ask, earlier: list[Message], waiting: list[Message]
) -> Reply:
    turns = [_turn(message) for message in earlier]
    turns += [
        replace(_turn(message), attachments=_attachments(runtime, account, message)) for message in waiting
    ]
    reply = runtime.responder.reply(
        ReplyRequest(
            business_name=account.name,
            instructions=account.instructions,
            platform=account.platform,
            turns=tuple(turns),
        )
    )
    return replace(reply, text=f"{reply.text}\n\n{plan.notice}") if plan.notice else reply


def _turn(message: Message) -> Turn:
    return Turn(
        role="customer" if message.direction == "in" else "business", text=message.text or f"[{message.kind}]"
    )


def _attachments(runtime: Runtime, account: Account, message: Message) -> tuple[Attachment, ...]:
    """Pictures and voice notes for the model. One that cannot be had is said to be so, and the text still counts."""
    taken = []
    for part in (message.attachments or [])[:PICTURES_AT_MOST]:
        kind = str(part.get("type"))
        is_voice = kind in ("audio", "voice")
        if not (is_voice and runtime.responder.hears_voice) and not (
            kind in ("image", "sticker") and runtime.responder.sees_pictures
        ):
            continue
        try:
            media = fetch_media(runtime.graph, account.platform, account.token, part)
            transcript = runtime.responder.transcribe(media.content, media.mime_type) if is_voice else None
        except SocialSyncError as error:
            taken.append(Attachment(type=kind, mime_type="", content=None, transcript=None, note=str(error)))
            continue
        taken.append(
            Attachment(
                type=kind,
                mime_type=media.mime_type,
                content=None if is_voice else media.content,
                transcript=transcript,
                note=None,
            )
        )
    return tuple(taken)


def _write(
    runtime: Runtime, conversation: Conversation, account: Account, reply: Reply, waiting: list[Message]
) -> Claimed | None:
    """Commit the reply's text and take its first send, in one transaction under the conversation's lock."""
    batch_id = uuid4()
    with runtime.database.transaction(conversation.tenant_id) as connection:
        repository.load_conversation(connection, conversation.id, lock=True)
        still = {message.id for message in repository.awaiting_messages(connection, conversation.id)}
        answered = [message.id for message in waiting if message.id in still]
        if len(answered) < len(waiting):
            return None
        outbox.create(
            connection,
            tenant_id=conversation.tenant_id,
            account_id=account.id,
            conversation_id=conversation.id,
            batch_id=batch_id,
            parts=split_text(account.platform, reply.text),
            author="ai",
            model=reply.model,
        )
        repository.mark_answered(connection, conversation.id, answered, batch_id)
        repository.settle(connection, conversation.id)
        repository.count_tokens(
            connection, conversation.tenant_id, account.id, reply.input_tokens, reply.output_tokens
        )
        claimed = claim_send(connection, runtime, conversation.id)
        if claimed and reply.handoff_reason:
            repository.hand_to_person(connection, conversation.id, reply.handoff_reason)
        return claimed


def _note_failure(runtime: Runtime, conversation_id: UUID, reason: str, *, ours: bool) -> float | None:
    """Wait longer after each failure. A model that is away is waited for; a fault of ours goes to a person."""
    try:
        with runtime.database.transaction() as connection:
            tenant = repository.tenant_of(connection, conversation_id)
        if tenant is None:
            return None
        with runtime.database.transaction(tenant) as connection:
            conversation = repository.load_conversation(connection, conversation_id, lock=True)
            if conversation is None:
                return None
            if ours and conversation.failures + 1 >= FAILURES_UNTIL_PERSON:
                repository.hand_to_person(
                    connection, conversation_id, f"the automatic reply failed: {reason}"
                )
                return None
            delay = retry_delay(conversation.failures)
            repository.postpone(connection, conversation_id, delay, failed=True)
            return delay
    except Exception:  # noqa: BLE001 - Postgres is away as well: the sweep finds the messages later
        log.warning("failure not noted", conversation=str(conversation_id))
        return None
