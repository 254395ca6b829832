"""Conversations and messages as the API shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

pytestmark = pytest.mark.integration

LIST = "/api/v1/conversations"


async def pages(world, path: str, **query):
    """All items of a list, page by page."""
    items, cursor = [], None
    while True:
        response = await world.get(path, **query, **({"cursor": cursor} if cursor else {}))
        assert response.status_code == 200, response.text
        page = response.json()
        assert len(page["items"]) <= query["limit"]
        items += page["items"]
        cursor = page["next"]
        if cursor is None:
            return items


async def test_a_conversation_tells_what_a_person_needs(world):
    account = world.us.account(name="Bakery")
    conversation = world.us.conversation(account, name="Ada")
    world.us.message(conversation, "x" * 300, awaiting_reply=True)
    (item,) = (await world.get(LIST)).json()["items"]
    assert item["id"] == str(conversation)
    assert item["contact"] == {"id": str(conversation), "name": "Ada"}
    assert item["account"] == {"id": str(account.id), "name": "Bakery", "platform": "whatsapp"}
    assert (item["handler"], item["handler_reason"], item["handler_since"]) == ("ai", None, None)
    assert item["awaiting_reply"] is True
    assert item["needs_check"] is False
    assert item["last_message"]["text"] == "x" * 200
    assert item["last_activity_at"].endswith("Z")
    assert item["last_message"]["sent_at"].endswith("Z")


async def test_pages_follow_activity_even_where_times_are_equal(world):
    account = world.us.account()
    same = datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC)
    expected = [str(world.us.conversation(account, at=same + timedelta(hours=n))) for n in (3, 2, 1)]
    expected += sorted(str(world.us.conversation(account, at=same)) for _ in range(5))
    assert [item["id"] for item in await pages(world, LIST, limit=2)] == expected
    assert [item["id"] for item in await pages(world, LIST, limit=3)] == expected


async def test_filters(world):
    bakery, page = world.us.account(name="Bakery"), world.us.account("messenger", name="Page")
    ai, person = world.us.conversation(bakery), world.us.conversation(page, handler="person")
    world.them.conversation(world.them.account())
    assert {item["id"] for item in await pages(world, LIST, limit=50)} == {str(ai), str(person)}
    assert [item["id"] for item in await pages(world, LIST, limit=50, handler="person")] == [str(person)]
    assert [item["id"] for item in await pages(world, LIST, limit=50, account=bakery.id)] == [str(ai)]
    assert (await world.get(LIST, account=world.them.account().id)).status_code == 404
    assert (await world.get(LIST, handler="robot")).status_code == 422


async def test_what_needs_a_check(world):
    account = world.us.account()
    unknown, failed, answered_since, sent = (world.us.conversation(account) for _ in range(4))
    world.us.send(unknown, "unknown", due_at=datetime.now(UTC))
    world.us.send(failed, "failed")
    world.us.send(answered_since, "failed")
    world.us.message(answered_since, direction="out", author="person", status="sent")
    world.us.send(sent, "sent")
    shown = {item["id"]: item["needs_check"] for item in (await world.get(LIST)).json()["items"]}
    assert shown == {str(unknown): True, str(failed): True, str(answered_since): False, str(sent): False}


async def test_messages_newest_first(world):
    conversation = world.us.conversation(world.us.account())
    ids = [world.us.message(conversation, f"message {n}") for n in range(7)]
    items = await pages(world, f"{LIST}/{conversation}/messages", limit=3)
    assert [item["id"] for item in items] == ids[::-1]
    assert items[0]["text"] == "message 6"
    assert items[0]["author"] == "contact"


async def test_a_message_shows_what_became_of_it(world):
    conversation = world.us.conversation(world.us.account())
    world.us.message(conversation, skip_reason="too old", attachments=Jsonb([{"type": "image", "id": "5"}]))
    world.us.message(
        conversation, "secret", revoked_at=datetime.now(UTC), attachments=Jsonb([{"type": "image"}])
    )
    world.us.message(
        conversation, direction="out", author="ai", status="failed", error=Jsonb({"code": 131047})
    )
    response = await world.get(f"{LIST}/{conversation}/messages")
    out, revoked, skipped = response.json()["items"]
    assert skipped["skip_reason"] == "too old"
    assert skipped["attachments"] == [{"type": "image", "id": "5"}]
    assert (revoked["revoked"], revoked["text"], revoked["attachments"]) == (True, None, [])
    assert "secret" not in response.text
    assert (out["author"], out["status"], out["error"]) == ("ai", "failed", {"code": 131047})
    assert "secret" not in (await world.get(LIST)).text


async def test_open_sends_stand_beside_the_messages(world):
    conversation = world.us.conversation(world.us.account())
    # a send that a person was told about is due never
    world.us.send(conversation, "unknown", due_at="infinity", reason="read timeout")
    for status in ("sent", "superseded", "failed", "pending"):
        world.us.send(conversation, status)
    world.us.send(conversation, "retry", due_at=datetime.now(UTC))
    sends = (await world.get(f"{LIST}/{conversation}/messages")).json()["sends"]
    assert sorted(send["status"] for send in sends) == ["failed", "pending", "retry", "unknown"]
    by_status = {send["status"]: send for send in sends}
    assert by_status["unknown"]["reason"] == "read timeout"
    assert by_status["retry"]["retry_at"].endswith("Z")


async def test_the_other_tenants_conversations_are_not_there(world):
    theirs = world.them.conversation(world.them.account())
    for conversation in (theirs, uuid4()):
        response = await world.get(f"{LIST}/{conversation}/messages")
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"
    assert (await world.get(f"{LIST}/{theirs}/messages", world.them)).status_code == 200


@pytest.mark.parametrize("cursor", ["nonsense", "bnVsbA", "W10", "WyJ4IiwieCJd", "é"])
async def test_a_bad_cursor_is_a_bad_request(world, cursor):
    conversation = world.us.conversation(world.us.account())
    for path in (LIST, f"{LIST}/{conversation}/messages", "/api/v1/accounts"):
        response = await world.get(path, cursor=cursor)
        assert response.status_code == 400
        assert response.json()["type"] == "urn:socialsync:problem:bad-cursor"


async def test_limits_are_bounded(world):
    for limit in (0, 201, "many"):
        response = await world.get(LIST, limit=limit)
        assert response.status_code == 422
        assert [fault["pointer"] for fault in response.json()["errors"]] == ["/query/limit"]
