"""``/accounts`` and ``/usage``."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from socialsync_common.contracts import Platform
from socialsync_gateway.api import paging, repository, schemas
from socialsync_gateway.api.dependencies import DatabaseOfApp, Tenant
from socialsync_gateway.problems import problem_responses

FREE_SERVICE_MESSAGES = 1000  # of each WhatsApp number, each month
_KINDS = ("service_messages", "ai_replies", "input_tokens", "output_tokens")

router = APIRouter()


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
