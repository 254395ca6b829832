"""``/comments``: list them, answer, approve, dismiss and hide; ``/monitored-posts``; ``/accounts/{id}/comment-policy``."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Query, Response

from socialsync_common.comment_policy import CommentPolicy
from socialsync_common.contracts import CommentReason, CommentStatus
from socialsync_gateway.api import paging
from socialsync_gateway.api.bounds import BoundedRoute
from socialsync_gateway.api.dependencies import DatabaseOfApp, Tenant, WorkersOfApp
from socialsync_gateway.api.repository import account_exists
from socialsync_gateway.api.schemas import Page
from socialsync_gateway.comments import repository, schemas, service
from socialsync_gateway.problems import problem_responses

router = APIRouter(route_class=BoundedRoute, tags=["comments"])


@router.get(
    "/comments",
    operation_id="listComments",
    summary="Comments, newest first",
    response_model=Page[schemas.Comment],
    responses=problem_responses(400, 404),
)
async def list_comments(
    tenant: Tenant,
    database: DatabaseOfApp,
    status: Annotated[CommentStatus | None, Query(description="Only those in this state")] = None,
    reason: Annotated[
        CommentReason | None, Query(description="Only those that are so for this reason")
    ] = None,
    account: Annotated[UUID | None, Query(description="Only those to this account")] = None,
    post: Annotated[UUID | None, Query(description="Only those on this monitored post")] = None,
    limit: paging.Limit = 50,
    cursor: paging.Cursor = None,
) -> Any:
    after = paging.decode_cursor(cursor, paging.as_time, paging.as_uuid)
    async with database.transaction([tenant]) as connection:
        if account and not await account_exists(connection, account):
            raise service.not_found("account")
        if post and not await repository.post_exists(connection, post):
            raise service.not_found("monitored post")
        rows = await repository.list_comments(
            connection,
            tenant,
            status=status,
            reason=reason,
            account=account,
            post=post,
            after=after,
            limit=limit + 1,
        )
    items, following = paging.cut(rows, limit, "written_at", "id")
    return {"items": items, "next": following}


@router.get(
    "/comments/{comment_id}",
    operation_id="getComment",
    summary="One comment, with its thread",
    response_model=schemas.CommentInThread,
    responses=problem_responses(404),
)
async def get_comment(tenant: Tenant, database: DatabaseOfApp, comment_id: UUID) -> Any:
    return await service.get(database, tenant, comment_id)


@router.post(
    "/comments/{comment_id}/approve",
    operation_id="approveComment",
    summary="Let the AI's answer leave",
    description="As it is, or with texts of your own in its place. Only while the comment's status is `review`.",
    response_model=schemas.Comment,
    responses=problem_responses(400, 404, 409, 413),
)
async def approve_comment(
    tenant: Tenant,
    database: DatabaseOfApp,
    workers: WorkersOfApp,
    background: BackgroundTasks,
    comment_id: UUID,
    body: schemas.Approval | None = None,
) -> Any:
    comment = await service.approve(database, tenant, comment_id, body.texts if body else {})
    # after the commit, and without making the caller wait for the broker
    background.add_task(workers.answer, tenant, comment_id)
    return comment


@router.post(
    "/comments/{comment_id}/answer",
    operation_id="answerComment",
    summary="Answer as a person",
    description="In public, in private, or both, in place of what the AI wrote and of what failed. There is at most "
    "one answer of each kind: repeating it changes nothing.",
    response_model=schemas.Comment,
    responses=problem_responses(400, 404, 409, 413),
)
async def answer_comment(
    tenant: Tenant,
    database: DatabaseOfApp,
    workers: WorkersOfApp,
    background: BackgroundTasks,
    comment_id: UUID,
    body: schemas.CommentAnswer,
) -> Any:
    comment = await service.answer(database, tenant, comment_id, body.texts)
    background.add_task(workers.answer, tenant, comment_id)
    return comment


@router.post(
    "/comments/{comment_id}/dismiss",
    operation_id="dismissComment",
    summary="Leave a comment alone",
    description="What was written about it does not leave. Repeating it changes nothing.",
    response_model=schemas.Comment,
    responses=problem_responses(404, 409),
)
async def dismiss_comment(tenant: Tenant, database: DatabaseOfApp, comment_id: UUID) -> Any:
    return await service.dismiss(database, tenant, comment_id)


@router.post(
    "/comments/{comment_id}/hide",
    operation_id="hideComment",
    summary="Hide a comment on the platform",
    description="Its author and their friends may still see it. Its status stays as it is. Repeating it changes nothing.",
    response_model=schemas.Comment,
    responses=problem_responses(404, 409),
)
async def hide_comment(
    tenant: Tenant,
    database: DatabaseOfApp,
    workers: WorkersOfApp,
    background: BackgroundTasks,
    comment_id: UUID,
) -> Any:
    comment = await service.hide(database, tenant, comment_id)
    background.add_task(workers.answer, tenant, comment_id)
    return comment


@router.get(
    "/monitored-posts",
    operation_id="listMonitoredPosts",
    summary="Posts that got comments or are watched, newest known first",
    response_model=Page[schemas.MonitoredPost],
    responses=problem_responses(400, 404),
)
async def list_monitored_posts(
    tenant: Tenant,
    database: DatabaseOfApp,
    account: Annotated[UUID | None, Query(description="Only those of this account")] = None,
    monitored: Annotated[
        bool | None, Query(description="True: only those that are watched; false: only others")
    ] = None,
    limit: paging.Limit = 50,
    cursor: paging.Cursor = None,
) -> Any:
    after = paging.decode_cursor(cursor, paging.as_time, paging.as_uuid)
    async with database.transaction([tenant]) as connection:
        if account and not await account_exists(connection, account):
            raise service.not_found("account")
        rows = await repository.list_posts(
            connection, tenant, account=account, monitored=monitored, after=after, limit=limit + 1
        )
    items, following = paging.cut(rows, limit, "created_at", "id")
    return {"items": items, "next": following}


@router.post(
    "/monitored-posts",
    operation_id="monitorPost",
    summary="Watch the comments of a post",
    description="From now on: older comments are left alone. A post that is watched already stays so.",
    status_code=201,
    response_model=schemas.MonitoredPost,
    responses={**problem_responses(400, 404, 409, 413), 200: {"model": schemas.MonitoredPost}},
)
async def monitor_post(
    tenant: Tenant,
    database: DatabaseOfApp,
    workers: WorkersOfApp,
    background: BackgroundTasks,
    response: Response,
    body: schemas.PostToMonitor,
) -> Any:
    done = await service.monitor(database, tenant, body.account, body.external_id)
    background.add_task(workers.poll)
    if not done.is_new:
        response.status_code = 200
    return done.post


@router.patch(
    "/monitored-posts/{post_id}",
    operation_id="changeMonitoredPost",
    summary="Watch a post's comments, or no longer",
    description="Once a person has chosen, a policy that watches all posts does not change it.",
    response_model=schemas.MonitoredPost,
    responses=problem_responses(400, 404, 413),
)
async def change_monitored_post(
    tenant: Tenant,
    database: DatabaseOfApp,
    workers: WorkersOfApp,
    background: BackgroundTasks,
    post_id: UUID,
    body: schemas.MonitoredPostChange,
) -> Any:
    changed = await service.set_monitored(database, tenant, post_id, monitored=body.monitored)
    background.add_task(workers.poll)
    return changed


@router.get(
    "/accounts/{account_id}/comment-policy",
    operation_id="getCommentPolicy",
    summary="What happens with an account's comments",
    response_model=schemas.Policy,
    responses=problem_responses(404, 409),
)
async def get_comment_policy(tenant: Tenant, database: DatabaseOfApp, account_id: UUID) -> Any:
    return await service.get_policy(database, tenant, account_id)


@router.put(
    "/accounts/{account_id}/comment-policy",
    operation_id="setCommentPolicy",
    summary="Set what happens with an account's comments",
    description="The whole policy: what is left out gets its default.",
    response_model=schemas.Policy,
    responses=problem_responses(400, 404, 409, 413),
)
async def set_comment_policy(
    tenant: Tenant, database: DatabaseOfApp, account_id: UUID, body: schemas.NewPolicy
) -> Any:
    policy = CommentPolicy(**body.model_dump())
    await service.set_policy(database, tenant, account_id, policy)
    return policy
