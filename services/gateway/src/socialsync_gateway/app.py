"""The gateway: webhooks in, the API beside them. One composition root, no globals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from socialsync_common.celery_app import create_celery
from socialsync_common.contracts import LANE_OF_TASK, TaskName
from socialsync_common.settings import BatchSettings, BrokerSettings, DatabaseSettings, WebhookSettings
from socialsync_gateway.api import api_router
from socialsync_gateway.database import Database
from socialsync_gateway.health import health_router
from socialsync_gateway.problems import install_problem_handlers
from socialsync_gateway.webhooks.endpoints import Webhooks
from socialsync_gateway.webhooks.service import WebhookService

# every statement of the webhook path finds its rows by key: a plan made while a table was small must not scan it later
_BY_KEY = " -c enable_seqscan=off -c jit=off"
_REDIS_TIMEOUT_SECONDS = 5


def create_app(
    database_settings: DatabaseSettings,
    broker_settings: BrokerSettings,
    webhook_settings: WebhookSettings,
    batch_settings: BatchSettings,
) -> Webhooks:
    """Build the application; connections open with its lifespan.

    Raises:
        ConfigError: at start-up, where DATABASE_URL's role bypasses row-level security.
    """
    database = Database(database_settings)
    webhook_database = Database(database_settings, planner=_BY_KEY)
    client = redis.asyncio.Redis.from_url(
        broker_settings.redis_url,
        socket_timeout=_REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
    )
    webhooks = WebhookService(webhook_database, client, batch_settings)
    celery = create_celery("gateway", broker_settings)

    async def send_task(name: TaskName, arguments: dict[str, Any]) -> None:
        await run_in_threadpool(celery.send_task, name, kwargs=arguments, queue=LANE_OF_TASK[name])

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await database.open()
            await webhook_database.open()
            await database.check_role()
            async with webhooks:
                yield
        finally:
            await webhook_database.close()
            await database.close()
            await client.aclose()

    app = FastAPI(title="SocialSync", version="0.1.0", lifespan=lifespan)
    app.state.database = database
    app.state.redis = client
    app.state.send_task = send_task
    install_problem_handlers(app)
    app.include_router(health_router())
    app.include_router(api_router())
    return Webhooks(app, webhooks, webhook_settings)
