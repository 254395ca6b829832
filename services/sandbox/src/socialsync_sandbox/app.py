"""The application: all routes over one in-memory sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from pydantic import ValidationError
from starlette.applications import Starlette

from socialsync_sandbox import control, graph, model, oauth, page, storage, subscriptions, users
from socialsync_sandbox.comments import routes as comments
from socialsync_sandbox.deliveries import Deliveries
from socialsync_sandbox.graph_errors import GraphError
from socialsync_sandbox.publishing.routes import routes as publishing_routes
from socialsync_sandbox.publishing.state import Posts
from socialsync_sandbox.responses import graph_error, invalid_request
from socialsync_sandbox.sandbox import Sandbox
from socialsync_sandbox.settings import SandboxSettings


def create_app(settings: SandboxSettings, client: httpx.AsyncClient | None = None) -> Starlette:
    """``client`` posts the webhooks and fetches media; the application closes it at its shutdown."""
    if client is None:
        limits = httpx.Limits(max_connections=256, max_keepalive_connections=64)
        client = httpx.AsyncClient(limits=limits, trust_env=False)
    deliveries = Deliveries(client, settings.gateway_url, settings.app_secret)
    sandbox = Sandbox(
        deliveries,
        Posts(client),
        settings.app_secret,
        status_webhooks=settings.sandbox_status_webhooks,
        logins=settings.logins(),
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await sandbox.close()

    app = Starlette(
        routes=[
            *comments.sends,
            *oauth.routes,
            *subscriptions.routes,
            *comments.routes,
            *publishing_routes,
            *graph.routes,
            *model.routes,
            *users.routes,
            *control.routes,
            *storage.routes,
            *page.routes,
        ],
        exception_handlers={GraphError: graph_error, ValidationError: invalid_request},
        lifespan=lifespan,
    )
    app.state.sandbox = sandbox
    return app
