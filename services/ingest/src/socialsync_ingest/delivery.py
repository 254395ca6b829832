"""Sends what the outbox holds, each text once, right after a last look at whether it may still leave."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import structlog

from socialsync_common import outbox
from socialsync_common.accounts import Account, load_account, stop_account
from socialsync_common.contracts import Identity
from socialsync_common.db import Connection
from socialsync_common.errors import AuthenticationExpired, PermanentError, TransientError, UnknownOutcome
from socialsync_common.outbox import Send
from socialsync_common.platforms import OutgoingText
from socialsync_ingest import repository
from socialsync_ingest.decide import superseded_by
from socialsync_ingest.runtime import Runtime
from socialsync_ingest.schemas import Conversation

log = structlog.get_logger()

DEFAULT_RETRY_SECONDS = 10.0
MAX_ATTEMPTS = 8
LEASE_MARGIN_SECONDS = 15.0


def deliver_conversation(runtime: Runtime, conversation_id: str) -> int:
    """Send all that may leave of one conversation, in order; returns how many were accepted."""
    conversation = UUID(conversation_id)
    with runtime.database.transaction() as connection:
        tenant = repository.tenant_of(connection, conversation)
    return 0 if tenant is None else deliver_open(runtime, tenant, conversation)


def deliver_open(runtime: Runtime, tenant: UUID, conversation: UUID) -> int:
    """The same, where the tenant is known."""
    sent = 0
    while True:
        with runtime.database.transaction(tenant) as connection:
            claimed = claim_send(connection, runtime, conversation)
        if claimed is None or not dispatch(runtime, *claimed):
            return sent
        sent += 1


Claimed = tuple[Send, Account, Identity]


def claim_send(connection: Connection, runtime: Runtime, conversation_id: UUID) -> Claimed | None:
    """Take the next send, marked ``sending`` when the transaction commits; None where nothing may leave."""
    conversation = repository.load_conversation(connection, conversation_id, lock=True)
    if conversation is None or conversation.recipient is None:
        return None
    while send := outbox.next_send(connection, conversation_id):
        if send.author == "ai" and send.part == 1 and not _may_leave(connection, conversation, send):
            continue
        account = load_account(connection, runtime.cipher, conversation.account_id)
        if account.status != "active":
            outbox.record_failed(connection, send.id, "the account must be reconnected first")
            continue
        outbox.mark_sending(connection, send, runtime.graph.send_seconds + LEASE_MARGIN_SECONDS)
        return send, account, conversation.recipient
    return None


def _may_leave(connection: Connection, conversation: Conversation, send: Send) -> bool:
    """The supersede check. What must not leave is superseded, and its messages wait again where they should."""
    verdict = superseded_by(
        now=datetime.now(UTC),
        handler=conversation.handler,
        handler_since=conversation.handler_since,
        written_at=send.created_at,
        answered=repository.batch_messages(connection, conversation.id, send.batch_id),
        newer_waiting=bool(repository.awaiting_messages(connection, conversation.id)),
        last_inbound_at=repository.last_inbound_at(connection, conversation.id),
    )
    if verdict is None:
        return True
    reason, again = verdict
    outbox.supersede(connection, send.batch_id, reason)
    if again:
        repository.reopen_batch(connection, conversation.id, send.batch_id)
    log.info("reply superseded", conversation=str(conversation.id), reason=reason)
    return False


def dispatch(runtime: Runtime, send: Send, account: Account, recipient: Identity) -> bool:
    """Make the call and record what became of it; True where the platform accepted it."""
    message = OutgoingText(
        platform=account.platform,
        account_id=account.external_id,
        token=account.token,
        recipient=recipient,
        text=send.text,
        callback_data=str(send.id),
        tag_person=send.author == "person",
    )
    try:
        platform_message_id = runtime.graph.send_text(message, attempt=send.attempt + 1)
    except TransientError as error:
        _record_refusal(runtime, account, send, error)
    except AuthenticationExpired as error:
        with runtime.database.transaction(account.tenant_id) as connection:
            outbox.record_failed(connection, send.id, str(error))
            stop_account(connection, account, str(error))
            repository.hand_to_person(connection, send.conversation_id, "the account must be reconnected")
        log.error("account needs reconnecting", account=str(account.id), reason=str(error))
    except PermanentError as error:
        with runtime.database.transaction(account.tenant_id) as connection:
            outbox.record_failed(connection, send.id, str(error))
            repository.hand_to_person(connection, send.conversation_id, f"the reply was refused: {error}")
        log.warning("send refused", send=str(send.id), reason=str(error))
    except UnknownOutcome as error:
        with runtime.database.transaction(account.tenant_id) as connection:
            outbox.record_unknown(connection, send.id, str(error))
        log.warning("send outcome unknown", send=str(send.id), reason=str(error))
    else:
        with runtime.database.transaction(account.tenant_id) as connection:
            outbox.record_sent(connection, send.id, platform_message_id)
        return True
    return False


def _record_refusal(runtime: Runtime, account: Account, send: Send, error: TransientError) -> None:
    """Proven not to have happened: the same text leaves again later, up to a limit."""
    with runtime.database.transaction(account.tenant_id) as connection:
        if send.attempt + 1 >= MAX_ATTEMPTS:
            outbox.record_failed(connection, send.id, f"gave up after {MAX_ATTEMPTS} attempts: {error}")
            repository.hand_to_person(connection, send.conversation_id, "the reply could not be sent")
            return
        seconds = error.retry_after if error.retry_after is not None else DEFAULT_RETRY_SECONDS
        outbox.record_retry(connection, send.id, seconds, str(error))
    log.info("send retried later", send=str(send.id), seconds=seconds, reason=str(error))
