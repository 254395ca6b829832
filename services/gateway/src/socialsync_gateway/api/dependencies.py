"""What endpoints get their parts from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any
from uuid import UUID

import redis
import structlog
from fastapi import Depends, Request
from kombu.exceptions import OperationalError

from socialsync_common.batches import ENSURE_SCRIPT, ConversationName
from socialsync_common.contracts import TaskName
from socialsync_gateway.auth import current_tenant
from socialsync_gateway.database import Database

log = structlog.get_logger()


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


class Workers:
    """Tells the workers about committed work. Postgres holds it, so that a lost word only delays it: the sweep
    finds what was not told."""

    def __init__(self, request: Request) -> None:
        self._state: Any = request.app.state

    async def deliver(self, conversation_id: UUID) -> None:
        """Let a worker send what the outbox holds for a conversation."""
        try:
            await self._state.send_task(TaskName.DELIVER, {"conversation_id": str(conversation_id)})
        except (OperationalError, redis.RedisError, OSError) as error:
            log.warning(
                "delivery not enqueued", conversation=str(conversation_id), error=type(error).__name__
            )

    async def publish(self, tenant: UUID, targets: Iterable[UUID]) -> None:
        """Let workers look at the targets of posts whose time has come."""
        for target in targets:
            try:
                await self._state.send_task(
                    TaskName.PUBLISH_POST, {"tenant_id": str(tenant), "target_id": str(target)}
                )
            except (OperationalError, redis.RedisError, OSError) as error:
                # the others would wait for the same broker
                log.warning("publishing not enqueued", target=str(target), error=type(error).__name__)
                return

    async def answer(self, tenant: UUID, comment_id: UUID) -> None:
        """Let a worker look at a comment, and send what waits."""
        try:
            await self._state.send_task(
                TaskName.PROCESS_COMMENT, {"tenant_id": str(tenant), "comment_id": str(comment_id)}
            )
        except (OperationalError, redis.RedisError, OSError) as error:
            log.warning("answering not enqueued", comment=str(comment_id), error=type(error).__name__)

    async def poll(self) -> None:
        """Let a worker read the comments of posts that are due."""
        try:
            await self._state.send_task(TaskName.POLL_POST_COMMENTS, {})
        except (OperationalError, redis.RedisError, OSError) as error:
            log.warning("polling not enqueued", error=type(error).__name__)

    async def make_due(self, name: ConversationName) -> None:
        """Make a conversation due for a reply at once."""
        try:
            await self._state.redis.register_script(ENSURE_SCRIPT)(args=[str(name)])
        except (redis.RedisError, OSError) as error:
            log.warning("batches not told", conversation=str(name.contact_id), error=type(error).__name__)


Tenant = Annotated[UUID, Depends(current_tenant)]
DatabaseOfApp = Annotated[Database, Depends(_database)]
WorkersOfApp = Annotated[Workers, Depends(Workers)]
