"""Connects accounts: all of one login are saved together or none; then each is subscribed to webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

import psycopg
import structlog
from anyio import CapacityLimiter, to_thread

from socialsync_common.accounts import account_values, taken
from socialsync_common.contracts import Platform
from socialsync_common.crypto import TokenCipher
from socialsync_common.db import Row
from socialsync_common.errors import PermanentError, SocialSyncError, TransientError
from socialsync_common.platforms.login import LoginClient, subscription_node
from socialsync_gateway.accounts import repository
from socialsync_gateway.database import Database

log = structlog.get_logger()

MAX_META_SECONDS = 25.0
_SUBSCRIPTIONS_AT_ONCE = 8
_THREADS = 16  # of their own: a slow Meta must not take those that enqueue work

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What is known of an account that is to be connected. ``instructions`` None keeps those it has."""

    platform: Platform
    external_id: str
    name: str
    token: str = field(repr=False)
    token_expires_at: datetime | None = None
    business_account_id: str | None = None
    instructions: str | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """An account as it is saved. ``fault``: why its webhooks do not come here yet."""

    row: Row
    is_new: bool
    fault: str | None = None


class Taken(PermanentError):
    """Another tenant has connected this account."""


class Connector:
    """The cipher and Meta's account calls, behind what the endpoints need."""

    def __init__(self, cipher: TokenCipher, login: LoginClient) -> None:
        self._cipher = cipher
        self.login = login
        self._threads = CapacityLimiter(_THREADS)

    async def connect(
        self, database: Database, tenant: UUID, accounts: Sequence[NewAccount]
    ) -> list[Connected]:
        """Save all of them, then subscribe each; one that could not be is looked after within the hour.

        Raises:
            Taken: one of them is another tenant's; nothing is saved then.
        """
        is_new = await self._save(database, tenant, accounts)
        faults = await self._subscribe(list(zip(is_new, accounts, strict=True)))
        async with database.transaction([tenant]) as connection:
            await repository.mark_subscribed(
                connection, [account_id for account_id, fault in faults.items() if fault is None]
            )
            rows = await repository.get_accounts(connection, list(is_new))
        log.info("accounts connected", tenant=str(tenant), accounts=[str(row["id"]) for row in rows])
        return [Connected(row, is_new[row["id"]], faults[row["id"]]) for row in rows]

    async def _save(
        self, database: Database, tenant: UUID, accounts: Sequence[NewAccount]
    ) -> dict[UUID, bool]:
        """Which of them are new, by id. In order of their ids, so that two logins never wait for each other."""
        values = {
            row["id"]: row
            for row in (
                account_values(
                    self._cipher,
                    tenant,
                    account.platform,
                    account.external_id,
                    name=account.name,
                    token=account.token,
                    instructions=account.instructions,
                    token_expires_at=account.token_expires_at,
                    business_account_id=account.business_account_id,
                )
                for account in accounts
            )
        }
        is_new: dict[UUID, bool] = {}
        async with database.transaction([tenant]) as connection:
            for account_id in sorted(values):
                row = values[account_id]
                if await repository.is_taken(connection, row):
                    raise _taken(row)
                try:
                    is_new[account_id] = await repository.save(connection, row)
                except psycopg.errors.UniqueViolation:  # since a moment ago
                    raise _taken(row) from None
        # in the order that the caller gave
        return {account_id: is_new[account_id] for account_id in values}

    async def _subscribe(self, accounts: list[tuple[UUID, NewAccount]]) -> dict[UUID, str | None]:
        """Why each could not be subscribed; None: it is."""
        places = asyncio.Semaphore(_SUBSCRIPTIONS_AT_ONCE)
        deadline = asyncio.get_running_loop().time() + MAX_META_SECONDS

        async def subscribe(account: NewAccount) -> str | None:
            node = subscription_node(account.platform, account.external_id, account.business_account_id)
            if node is None:
                return "its WhatsApp Business Account is not known"
            async with places:
                try:
                    await self.ask_meta(
                        self.login.subscribe, account.platform, node, account.token, deadline=deadline
                    )
                except SocialSyncError as error:
                    log.warning(
                        "not subscribed",
                        platform=account.platform,
                        account=account.external_id,
                        reason=str(error),
                    )
                    return str(error)
            return None

        faults = await asyncio.gather(*(subscribe(account) for _, account in accounts))
        return {account_id: fault for (account_id, _), fault in zip(accounts, faults, strict=True)}

    async def ask_meta(self, call: Callable[..., T], *arguments: object, deadline: float | None = None) -> T:
        """A call of the login client, in a thread that is left alone where it takes too long.

        Raises what the call raises; TransientError after the deadline (of the event loop's clock).
        """
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(deadline or now + MAX_META_SECONDS):
                return await to_thread.run_sync(
                    lambda: call(*arguments), abandon_on_cancel=True, limiter=self._threads
                )
        except TimeoutError:
            raise TransientError("Meta did not answer in time") from None


def _taken(row: Row) -> Taken:
    return Taken(str(taken(row["platform"], row["external_id"])))


def expiry(expires_in: int | None) -> datetime | None:
    """When a token of so many seconds ends."""
    return None if expires_in is None else datetime.now(UTC) + timedelta(seconds=expires_in)
