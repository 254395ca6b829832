"""Who may call the API, what it says when they may not, and what it says when a service is away."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt
import pytest
import redis.asyncio
from psycopg_pool import PoolTimeout

from socialsync_common.settings import DatabaseSettings
from socialsync_gateway.database import Database

pytestmark = pytest.mark.integration

SECRET = "a secret of a test that is long enough for HS256"


def token(tenant: Any, **claims: Any) -> dict[str, str]:
    payload = {
        "aud": "authenticated",
        "exp": time.time() + 60,
        "app_metadata": {"tenant_id": str(tenant)},
        **claims,
    }
    return {"Authorization": f"Bearer {jwt.encode(payload, SECRET, 'HS256')}"}


async def test_without_credentials_it_says_what_to_send(world):
    response = await world.client.get("/api/v1/accounts")
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["www-authenticate"] == 'Bearer realm="socialsync"'
    assert "API key" in response.json()["detail"]


async def test_unknown_and_revoked_keys_are_refused(world):
    response = await world.client.get("/api/v1/accounts", headers={"Authorization": "Bearer ssk_nope"})
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert (await world.get("/api/v1/accounts")).status_code == 200
    world.us.owner.execute("UPDATE api_keys SET revoked_at = now() WHERE tenant_id = %s", (world.us.id,))
    assert (await world.get("/api/v1/accounts")).status_code == 401


async def test_a_signed_in_user_sees_their_tenant_only(world):
    ours = world.us.account(name="Ours")
    response = await world.client.get("/api/v1/accounts", headers=token(world.us.id))
    assert str(ours.id) in {item["id"] for item in response.json()["items"]}
    response = await world.client.get("/api/v1/accounts", headers=token(world.them.id))
    assert str(ours.id) not in {item["id"] for item in response.json()["items"]}
    response = await world.client.get("/api/v1/accounts", headers=token(world.us.id, app_metadata={}))
    assert response.status_code == 403


async def test_accounts_show_no_token(world):
    response = await world.get("/api/v1/accounts")
    assert response.status_code == 200
    bakery = response.json()["items"][0]
    assert set(bakery) == {
        "id", "platform", "external_id", "name", "instructions", "status", "status_reason", "created_at",
            "token_expires_at", "subscribed", "quota",
    }  # fmt: skip
    assert bakery["created_at"].endswith("Z")
    assert "token-1" not in response.text


async def test_accounts_page_by_page(world):
    for name in ("c", "b", "b", "a"):
        world.us.account(name=name)
    names, cursor = [], None
    while True:
        query = {"limit": 2, "cursor": cursor} if cursor else {"limit": 2}
        page = (await world.get("/api/v1/accounts", **query)).json()
        names += [item["name"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert names == ["Bakery instagram", "Bakery messenger", "Bakery whatsapp", "a", "b", "b", "c"]


async def test_usage_counts_by_account_and_kind(world):
    number, page = world.us.account(name="Number"), world.us.account("messenger", name="Page")
    counts = [
        (number, "service_messages", 7),
        (number, "input_tokens", 5_000_000_000),
        (page, "ai_replies", 2),
    ]
    for account, kind, count in counts:
        world.us.owner.execute(
            "INSERT INTO usage (tenant_id, account_id, month, kind, count) VALUES (%s, %s, '2026-10-01', %s, %s)",
            (world.us.id, account.id, kind, count),
        )
    shown = (await world.get("/api/v1/usage", month="2026-10")).json()
    assert shown["month"] == "2026-10"
    by_name = {item["account"]["name"]: item for item in shown["items"]}
    assert by_name["Number"]["service_messages"] == 7
    assert by_name["Number"]["input_tokens"] == 5_000_000_000
    assert by_name["Number"]["output_tokens"] == 0
    assert by_name["Number"]["free_service_messages"] == 1000
    assert by_name["Page"]["ai_replies"] == 2
    assert by_name["Page"]["free_service_messages"] is None
    other = (await world.get("/api/v1/usage", world.them, month="2026-10")).json()
    assert {item["service_messages"] for item in other["items"]} == {0}
    assert (await world.get("/api/v1/usage", month="2026-13")).status_code == 422
    assert (await world.get("/api/v1/usage")).status_code == 200


async def test_readiness_degrades_without_redis(world, tmp_path: Path):
    assert (await world.client.get("/readyz")).json() == {"postgres": "ok", "redis": "ok"}
    gone = redis.asyncio.Redis(unix_socket_path=str(tmp_path / "none.sock"))
    world.app.state.redis = gone
    response = await world.client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"postgres": "ok", "redis": "away"}
    await gone.aclose()


async def test_without_postgres_it_says_when_to_try_again(world, tmp_path: Path):
    away = Database(DatabaseSettings(database_url=f"postgresql://nobody@/none?host={tmp_path}"))
    away._pool.timeout = 0.2
    await away.open()
    working, world.app.state.database = world.app.state.database, away
    try:
        with pytest.raises(PoolTimeout):
            await away.ping()
        assert (await world.client.get("/healthz")).status_code == 200
        for path in ("/readyz", "/api/v1/accounts"):
            response = await world.get(path)
            assert response.status_code == 503
            assert response.headers["content-type"] == "application/problem+json"
            assert response.headers["retry-after"] == "5"
    finally:
        world.app.state.database = working
        await away.close()
