"""Notices: read page by page, resolved once, and never another tenant's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

pytestmark = pytest.mark.integration

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def leave(tenant: Any, message: str, minutes: int = 0, account: UUID | None = None) -> UUID:
    row = tenant.one(
        "INSERT INTO notices (tenant_id, account_id, kind, message, key, created_at) "
        "VALUES (%s, %s, 'token_expires', %s, %s, %s) RETURNING id",
        tenant.id, account, message, str(uuid4()), NOON + timedelta(minutes=minutes),
    )  # fmt: skip
    found: UUID = row["id"]
    return found


async def test_newest_first_with_their_account(world: Any) -> None:
    account = world.us.account(name="Bakery")
    older, newer = leave(world.us, "older", 0), leave(world.us, "newer", 1, account.id)
    response = await world.get("/api/v1/notices")
    assert response.status_code == 200
    assert response.json()["items"] == [
        {
            "id": str(newer), "kind": "token_expires", "message": "newer", "post_id": None,
            "account": {"id": str(account.id), "name": "Bakery", "platform": "whatsapp"},
            "created_at": "2026-11-24T12:01:00Z", "resolved_at": None,
        },
        {
            "id": str(older), "kind": "token_expires", "message": "older", "post_id": None, "account": None,
            "created_at": "2026-11-24T12:00:00Z", "resolved_at": None,
        },
    ]  # fmt: skip
    assert (await world.get("/api/v1/notices", world.them)).json() == {"items": [], "next": None}


async def test_page_by_page_also_where_times_are_equal(world: Any) -> None:
    expected = {leave(world.us, "same") for _ in range(5)} | {leave(world.us, "later", 1)}
    seen: list[str] = []
    cursor = None
    while True:
        query = {"limit": 2, "cursor": cursor} if cursor else {"limit": 2}
        page = (await world.get("/api/v1/notices", **query)).json()
        seen += [item["id"] for item in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert len(seen) == 6
    assert set(seen) == {str(one) for one in expected}
    assert (await world.get("/api/v1/notices", cursor="nonsense")).status_code == 400


async def test_a_notice_is_resolved_once(world: Any) -> None:
    notice, other = leave(world.us, "do it"), leave(world.us, "do that", 1)
    path = f"/api/v1/notices/{notice}/resolve"
    assert (await world.post(path, None, world.them)).status_code == 404
    first = await world.post(path, None)
    assert first.status_code == 200
    assert first.json()["resolved_at"]
    again = await world.post(path, None)
    assert again.json() == first.json()
    open_ones = (await world.get("/api/v1/notices", open="true")).json()["items"]
    resolved = (await world.get("/api/v1/notices", open="false")).json()["items"]
    assert [one["id"] for one in open_ones] == [str(other)]
    assert [one["id"] for one in resolved] == [str(notice)]
    assert len((await world.get("/api/v1/notices")).json()["items"]) == 2


async def test_what_is_not_there(world: Any) -> None:
    response = await world.post(f"/api/v1/notices/{uuid4()}/resolve", None)
    assert (response.status_code, response.json()["type"]) == (404, "urn:socialsync:problem:not-found")
    assert (await world.post("/api/v1/notices/7/resolve", None)).status_code == 422
    assert (await world.get("/api/v1/notices", open="maybe")).status_code == 422
    assert (await world.client.get("/api/v1/notices")).status_code == 401
