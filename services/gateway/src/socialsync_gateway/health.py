"""``/healthz``: the process lives. ``/readyz``: it can do its work."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import psycopg
import redis
import structlog
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from socialsync_gateway.problems import RETRY_SECONDS, problem, problem_responses

log = structlog.get_logger()

PING_SECONDS = 2.0

State = Literal["ok", "away"]


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """What the gateway stands on."""

    postgres: State
    redis: State = Field(description="Away only delays replies: the sweep finds their messages in Postgres")


def health_router() -> APIRouter:
    """Probes, without authentication."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", operation_id="healthz", summary="The process lives")
    async def healthz() -> Health:
        return Health()

    @router.get(
        "/readyz",
        operation_id="readyz",
        summary="Requests can be served",
        response_model=Readiness,
        responses=problem_responses(503),
    )
    async def readyz(request: Request) -> Any:
        postgres, redis_state = await asyncio.gather(_ping_postgres(request), _ping_redis(request))
        if postgres == "away":
            return _not_ready()
        return Readiness(postgres=postgres, redis=redis_state)

    return router


def _not_ready() -> Response:
    return problem(503, "Postgres is away.", kind="unavailable", headers={"Retry-After": str(RETRY_SECONDS)})


async def _ping_postgres(request: Request) -> State:
    try:
        async with asyncio.timeout(PING_SECONDS):
            await request.app.state.database.ping()
    except (psycopg.OperationalError, TimeoutError) as error:
        log.warning("not ready", postgres="away", error=type(error).__name__)
        return "away"
    return "ok"


async def _ping_redis(request: Request) -> State:
    try:
        async with asyncio.timeout(PING_SECONDS):
            await request.app.state.redis.ping()
    except (redis.RedisError, OSError) as error:
        log.warning("degraded", redis="away", error=type(error).__name__)
        return "away"
    return "ok"
