"""Notices: what people have to know or do, each said once."""

from __future__ import annotations

from uuid import UUID

import structlog

from socialsync_common.contracts import NoticeKind
from socialsync_common.db import Connection

log = structlog.get_logger()


def tell(
    connection: Connection,
    tenant: UUID,
    kind: NoticeKind,
    message: str,
    *,
    key: str,
    account_id: UUID | None = None,
    post_id: UUID | None = None,
) -> bool:
    """Leave a notice for the tenant's people; False where the same ``kind`` and ``key`` was told before.

    ``message`` says what happened and what to do, and never shows a token or a customer's text.
    """
    told = connection.execute(
        """
        INSERT INTO notices (tenant_id, account_id, post_id, kind, message, key) VALUES (%s, %s, %s, %s, %s, %s)
        ON CONFLICT (tenant_id, key) DO NOTHING
        """,
        (tenant, account_id, post_id, kind, message, f"{kind}:{key}"),
    ).rowcount
    if told:
        log.warning("notice", kind=kind, tenant=str(tenant), account=str(account_id), post=str(post_id))
    return bool(told)
