"""Looks after an account once a day: its token, the key that the token is kept under, and its subscription.

What fails for the moment is tried again within the hour; what people have to do is told once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID

import structlog
from celery import Celery

from socialsync_common import notices
from socialsync_common.accounts import Account, how_to_reconnect, load_account, stop_account
from socialsync_common.contracts import LANE_OF_TASK, NoticeKind, TaskName
from socialsync_common.crypto import TokenCipher
from socialsync_common.db import Connection, Database, Row
from socialsync_common.errors import AuthenticationExpired, PermanentError, TransientError
from socialsync_common.platforms.login import LoginClient, subscription_node
from socialsync_scheduler.accounts import repository
from socialsync_scheduler.accounts.decide import LIFETIME, expiry_stage, refresh_is_due
from socialsync_scheduler.accounts.repository import Stored

log = structlog.get_logger()

# the tick comes hourly: with 24 hours an account would be seen every 25, and its token's last day could pass unseen
EVERY = timedelta(hours=23)
PAGE = 500


class CareRuntime(Protocol):
    """What the care needs of a worker's runtime."""

    @property
    def database(self) -> Database: ...
    @property
    def cipher(self) -> TokenCipher: ...
    @property
    def login(self) -> LoginClient: ...


def refresh_tokens(runtime: CareRuntime, app: Celery) -> int:
    """Hand out the accounts whose day has come, one task each; returns how many."""
    handed_out = 0
    while True:
        with runtime.database.transaction() as connection:
            rows = repository.claim_accounts(connection, EVERY, PAGE)
        _hand_out(runtime, app, rows)
        handed_out += len(rows)
        if len(rows) < PAGE:
            return handed_out


def _hand_out(runtime: CareRuntime, app: Celery, rows: Sequence[Row]) -> None:
    sent = 0
    try:
        for row in rows:
            arguments = {"tenant_id": str(row["tenant_id"]), "account_id": str(row["account_id"])}
            name = TaskName.CARE_FOR_ACCOUNT
            app.send_task(name, kwargs=arguments, queue=LANE_OF_TASK[name])
            sent += 1
    finally:
        if left := rows[sent:]:  # the broker is away: they shall not wait for a day
            with runtime.database.transaction(*{row["tenant_id"] for row in left}) as connection:
                repository.look_again(connection, [row["account_id"] for row in left])


def care_for_account(
    runtime: CareRuntime, tenant_id: UUID, account_id: UUID, now: datetime | None = None
) -> str:
    """Look after one account; returns what became of it: ``done``, ``again`` (within the hour), ``stopped`` (it must
    be reconnected), ``busy`` (another worker has it), ``unreadable`` (its key is missing) or ``gone``.
    """
    now = now or datetime.now(UTC)
    with runtime.database.transaction(tenant_id) as connection:
        if not repository.try_lock(connection, account_id):
            return "busy"
        stored = repository.look(connection, account_id)
        if stored is None:
            return "gone"
        try:
            account = load_account(connection, runtime.cipher, account_id)
        except PermanentError as error:
            log.error("account cannot be looked after", account=str(account_id), reason=str(error))
            return "unreadable"
        account, again = _care_for_token(connection, runtime, account, stored, now)
    if account.status != "active":
        return "stopped"
    outcome = _care_for_subscription(runtime, account, stored, now)
    if outcome == "done" and again:
        outcome = "again"
    if outcome == "again":
        with runtime.database.transaction(tenant_id) as connection:
            repository.look_again(connection, [account.id])
    return outcome


def _care_for_token(
    connection: Connection, runtime: CareRuntime, account: Account, stored: Stored, now: datetime
) -> tuple[Account, bool]:
    """The account with the token that it has afterwards, and whether to try again soon.

    Within the transaction that holds the account's lock; nothing is written before Instagram has answered, so that
    nobody waits for that.
    """
    again, fault = False, None
    is_active = account.status == "active"
    if is_active and refresh_is_due(account.platform, account.token_issued_at, account.token_expires_at, now):
        try:
            return _refresh(connection, runtime, account, now), False
        except (TransientError, PermanentError) as error:  # the old token stays as it is
            again, fault = isinstance(error, TransientError), str(error)
            log.warning("token not refreshed", account=str(account.id), reason=fault)
            if isinstance(error, AuthenticationExpired):
                stop_account(connection, account, fault)
                account = load_account(connection, runtime.cipher, account.id)
    if not runtime.cipher.is_current(stored.sealed):
        sealed = runtime.cipher.encrypt(account.token, account.tenant_id, account.id)
        if repository.reseal(connection, account.id, stored.sealed, sealed):
            log.info("token sealed with the first key", account=str(account.id))
    if account.status == "active":
        _tell_of_expiry(connection, account, fault, now)
    return account, again


def _refresh(connection: Connection, runtime: CareRuntime, account: Account, now: datetime) -> Account:
    """Exchange the token for a new one. A person who reconnects the account meanwhile is not overwritten."""
    grant = runtime.login.refresh(account.token)
    lifetime = timedelta(seconds=grant.expires_in) if grant.expires_in else LIFETIME
    sealed = runtime.cipher.encrypt(grant.token, account.tenant_id, account.id)
    if not repository.save_token(connection, account, sealed, now, now + lifetime):
        return load_account(connection, runtime.cipher, account.id)
    repository.settle(connection, account.id, NoticeKind.TOKEN_EXPIRES)
    log.info("token refreshed", account=str(account.id), expires_at=(now + lifetime).isoformat())
    return replace(account, token=grant.token, token_issued_at=now, token_expires_at=now + lifetime)


def _tell_of_expiry(connection: Connection, account: Account, fault: str | None, now: datetime) -> None:
    stage = expiry_stage(account.token_expires_at, now)
    if stage is None or account.token_expires_at is None:
        return
    day = account.token_expires_at.date()
    why = f" It could not be refreshed: {fault}." if fault else ""
    notices.tell(
        connection,
        account.tenant_id,
        NoticeKind.TOKEN_EXPIRES,
        f"The access of {_called(account)} ends on {day}, in {_days(stage)} at most.{why} "
        f"{how_to_reconnect(account.platform)}",
        key=f"{account.id}:{stage}:{day}",
        account_id=account.id,
    )


def _care_for_subscription(runtime: CareRuntime, account: Account, stored: Stored, now: datetime) -> str:
    """Webhooks of the account shall come here: looked at, and restored where they do not."""
    node = subscription_node(account.platform, account.external_id, account.business_account_id)
    if node is None:
        return "done"  # a number without its WhatsApp Business Account: nothing to ask about
    lost, restored, fault = False, False, None
    try:
        lost = not runtime.login.is_subscribed(account.platform, node, account.token)
        if lost:
            runtime.login.subscribe(account.platform, node, account.token)
            restored = True
    except AuthenticationExpired as error:
        with runtime.database.transaction(account.tenant_id) as connection:
            stop_account(connection, account, str(error))
        log.warning("account needs reconnecting", account=str(account.id), reason=str(error))
        return "stopped"
    except (TransientError, PermanentError) as error:
        fault = error
    if isinstance(fault, TransientError) and not lost:
        return "again"  # nothing is known
    with runtime.database.transaction(account.tenant_id) as connection:
        repository.mark_subscribed(connection, account.id, subscribed=fault is None)
        if fault is None and not stored.subscribed:
            repository.settle(connection, account.id, NoticeKind.SUBSCRIPTION_LOST)
        if fault is not None or (restored and stored.subscribed):
            _tell_of_loss(connection, account, None if fault is None else str(fault), now)
    return "again" if isinstance(fault, TransientError) else "done"


def _tell_of_loss(connection: Connection, account: Account, fault: str | None, now: datetime) -> None:
    if fault is None:
        message = (
            f"{_called(account)} was no longer subscribed to webhooks, and is again now. Messages and comments "
            "of the meantime did not come here: look for them on the platform."
        )
    else:
        message = (
            f"{_called(account)} is not subscribed to webhooks: its messages and comments do not come here. It could "
            f"not be restored, and is tried again: {fault}. {how_to_reconnect(account.platform)}"
        )
    notices.tell(
        connection,
        account.tenant_id,
        NoticeKind.SUBSCRIPTION_LOST,
        message,
        key=f"{account.id}:{now.date()}",
        account_id=account.id,
    )


def _called(account: Account) -> str:
    return f"{account.name} ({account.platform} {account.external_id})"


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"
