"""``/accounts``, ``/notices`` and ``/usage``."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from socialsync_common.contracts import Platform
from socialsync_gateway.accounts import numbers
from socialsync_gateway.accounts import repository as connecting
from socialsync_gateway.accounts.connector import Connector, NewAccount
from socialsync_gateway.api import paging, repository, schemas
from socialsync_gateway.api.account_schemas import ConnectedNumber, Notice, NumberToConnect
from socialsync_gateway.api.bounds import BoundedRoute
from socialsync_gateway.api.dependencies import DatabaseOfApp, Tenant
from socialsync_gateway.problems import ProblemError, problem_responses

FREE_SERVICE_MESSAGES = 1000  # of each WhatsApp number, each month
_KINDS = ("service_messages", "ai_replies", "input_tokens", "output_tokens", "comment_answers")

router = APIRouter(route_class=BoundedRoute)


def _connector(request: Request) -> Connector:
    connector: Connector = request.app.state.connector
    return connector


@router.get(
    "/accounts",
    operation_id="listAccounts",
    summary="Connected accounts, by name",
    tags=["accounts"],
    response_model=schemas.Page[schemas.Account],
    responses=problem_responses(400),
)
async def list_accounts(
    tenant: Tenant, database: DatabaseOfApp, limit: paging.Limit = 50, cursor: paging.Cursor = None
) -> Any:
    after = paging.decode_cursor(cursor, paging.as_text, paging.as_uuid)
    async with database.transaction([tenant]) as connection:
        rows = await repository.list_accounts(connection, tenant, after, limit + 1)
    items, following = paging.cut(rows, limit, "name", "id")
    return {"items": items, "next": following}


@router.post(
    "/accounts",
    operation_id="connectNumber",
    summary="Connect a WhatsApp number",
    description="With a system-user token that may use the number and its WhatsApp Business Account: Meta is asked. "
    "A number that is connected already gets the new token. Instagram accounts and Pages are connected by a login: "
    "`GET /api/oauth/{instagram,facebook}/start`.",
    tags=["accounts"],
    status_code=201,
    response_model=ConnectedNumber,
    responses={**problem_responses(400, 409, 413, 502), 200: {"model": ConnectedNumber}},
)
async def connect_number(
    tenant: Tenant,
    database: DatabaseOfApp,
    connector: Annotated[Connector, Depends(_connector)],
    response: Response,
    body: NumberToConnect,
) -> Any:
    number = NewAccount(
        Platform.WHATSAPP,
        body.external_id,
        body.name or "",
        body.token.get_secret_value(),
        token_expires_at=body.token_expires_at,
        business_account_id=body.business_account_id,
        instructions=body.instructions,
    )
    connected = await numbers.connect(database, connector, tenant, number)
    if isinstance(connected, Response):
        return connected
    if not connected.is_new:
        response.status_code = 200
    return {**connected.row, "fault": connected.fault}


@router.get(
    "/notices",
    operation_id="listNotices",
    summary="What people have to know or do, newest first",
    tags=["notices"],
    response_model=schemas.Page[Notice],
    responses=problem_responses(400),
)
async def list_notices(
    tenant: Tenant,
    database: DatabaseOfApp,
    open_: Annotated[
        bool | None, Query(alias="open", description="True: only open ones; false: only resolved ones")
    ] = None,
    limit: paging.Limit = 50,
    cursor: paging.Cursor = None,
) -> Any:
    after = paging.decode_cursor(cursor, paging.as_time, paging.as_uuid)
    async with database.transaction([tenant]) as connection:
        rows = await connecting.list_notices(connection, tenant, is_open=open_, after=after, limit=limit + 1)
    items, following = paging.cut(rows, limit, "created_at", "id")
    return {"items": items, "next": following}


@router.post(
    "/notices/{notice_id}/resolve",
    operation_id="resolveNotice",
    summary="Mark a notice as dealt with",
    description="Repeating it changes nothing. A notice is not told again once it is resolved.",
    tags=["notices"],
    response_model=Notice,
    responses=problem_responses(404),
)
async def resolve_notice(tenant: Tenant, database: DatabaseOfApp, notice_id: UUID) -> Any:
    async with database.transaction([tenant]) as connection:
        notice = await connecting.resolve_notice(connection, notice_id)
    if notice is None:
        raise ProblemError(404, "There is no such notice.", kind="not-found")
    return notice


@router.get(
    "/usage",
    operation_id="getUsage",
    summary="What each account used in a month",
    description="Months begin and end in UTC. WhatsApp bills service messages beyond `free_service_messages`.",
    tags=["usage"],
    response_model=schemas.Usage,
)
async def get_usage(
    tenant: Tenant,
    database: DatabaseOfApp,
    month: Annotated[
        str | None, Query(pattern=r"^20\d\d-(0[1-9]|1[0-2])$", description="YYYY-MM; absent: this month")
    ] = None,
) -> Any:
    shown = month or f"{datetime.now(UTC):%Y-%m}"
    async with database.transaction([tenant]) as connection:
        rows = await repository.usage_of_month(connection, tenant, date.fromisoformat(f"{shown}-01"), _KINDS)
    return {
        "month": shown,
        "items": [
            {
                "account": row["account"],
                **dict.fromkeys(_KINDS, 0),
                **row["counts"],
                "free_service_messages": FREE_SERVICE_MESSAGES
                if row["platform"] == Platform.WHATSAPP
                else None,
            }
            for row in rows
        ],
    }
