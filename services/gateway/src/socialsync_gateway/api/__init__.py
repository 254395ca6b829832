"""The authenticated API, ``/api/v1``."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from socialsync_common.settings import load
from socialsync_gateway.api import accounts, conversations
from socialsync_gateway.auth import Authenticator, AuthSettings
from socialsync_gateway.comments import endpoints as comments
from socialsync_gateway.media import endpoints as media
from socialsync_gateway.posts import endpoints as posts
from socialsync_gateway.problems import problem_responses


def api_router(settings: AuthSettings | None = None) -> APIRouter:
    """All routes below ``/api/v1``; ``settings`` come from the environment where they are not given.

    Raises:
        ConfigError: SUPABASE_JWT_SECRET is bad.
    """
    router = APIRouter(
        prefix="/api/v1",
        dependencies=[Depends(Authenticator(settings or load(AuthSettings)))],
        responses=problem_responses(401, 403, 422, 503),
    )
    router.include_router(accounts.router)
    router.include_router(conversations.router)
    router.include_router(media.router)
    router.include_router(posts.router)
    router.include_router(comments.router)
    return router
