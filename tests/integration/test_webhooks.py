"""Deliveries, from the signature to the rows and the batch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import redis

from deliveries import actions, change, deliver, messaging, text, whatsapp
from socialsync_gateway.app import GatewaySettings, create_app
from support import TEST_SECRETS, Databases, Tenant, eventually, running

pytestmark = pytest.mark.integration


@pytest.fixture
async def gateway(environment: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(GatewaySettings.load())
    async with (
        running(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client,
    ):
        yield client


async def test_handshake_answers_the_challenge_to_the_right_token_only(gateway: httpx.AsyncClient) -> None:
    query = {"hub.mode": "subscribe", "hub.challenge": "12 34", "hub.verify_token": "verify-me"}
    right = await gateway.get("/api/instagram/webhook", params=query)
    wrong = await gateway.get("/api/instagram/webhook", params={**query, "hub.verify_token": "é"})
    assert (right.status_code, right.text) == (200, "12 34")
    assert wrong.status_code == 403


@pytest.mark.parametrize("header", [None, "", "sha256=", "sha256=é", "sha1=00", "sha256=" + "0" * 64])
async def test_wrong_or_missing_signature_is_401_and_stores_nothing(
    gateway: httpx.AsyncClient, tenants: tuple[Tenant, Tenant], databases: Databases, header: str | None
) -> None:
    headers = {} if header is None else {"X-Hub-Signature-256": header.encode()}
    raw = json.dumps(whatsapp(change("100", messages=[text("m1")]))).encode()
    response = await gateway.post("/api/whatsapp/webhook", content=raw, headers=headers)
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert databases.query("SELECT 1 FROM messages UNION ALL SELECT 1 FROM webhook_events") == []


async def test_both_app_secrets_sign(gateway: httpx.AsyncClient, tenants: tuple[Tenant, Tenant]) -> None:
    body = messaging("101", {"message": {"mid": "i1", "text": "hi"}})
    assert (
        await deliver(gateway, body, "instagram", TEST_SECRETS["INSTAGRAM_APP_SECRET"])
    ).status_code == 200


async def test_bad_json_is_400_and_a_large_body_413(gateway: httpx.AsyncClient) -> None:
    assert (await deliver(gateway, b"{")).status_code == 400
    assert (await deliver(gateway, b"[" * 100_000)).status_code == 400
    assert (await deliver(gateway, b"NaN")).status_code == 400
    assert (await deliver(gateway, b" " * (3 * 1024 * 1024 + 1))).status_code == 413
    assert (await deliver(gateway, b'{"object":"whatsapp_business_account","entry":[]}')).status_code == 200


async def test_a_body_of_three_megabytes_and_a_thousand_messages_is_taken_whole(
    gateway: httpx.AsyncClient, tenants: tuple[Tenant, Tenant], databases: Databases
) -> None:
    messages = [text(f"m{n}", "x" * 2700, contact=str(33_600_000_000 + n % 50)) for n in range(1000)]
    response = await deliver(gateway, whatsapp(change("100", messages=messages)))
    assert response.status_code == 200
    assert databases.query("SELECT count(*) AS n FROM messages")[0]["n"] == 1000
    assert databases.query("SELECT count(*) AS n FROM conversations")[0]["n"] == 50


async def test_a_message_is_stored_with_its_contact_and_put_into_its_batch(
    gateway: httpx.AsyncClient,
    tenants: tuple[Tenant, Tenant],
    databases: Databases,
    redis_client: redis.Redis,
) -> None:
    contacts = [{"wa_id": "33600000001", "user_id": "FR.77", "profile": {"name": "Ada"}}]
    response = await deliver(
        gateway, whatsapp(change("100", contacts=contacts, messages=[text("m1", from_user_id="FR.77")]))
    )
    assert response.json()["items"] == [
        {"id": "m1", "kind": "text", "action": "reply", "stored": True, "reason": None}
    ]
    [stored] = databases.query(
        "SELECT m.*, c.name FROM messages m JOIN contacts c ON c.id = m.conversation_id"
    )
    assert (stored["text"], stored["name"], stored["awaiting_reply"], stored["tenant_id"]) == (
        "Hello",
        "Ada",
        True,
        tenants[0].id,
    )
    identities = {(row["kind"], row["value"]) for row in databases.query("SELECT * FROM contact_identities")}
    assert identities == {("phone", "33600000001"), ("user_id", "FR.77")}
    name = f"whatsapp:{stored['account_id']}:{stored['conversation_id']}"
    waiting = await eventually(lambda: redis_client.lrange(f"conv:{name}:msgs", 0, -1))
    assert waiting == [str(stored["id"]).encode()]
    assert redis_client.zscore("conv:deadlines", name) is not None


async def test_a_contact_known_by_phone_keeps_the_conversation_when_only_the_user_id_comes(
    gateway: httpx.AsyncClient, tenants: tuple[Tenant, Tenant], databases: Databases
) -> None:
    await deliver(gateway, whatsapp(change("100", messages=[text("m1")])))
    await deliver(gateway, whatsapp(change("100", messages=[text("m2", from_user_id="FR.77")])))
    only_id = {**text("m3"), "from": "", "from_user_id": "FR.77"}
    await deliver(gateway, whatsapp(change("100", messages=[only_id])))
    assert databases.query("SELECT count(*) AS m, count(DISTINCT conversation_id) AS c FROM messages") == [
        {"m": 3, "c": 1}
    ]


async def test_one_body_for_two_tenants_reaches_each_its_own(
    gateway: httpx.AsyncClient, tenants: tuple[Tenant, Tenant], databases: Databases
) -> None:
    await deliver(
        gateway, whatsapp(change("100", messages=[text("m1")]), change("200", messages=[text("m2")]))
    )
    rows = databases.query("SELECT platform_message_id, tenant_id FROM messages ORDER BY platform_message_id")
    assert [(row["platform_message_id"], row["tenant_id"]) for row in rows] == [
        ("m1", tenants[0].id),
        ("m2", tenants[1].id),
    ]


async def test_duplicates_are_one_row_in_one_batch(
    gateway: httpx.AsyncClient,
    tenants: tuple[Tenant, Tenant],
    databases: Databases,
    redis_client: redis.Redis,
) -> None:
    body = whatsapp(change("100", messages=[text("m1"), text("m1")]))
    responses = await asyncio.gather(*(deliver(gateway, body) for _ in range(20)))
    stored = [item["stored"] for response in responses for item in response.json()["items"]]
    assert stored.count(True) == 1
    assert databases.query("SELECT count(*) AS n FROM messages") == [{"n": 1}]
    [key] = await eventually(lambda: redis_client.keys("conv:*:msgs"))
    assert redis_client.llen(key) == 1


async def test_an_unknown_account_is_kept_raw(
    gateway: httpx.AsyncClient, tenants: tuple[Tenant, Tenant], databases: Databases
) -> None:
    response = await deliver(gateway, whatsapp(change("999", messages=[text("m1")])))
    assert actions(response) == ["store"]
    [event] = databases.query("SELECT * FROM webhook_events")
    assert event["tenant_id"] is None
    assert event["raw"]["message"]["text"]["body"] == "Hello"


async def test_good_items_go_on_beside_bad_ones(
    gateway: httpx.AsyncClient, tenants: tuple[Tenant, Tenant], databases: Databases
) -> None:
    body = whatsapp(
        change("100", messages=[7, text("m1"), {"from": "bla", "id": "m2", "type": "text"}]),
        {"field": "future", "value": 1},
    )
    response = await deliver(gateway, body)
    assert sorted(actions(response)) == ["ignore", "invalid", "invalid", "reply"]
    assert databases.query("SELECT count(*) AS n FROM webhook_events") == [{"n": 3}]


@pytest.mark.parametrize("poison", ["\\u0000", "\\ud800", "\\udc00\\ud800"])
async def test_text_that_postgres_cannot_hold_is_still_a_message(
    gateway: httpx.AsyncClient, tenants: tuple[Tenant, Tenant], databases: Databases, poison: str
) -> None:
    raw = (
        json.dumps(whatsapp(change("100", messages=[text("m1", "before-POISON-after")])))
        .replace("POISON", poison)
        .encode()
    )
    assert actions(await deliver(gateway, raw)) == ["reply"]
    [row] = databases.query("SELECT text FROM messages")
    assert row["text"].startswith("before-�")


async def test_a_body_that_cannot_be_rows_is_kept_raw_and_spoils_no_neighbour(
    gateway: httpx.AsyncClient, tenants: tuple[Tenant, Tenant], databases: Databases
) -> None:
    nested: Any = "x"
    for _ in range(400):
        nested = [nested]
    deep = whatsapp(change("100", messages=[text("m1", extra=nested)]))
    others = [deliver(gateway, whatsapp(change("100", messages=[text(f"n{n}")]))) for n in range(5)]
    bad, *good = await asyncio.gather(deliver(gateway, deep), *others)
    assert actions(bad) == ["invalid"]
    assert [actions(one) for one in good] == [["reply"]] * 5
    [event] = databases.query("SELECT * FROM webhook_events")
    assert b"m1" in bytes.fromhex(event["raw"]["body_hex"])


async def test_edit_and_revoke_are_applied_to_the_message_that_waits(
    gateway: httpx.AsyncClient, tenants: tuple[Tenant, Tenant], databases: Databases
) -> None:
    await deliver(gateway, whatsapp(change("100", messages=[text("m1", "Helo"), text("m2")])))
    edit = {
        "id": "e1",
        "timestamp": "1",
        "type": "edit",
        "edit": {"original_message_id": "m1", "message": {"type": "text", "text": {"body": "Hello"}}},
    }
    revoke = {"id": "r1", "timestamp": "1", "type": "revoke", "revoke": {"original_message_id": "m2"}}
    await deliver(gateway, whatsapp(change("100", messages=[edit, revoke])))
    edited, revoked = databases.query("SELECT * FROM messages ORDER BY id")
    assert (edited["text"], edited["edited_at"] is not None, edited["awaiting_reply"]) == (
        "Hello",
        True,
        True,
    )
    assert (revoked["revoked_at"] is not None, revoked["awaiting_reply"], revoked["skip_reason"]) == (
        True,
        False,
        "the contact revoked it",
    )


async def test_a_person_who_answers_from_another_app_pauses_the_ai(
    gateway: httpx.AsyncClient, tenants: tuple[Tenant, Tenant], databases: Databases
) -> None:
    await deliver(gateway, messaging("101", {"message": {"mid": "i1", "text": "hi"}}), "instagram")
    response = await deliver(
        gateway,
        messaging("101", {"message": {"mid": "p1", "text": "Hello!", "is_echo": True}}, echo=True),
        "instagram",
    )
    assert actions(response) == ["person"]
    assert databases.query("SELECT handler FROM conversations") == [{"handler": "person"}]
    rows = databases.query("SELECT direction, author, awaiting_reply, skip_reason FROM messages ORDER BY id")
    assert [tuple(row.values()) for row in rows] == [
        ("in", "contact", False, "a person answered"),
        ("out", "person", False, None),
    ]


async def test_a_changed_number_keeps_the_conversation(
    gateway: httpx.AsyncClient, tenants: tuple[Tenant, Tenant], databases: Databases
) -> None:
    await deliver(gateway, whatsapp(change("100", messages=[text("m1")])))
    system = {
        "from": "33600000001", "id": "s1", "timestamp": "1", "type": "system",
        "system": {"type": "user_changed_number", "body": "User changed from 33600000001 to 33600000002", "new_wa_id": "33600000002"},
    }  # fmt: skip
    assert actions(await deliver(gateway, whatsapp(change("100", messages=[system])))) == ["identity"]
    await deliver(gateway, whatsapp(change("100", messages=[text("m2", contact="33600000002")])))
    assert databases.query("SELECT count(DISTINCT conversation_id) AS n FROM messages") == [{"n": 1}]


async def test_postgres_away_is_503_and_nothing_is_acknowledged(
    gateway: httpx.AsyncClient, tenants: tuple[Tenant, Tenant], databases: Databases
) -> None:
    body = whatsapp(change("100", messages=[text("m1")]))
    assert (await deliver(gateway, body)).status_code == 200
    name = databases.query("SELECT current_database() AS name")[0]["name"]
    databases.query(f"ALTER ROLE socialsync IN DATABASE {name} SET transaction_read_only = on")
    databases.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'socialsync' AND datname = %s",
        name,
    )
    response = await deliver(gateway, whatsapp(change("100", messages=[text("m2")])))
    assert response.status_code == 503
    assert databases.query("SELECT count(*) AS n FROM messages") == [{"n": 1}]


async def test_redis_away_does_not_lose_what_is_committed(
    environment: dict[str, str],
    tenants: tuple[Tenant, Tenant],
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:1/0")
    app = create_app(GatewaySettings.load())
    async with (
        running(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client,
    ):
        assert (await deliver(client, whatsapp(change("100", messages=[text("m1")])))).status_code == 200
    assert databases.query("SELECT awaiting_reply FROM messages") == [{"awaiting_reply": True}]


async def test_services_refuse_a_role_that_bypasses_row_level_security(
    environment: dict[str, str], databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", databases.owner_url)
    app = create_app(GatewaySettings.load())
    with pytest.raises(RuntimeError, match="bypasses row-level security"):
        async with running(app):
            pass
