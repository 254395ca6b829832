"""``/posts``: write, change and cancel them, list them, and decide what nobody knows."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Header, Query
from pydantic import AwareDatetime, BeforeValidator

from socialsync_gateway.api import paging
from socialsync_gateway.api.bounds import BoundedRoute
from socialsync_gateway.api.dependencies import DatabaseOfApp, Tenant, WorkersOfApp
from socialsync_gateway.api.repository import account_exists
from socialsync_gateway.api.schemas import Page
from socialsync_gateway.posts import repository, schemas, service
from socialsync_gateway.problems import ProblemError, problem_responses

router = APIRouter(route_class=BoundedRoute, tags=["posts"])


def _restore_plus(value: Any) -> Any:
    """A query's unescaped ``+`` arrives as a blank."""
    return re.sub(r" (\d\d:\d\d)$", r"+\1", value) if isinstance(value, str) else value


Moment = Annotated[AwareDatetime, BeforeValidator(_restore_plus)]
Day = Annotated[date, Query(ge=date(2000, 1, 1), le=date(2199, 12, 31))]


@router.post(
    "/posts",
    operation_id="createPost",
    summary="Schedule a post",
    description="For one or more accounts, at a time on the clock of a zone. Everything that a platform would refuse is "
    "refused here, all of it in one answer. A repeat with the same Idempotency-Key returns the same post.",
    status_code=201,
    response_model=schemas.Post,
    responses=problem_responses(400, 409, 413),
)
async def create_post(
    tenant: Tenant,
    database: DatabaseOfApp,
    workers: WorkersOfApp,
    background: BackgroundTasks,
    body: schemas.NewPost,
    idempotency_key: Annotated[
        str, Header(min_length=1, max_length=255, description="Names this post, so that it is written once")
    ],
) -> Any:
    done = await service.create(database, tenant, body, idempotency_key)
    # after the commit, and without making the caller wait for the broker
    background.add_task(workers.publish, tenant, done.due)
    return done.post


@router.get(
    "/posts",
    operation_id="listPosts",
    summary="Posts by the time at which they are due",
    response_model=Page[schemas.Post],
    responses=problem_responses(400, 404),
)
async def list_posts(
    tenant: Tenant,
    database: DatabaseOfApp,
    status: Annotated[schemas.Status | None, Query(description="Only those in this state")] = None,
    account: Annotated[UUID | None, Query(description="Only those for this account")] = None,
    begin: Annotated[Moment | None, Query(alias="from", description="Due at this time or later")] = None,
    end: Annotated[Moment | None, Query(alias="to", description="Due before this time")] = None,
    limit: paging.Limit = 50,
    cursor: paging.Cursor = None,
) -> Any:
    after = paging.decode_cursor(cursor, paging.as_time, paging.as_uuid)
    async with database.transaction([tenant]) as connection:
        if account and not await account_exists(connection, account):
            raise ProblemError(404, "There is no such account.", kind="not-found")
        rows = await repository.list_posts(
            connection,
            tenant,
            status=status,
            account=account,
            begin=begin,
            end=end,
            after=after,
            limit=limit + 1,
        )
    items, following = paging.cut(rows, limit, "due_at", "id")
    return {"items": service.shown(items), "next": following}


@router.get(
    "/posts/calendar",
    operation_id="getCalendar",
    summary="Posts by day",
    description=f"Days as a zone's clock has them, at most {service.MAX_CALENDAR_DAYS}.",
    response_model=schemas.Calendar,
)
async def get_calendar(
    tenant: Tenant,
    database: DatabaseOfApp,
    first: Annotated[Day, Query(alias="from", description="The first day")],
    last: Annotated[Day, Query(alias="to", description="The last day")],
    zone: Annotated[str, Query(description="IANA time zone", examples=["Europe/Paris"])],
) -> Any:
    return await service.calendar(database, tenant, first, last, zone)


@router.get(
    "/posts/{post_id}",
    operation_id="getPost",
    summary="One post",
    response_model=schemas.Post,
    responses=problem_responses(404),
)
async def get_post(tenant: Tenant, database: DatabaseOfApp, post_id: UUID) -> Any:
    return await service.get(database, tenant, post_id)


@router.patch(
    "/posts/{post_id}",
    operation_id="changePost",
    summary="Change a post",
    description="Possible until the first of its accounts is being published. What was prepared is prepared anew. "
    "An account that is left out keeps its place in `targets`, cancelled.",
    response_model=schemas.Post,
    responses=problem_responses(400, 404, 409, 413),
)
async def change_post(
    tenant: Tenant,
    database: DatabaseOfApp,
    workers: WorkersOfApp,
    background: BackgroundTasks,
    post_id: UUID,
    body: schemas.PostChange,
) -> Any:
    done = await service.change(database, tenant, post_id, body)
    background.add_task(workers.publish, tenant, done.due)
    return done.post


@router.post(
    "/posts/{post_id}/cancel",
    operation_id="cancelPost",
    summary="Cancel a post",
    description="Where it is being published on an account already, it is cancelled on the others, and `note` says so.",
    response_model=schemas.CancelledPost,
    responses=problem_responses(404, 409),
)
async def cancel_post(tenant: Tenant, database: DatabaseOfApp, post_id: UUID) -> Any:
    done = await service.cancel(database, tenant, post_id)
    return {**done.post, "note": done.note}


@router.post(
    "/posts/{post_id}/targets/{target_id}/decision",
    operation_id="decideTarget",
    summary="Settle a target whose outcome is unknown, or publish one that failed",
    description="A person looked at the account: the post is live there, or it is not. It is never published twice by "
    "itself.",
    response_model=schemas.Post,
    responses=problem_responses(400, 404, 409, 413),
)
async def decide_target(
    tenant: Tenant,
    database: DatabaseOfApp,
    workers: WorkersOfApp,
    background: BackgroundTasks,
    post_id: UUID,
    target_id: UUID,
    body: schemas.TargetDecision,
) -> Any:
    done = await service.decide(database, tenant, post_id, target_id, body.decision)
    background.add_task(workers.publish, tenant, done.due)
    return done.post
