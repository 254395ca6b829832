"""The gateway: webhooks in, the API beside them. One composition root, no globals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any, Self, get_type_hints

import redis.asyncio
import structlog
from fastapi import FastAPI
from kombu.exceptions import OperationalError
from starlette.concurrency import run_in_threadpool

from socialsync_common.celery_app import create_celery
from socialsync_common.contracts import LANE_OF_TASK, TaskName
from socialsync_common.crypto import TokenCipher
from socialsync_common.platforms.login import LoginClient
from socialsync_common.settings import (
    BatchSettings,
    BrokerSettings,
    DatabaseSettings,
    EncryptionSettings,
    GraphSettings,
    LoginSettings,
    PublicSettings,
    StorageSettings,
    WebhookSettings,
    load,
)
from socialsync_gateway.accounts.connector import Connector
from socialsync_gateway.api import api_router
from socialsync_gateway.database import Database
from socialsync_gateway.health import health_router
from socialsync_gateway.media.endpoints import public_router as media_router
from socialsync_gateway.media.service import MediaLibrary
from socialsync_gateway.oauth.endpoints import oauth_router
from socialsync_gateway.problems import install_problem_handlers
from socialsync_gateway.webhooks.endpoints import Webhooks
from socialsync_gateway.webhooks.service import WebhookService

# every statement of the webhook path finds its rows by key: a plan made while a table was small must not scan it later
_BY_KEY = " -c enable_seqscan=off -c jit=off"
_REDIS_TIMEOUT_SECONDS = 5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """All that the gateway is told by its environment."""

    database: DatabaseSettings
    broker: BrokerSettings
    webhook: WebhookSettings
    batch: BatchSettings
    encryption: EncryptionSettings
    graph: GraphSettings
    login: LoginSettings
    public: PublicSettings
    storage: StorageSettings

    @classmethod
    def load(cls) -> Self:
        """Raises ConfigError for the first class with a fault; the error names all of that class."""
        types = get_type_hints(cls)
        return cls(*(load(types[field.name]) for field in fields(cls)))


def create_app(settings: GatewaySettings) -> Webhooks:
    """Build the application; connections open with its lifespan.

    Raises:
        ConfigError: a setting is bad; at start-up, where DATABASE_URL's role bypasses row-level security.
    """
    database = Database(settings.database)
    webhook_database = Database(settings.database, planner=_BY_KEY)
    client = redis.asyncio.Redis.from_url(
        settings.broker.redis_url,
        socket_timeout=_REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
    )
    celery = create_celery("gateway", settings.broker)
    login = LoginClient(settings.graph, settings.login)
    media = MediaLibrary.create(database, settings.public, settings.encryption, settings.storage)

    async def send_task(name: TaskName, arguments: dict[str, Any]) -> None:
        await run_in_threadpool(celery.send_task, name, kwargs=arguments, queue=LANE_OF_TASK[name])

    async def wake_comments() -> None:
        try:
            await send_task(TaskName.SWEEP_COMMENTS, {})
        except (OperationalError, redis.RedisError, OSError) as error:
            # they are committed, and a sweep finds them
            log.warning("comments workers not woken", error=type(error).__name__)

    webhooks = WebhookService(webhook_database, client, settings.batch, wake_comments)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await database.open()
            await webhook_database.open()
            await database.check_role()
            async with webhooks:
                yield
        finally:
            await media.close()
            login.close()
            await webhook_database.close()
            await database.close()
            await client.aclose()

    app = FastAPI(title="SocialSync", version="0.1.0", lifespan=lifespan)
    app.state.database = database
    app.state.redis = client
    app.state.send_task = send_task
    app.state.connector = Connector(TokenCipher(settings.encryption), login)
    app.state.media = media
    install_problem_handlers(app)
    app.include_router(health_router())
    app.include_router(api_router())
    app.include_router(oauth_router(settings.public.base_url))
    app.include_router(media_router)
    return Webhooks(app, webhooks, settings.webhook)
