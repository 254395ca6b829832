"""``/conversations``: read them, answer in them, hand them over; ``/sends``: settle what nobody knows."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, BackgroundTasks, Header, Query, Response

from socialsync_gateway.api import paging, repository, schemas, service
from socialsync_gateway.api.bounds import BoundedRoute
from socialsync_gateway.api.dependencies import DatabaseOfApp, Tenant, WorkersOfApp
from socialsync_gateway.problems import ProblemError, problem_responses

router = APIRouter(route_class=BoundedRoute)


@router.get(
    "/conversations",
    operation_id="listConversations",
    summary="Conversations, newest activity first",
    tags=["conversations"],
    response_model=schemas.Page[schemas.Conversation],
    responses=problem_responses(400, 404),
)
async def list_conversations(
    tenant: Tenant,
    database: DatabaseOfApp,
    handler: Annotated[schemas.Handler | None, Query(description="Only those that they answer")] = None,
    account: Annotated[UUID | None, Query(description="Only those of this account")] = None,
    limit: paging.Limit = 50,
    cursor: paging.Cursor = None,
) -> Any:
    after = paging.decode_cursor(cursor, paging.as_time, paging.as_uuid)
    async with database.transaction([tenant]) as connection:
        if account and not await repository.account_exists(connection, account):
            raise ProblemError(404, "There is no such account.", kind="not-found")
        rows = await repository.list_conversations(
            connection, tenant, handler=handler, account=account, after=after, limit=limit + 1
        )
    items, following = paging.cut(rows, limit, "last_activity_at", "id")
    return {"items": items, "next": following}


@router.get(
    "/conversations/{conversation_id}/messages",
    operation_id="listMessages",
    summary="A conversation's messages, newest first, and its open sends",
    tags=["conversations"],
    response_model=schemas.MessagePage,
    responses=problem_responses(400, 404),
)
async def list_messages(
    tenant: Tenant,
    database: DatabaseOfApp,
    conversation_id: UUID,
    limit: paging.Limit = 50,
    cursor: paging.Cursor = None,
) -> Any:
    before = paging.decode_cursor(cursor, paging.as_bigint)
    async with database.transaction([tenant]) as connection:
        if not await repository.conversation_exists(connection, conversation_id):
            raise ProblemError(404, "There is no such conversation.", kind="not-found")
        rows = await repository.list_messages(
            connection, conversation_id, before[0] if before else None, limit + 1
        )
        sends = await repository.list_open_sends(connection, conversation_id)
    items, following = paging.cut(rows, limit, "id")
    for item in items:
        item["attachments"] = item["attachments"] or []
    return {"items": items, "next": following, "sends": sends}


@router.post(
    "/conversations/{conversation_id}/messages",
    operation_id="answerConversation",
    summary="Answer as a person",
    description="The conversation goes to a person, and its waiting messages count as answered. "
    "A repeat with the same Idempotency-Key sends nothing again and returns the same sends.",
    tags=["conversations"],
    status_code=202,
    response_model=schemas.Accepted,
    responses=problem_responses(400, 404, 409, 413),
)
async def answer_conversation(
    tenant: Tenant,
    database: DatabaseOfApp,
    workers: WorkersOfApp,
    background: BackgroundTasks,
    response: Response,
    conversation_id: UUID,
    body: schemas.Answer,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            description="Names this answer, so that it is sent once; absent: one is made up and returned",
        ),
    ] = None,
) -> Any:
    key = idempotency_key or str(uuid4())
    sends = await service.answer(database, tenant, conversation_id, body.text, key)
    # after the commit, and without making the caller wait for the broker
    background.add_task(workers.deliver, conversation_id)
    response.headers["Idempotency-Key"] = key
    return {"sends": sends}


@router.post(
    "/conversations/{conversation_id}/handoff",
    operation_id="handOffConversation",
    summary="Give the conversation to a person or to the AI",
    description="To a person: replies of the AI that have not left are withdrawn. To the AI: it answers what came "
    "in since the last outbound message. Repeating it changes nothing.",
    tags=["conversations"],
    response_model=schemas.Conversation,
    responses=problem_responses(400, 404, 413),
)
async def hand_off_conversation(
    tenant: Tenant,
    database: DatabaseOfApp,
    workers: WorkersOfApp,
    background: BackgroundTasks,
    conversation_id: UUID,
    body: schemas.Handoff,
) -> Any:
    done = await service.hand_off(database, tenant, conversation_id, body.to, body.reason)
    if done.due:
        background.add_task(workers.make_due, done.due)
    return done.conversation


@router.post(
    "/sends/{send_id}/resolve",
    operation_id="resolveSend",
    summary="Settle a send whose outcome is unknown",
    description="A person looked at the platform: it was sent, or it was not. It is never sent again by itself.",
    tags=["sends"],
    response_model=schemas.Send,
    responses=problem_responses(400, 404, 409, 413),
)
async def resolve_send(
    tenant: Tenant,
    database: DatabaseOfApp,
    workers: WorkersOfApp,
    background: BackgroundTasks,
    send_id: UUID,
    body: schemas.Resolution,
) -> Any:
    send = await service.resolve(database, tenant, send_id, body.outcome)
    # the texts after it have waited for this
    background.add_task(workers.deliver, send["conversation_id"])
    return send
