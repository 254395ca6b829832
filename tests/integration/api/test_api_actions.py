"""People answer, take over, hand back, and settle what nobody knows."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import redis.asyncio

from socialsync_common.batches import DEADLINES
from socialsync_common.contracts import Platform, TaskName
from socialsync_gateway.api.decide import batch_of_key

pytestmark = pytest.mark.integration

LIST = "/api/v1/conversations"


def answers(conversation: UUID) -> str:
    return f"{LIST}/{conversation}/messages"


def handoff(conversation: UUID) -> str:
    return f"{LIST}/{conversation}/handoff"


def resolve(send: UUID) -> str:
    return f"/api/v1/sends/{send}/resolve"


def outbox(tenant, conversation: UUID):
    return tenant.owner.execute(
        "SELECT * FROM outbox WHERE conversation_id = %s ORDER BY created_at, part", (conversation,)
    ).fetchall()


def message(tenant, message_id: int):
    return tenant.one("SELECT * FROM messages WHERE id = %s", message_id)


def conversation_row(tenant, conversation: UUID):
    return tenant.one("SELECT * FROM conversations WHERE id = %s", conversation)


async def test_an_answer_goes_to_the_outbox_and_to_a_worker(world):
    conversation = world.us.conversation(world.us.account())
    waiting = world.us.message(conversation, awaiting_reply=True)
    response = await world.post(answers(conversation), {"text": "We are open."}, key="k-1")
    assert response.status_code == 202
    assert response.headers["idempotency-key"] == "k-1"
    (send,) = response.json()["sends"]
    assert (send["author"], send["part"], send["status"]) == ("person", 1, "pending")
    (row,) = outbox(world.us, conversation)
    assert (str(row["id"]), row["text"], row["author"]) == (send["id"], "We are open.", "person")
    assert row["batch_id"] == batch_of_key(world.us.id, "k-1")
    answered = message(world.us, waiting)
    assert (answered["awaiting_reply"], answered["batch_id"]) == (False, row["batch_id"])
    now = conversation_row(world.us, conversation)
    assert (now["handler"], now["handler_reason"]) == ("person", "answered here")
    assert world.tasks == [(TaskName.DELIVER, {"conversation_id": str(conversation)})]


async def test_a_long_answer_leaves_in_parts(world):
    conversation = world.us.conversation(world.us.account(Platform.INSTAGRAM))
    world.us.message(conversation)
    text = "We are open today. " * 200
    response = await world.post(answers(conversation), {"text": text})
    sends = response.json()["sends"]
    assert len(sends) > 1
    assert [send["part"] for send in sends] == list(range(1, len(sends) + 1))
    assert " ".join(send["text"] for send in sends).split() == text.split()


async def test_the_same_key_never_sends_twice(world):
    conversation = world.us.conversation(world.us.account())
    world.us.message(conversation)
    same = {"text": "We are open."}
    responses = await asyncio.gather(*(world.post(answers(conversation), same, key="k") for _ in range(8)))
    assert {response.status_code for response in responses} == {202}
    assert len({response.text for response in responses}) == 1
    assert len(outbox(world.us, conversation)) == 1


async def test_the_same_key_for_something_else_is_refused(world):
    account = world.us.account()
    conversation, other = world.us.conversation(account), world.us.conversation(account)
    world.us.message(conversation)
    world.us.message(other)
    await world.post(answers(conversation), {"text": "One"}, key="k")
    for where, text in ((conversation, "Two"), (other, "One"), (other, "long " * 2000)):
        response = await world.post(answers(where), {"text": text}, key="k")
        assert response.status_code == 422
        assert response.json()["type"] == "urn:socialsync:problem:idempotency-key-reused"
    assert outbox(world.us, other) == []
    assert conversation_row(world.us, other)["handler"] == "ai"


async def test_keys_race_across_conversations(world):
    account = world.us.account()
    conversations = [world.us.conversation(account) for _ in range(4)]
    for conversation in conversations:
        world.us.message(conversation)
    responses = await asyncio.gather(
        *(world.post(answers(one), {"text": "Yes"}, key="race") for one in conversations)
    )
    assert sorted(response.status_code for response in responses) == [202, 422, 422, 422]
    assert sum(len(outbox(world.us, one)) for one in conversations) == 1


async def test_keys_of_tenants_are_apart(world):
    for tenant in (world.us, world.them):
        conversation = tenant.conversation(tenant.account())
        tenant.message(conversation)
        response = await world.post(answers(conversation), {"text": tenant.name}, tenant, key="same")
        assert response.status_code == 202


async def test_without_a_key_each_request_is_an_answer(world):
    conversation = world.us.conversation(world.us.account())
    world.us.message(conversation)
    keys = {
        (await world.post(answers(conversation), {"text": "Yes"})).headers["idempotency-key"]
        for _ in range(2)
    }
    assert len(keys) == 2
    assert len(outbox(world.us, conversation)) == 2


@pytest.mark.parametrize(
    ("platform", "hours", "status"),
    [
        ("whatsapp", 23, 202),
        ("whatsapp", 25, 409),
        ("instagram", 25, 202),
        ("messenger", 24 * 6, 202),
        ("instagram", 24 * 8, 409),
    ],
)
async def test_the_window(world, platform, hours, status):
    conversation = world.us.conversation(world.us.account(Platform(platform)))
    world.us.message(conversation, sent_at=datetime.now(UTC) - timedelta(hours=hours))
    response = await world.post(answers(conversation), {"text": "Yes"})
    assert response.status_code == status
    if status == 409:
        assert response.json()["type"] == "urn:socialsync:problem:window-closed"
        assert outbox(world.us, conversation) == []
        assert conversation_row(world.us, conversation)["handler"] == "ai"
        assert world.tasks == []


async def test_a_repeat_is_answered_even_after_the_window(world):
    conversation = world.us.conversation(world.us.account())
    waiting = world.us.message(conversation)
    first = await world.post(answers(conversation), {"text": "Yes"}, key="k")
    world.us.owner.execute(
        "UPDATE messages SET sent_at = now() - interval '2 days' WHERE id = %s", (waiting,)
    )
    again = await world.post(answers(conversation), {"text": "Yes"}, key="k")
    assert (again.status_code, again.json()) == (202, first.json())


async def test_an_account_that_must_be_reconnected(world):
    account = world.us.account()
    conversation = world.us.conversation(account)
    world.us.message(conversation)
    world.us.owner.execute("UPDATE accounts SET status = 'needs_reconnect' WHERE id = %s", (account.id,))
    response = await world.post(answers(conversation), {"text": "Yes"})
    assert response.status_code == 409
    assert response.json()["type"] == "urn:socialsync:problem:needs-reconnect"


async def test_a_contact_that_goes_on_elsewhere(world):
    conversation = world.us.conversation(world.us.account())
    world.us.message(conversation)
    world.us.owner.execute("DELETE FROM contact_identities WHERE contact_id = %s", (conversation,))
    response = await world.post(answers(conversation), {"text": "Yes"})
    assert response.status_code == 409
    assert response.json()["type"] == "urn:socialsync:problem:unreachable"


async def test_an_answer_withdraws_what_the_ai_has_not_sent(world):
    conversation = world.us.conversation(world.us.account())
    batch = uuid4()
    asked = world.us.message(conversation, batch_id=batch)
    world.us.send(conversation, "retry", batch_id=batch, due_at=datetime.now(UTC))
    await world.post(answers(conversation), {"text": "Yes"}, key="k")
    ai, person = outbox(world.us, conversation)
    assert (ai["status"], ai["due_at"], person["status"]) == ("superseded", None, "pending")
    assert message(world.us, asked)["batch_id"] == person["batch_id"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"text": ""}, "/body/text"),
        ({"text": " \n "}, "/body/text"),
        ({"text": "a\0b"}, "/body/text"),
        ({"text": "x" * 20_001}, "/body/text"),
        ({"text": 5}, "/body/text"),
        ({}, "/body/text"),
        ({"text": "Yes", "extra": 1}, "/body/extra"),
        ([], "/body"),
    ],
)
async def test_an_invalid_answer(world, body, pointer):
    conversation = world.us.conversation(world.us.account())
    response = await world.post(answers(conversation), body)
    assert response.status_code == 422
    assert [fault["pointer"] for fault in response.json()["errors"]] == [pointer]


async def test_bodies_that_cannot_be_read(world):
    path = answers(world.us.conversation(world.us.account()))
    headers = {**world.us.headers, "Content-Type": "application/json"}
    for content, status in ((b"{", 400), (b'{"text": "\xff"}', 400), (b" " * 300_000, 413)):
        response = await world.client.post(path, content=content, headers=headers)
        assert response.status_code == status, content[:20]
        assert response.headers["content-type"] == "application/problem+json"
    half_a_pair = await world.client.post(path, content=rb'{"text": "\ud800"}', headers=headers)
    assert half_a_pair.status_code == 422


async def test_an_enqueue_that_fails_only_delays(world):
    async def broken(name, arguments):
        raise redis.ConnectionError("away")

    world.app.state.send_task = broken
    conversation = world.us.conversation(world.us.account())
    world.us.message(conversation)
    response = await world.post(answers(conversation), {"text": "Yes"})
    assert response.status_code == 202
    assert len(outbox(world.us, conversation)) == 1


async def test_nothing_of_the_other_tenant_can_be_touched(world):
    theirs = world.them.conversation(world.them.account())
    world.them.message(theirs, awaiting_reply=True)
    send = world.them.send(theirs, "unknown")
    for path, body in (
        (answers(theirs), {"text": "Yes"}),
        (handoff(theirs), {"to": "person"}),
        (handoff(theirs), {"to": "ai"}),
        (resolve(send), {"outcome": "sent"}),
    ):
        response = await world.post(path, body)
        assert response.status_code == 404, path
        assert response.json()["type"] == "urn:socialsync:problem:not-found"
    assert conversation_row(world.them, theirs)["handler"] == "ai"
    assert [row["status"] for row in outbox(world.them, theirs)] == ["unknown"]
    assert world.tasks == []


async def test_a_person_takes_over(world):
    conversation = world.us.conversation(world.us.account())
    asked, batch = None, uuid4()
    asked = world.us.message(conversation, batch_id=batch)
    world.us.send(conversation, "pending", batch_id=batch)
    leaving = world.us.send(conversation, "sending")
    waiting = world.us.message(conversation, awaiting_reply=True)
    response = await world.post(handoff(conversation), {"to": "person", "reason": "a regular"})
    assert response.status_code == 200
    shown = response.json()
    assert (shown["handler"], shown["handler_reason"], shown["awaiting_reply"]) == (
        "person",
        "a regular",
        False,
    )
    assert shown["handler_since"].endswith("Z")
    by_status = {row["status"]: row for row in outbox(world.us, conversation)}
    assert by_status["superseded"]["reason"] == "person took over"
    assert by_status["sending"]["id"] == leaving
    for held in (asked, waiting):
        row = message(world.us, held)
        assert (row["awaiting_reply"], row["skip_reason"], row["batch_id"]) == (
            False,
            "person took over",
            None,
        )
    again = await world.post(handoff(conversation), {"to": "person", "reason": "other"})
    assert again.json() == shown


async def test_the_ai_answers_what_was_held(world):
    account = world.us.account()
    conversation = world.us.conversation(account, handler="person")
    before = world.us.message(conversation, skip_reason="a person answers here")
    world.us.message(conversation, direction="out", author="person", status="sent")
    held = [
        world.us.message(conversation, skip_reason=why)
        for why in ("a person answers here", "person took over")
    ]
    left = [
        world.us.message(conversation, skip_reason="the 24-hour window is closed"),
        world.us.message(conversation, skip_reason="person took over", revoked_at=datetime.now(UTC)),
    ]
    world.us.owner.execute(
        "UPDATE conversations SET retry_at = now() + interval '1 h', failures = 3 WHERE id = %s",
        (conversation,),
    )
    response = await world.post(handoff(conversation), {"to": "ai"})
    assert response.status_code == 200
    assert (response.json()["handler"], response.json()["awaiting_reply"]) == ("ai", True)
    for one in held:
        row = message(world.us, one)
        assert (row["awaiting_reply"], row["skip_reason"]) == (True, None)
    for one in (before, *left):
        assert message(world.us, one)["awaiting_reply"] is False
    now = conversation_row(world.us, conversation)
    assert (now["failures"], now["retry_at"]) == (0, None)
    name = f"whatsapp:{account.id}:{conversation}"
    assert await world.redis.zscore(DEADLINES, name) is not None


async def test_back_and_forth_loses_nothing(world):
    conversation = world.us.conversation(world.us.account())
    batch = uuid4()
    asked = world.us.message(conversation, batch_id=batch)
    world.us.send(conversation, "pending", batch_id=batch)
    waiting = world.us.message(conversation, awaiting_reply=True)
    await world.post(handoff(conversation), {"to": "person"})
    await world.post(handoff(conversation), {"to": "ai"})
    await world.redis.flushall()
    # told again, it makes the conversation due again: the response to the first may have been lost
    await world.post(handoff(conversation), {"to": "ai"})
    assert await world.redis.zcard(DEADLINES) == 1
    assert message(world.us, asked)["awaiting_reply"]
    assert message(world.us, waiting)["awaiting_reply"]


async def test_what_a_worker_withdrew_for_a_person_is_answered_after_all(world):
    conversation = world.us.conversation(world.us.account(), handler="person")
    batch = uuid4()
    asked = world.us.message(conversation, batch_id=batch)
    world.us.send(conversation, "superseded", batch_id=batch, reason="a person answers here")
    await world.post(handoff(conversation), {"to": "ai"})
    row = message(world.us, asked)
    assert (row["awaiting_reply"], row["batch_id"]) == (True, None)


async def test_what_a_person_answered_is_not_answered_again(world):
    conversation = world.us.conversation(world.us.account(), handler="person")
    held = world.us.message(conversation, skip_reason="a person answers here")
    await world.post(answers(conversation), {"text": "Yes"})
    await world.post(handoff(conversation), {"to": "ai"})
    assert message(world.us, held)["awaiting_reply"] is False
    assert await world.redis.zcard(DEADLINES) == 0


async def test_a_handoff_without_redis(world, tmp_path):
    gone = redis.asyncio.Redis(unix_socket_path=str(tmp_path / "none.sock"))
    world.app.state.redis = gone
    conversation = world.us.conversation(world.us.account(), handler="person")
    held = world.us.message(conversation, skip_reason="a person answers here")
    response = await world.post(handoff(conversation), {"to": "ai"})
    assert response.status_code == 200
    assert message(world.us, held)["awaiting_reply"]
    await gone.aclose()


async def test_a_send_that_a_person_saw(world):
    account = world.us.account()
    conversation = world.us.conversation(account)
    send = world.us.send(conversation, "unknown", due_at="infinity", text="We are.")
    response = await world.post(resolve(send), {"outcome": "sent"})
    assert response.status_code == 200
    assert response.json()["status"] == "sent"
    (shown,) = (await world.get(answers(conversation))).json()["items"]
    assert (shown["direction"], shown["author"], shown["text"], shown["status"]) == (
        "out",
        "ai",
        "We are.",
        "sent",
    )
    counted = world.us.one(
        "SELECT count FROM usage WHERE account_id = %s AND kind = 'service_messages'", account.id
    )
    assert counted["count"] == 1
    assert world.tasks == [(TaskName.DELIVER, {"conversation_id": str(conversation)})]
    again = await world.post(resolve(send), {"outcome": "sent"})
    assert (again.status_code, again.json()["status"]) == (200, "sent")
    assert (await world.post(resolve(send), {"outcome": "not_sent"})).status_code == 409


async def test_a_send_that_never_arrived(world):
    conversation = world.us.conversation(world.us.account())
    batch = uuid4()
    sent, send = (
        world.us.send(conversation, status, batch_id=batch, part=part)
        for part, status in enumerate(("sent", "unknown"), start=1)
    )
    after = world.us.send(conversation, "pending", batch_id=batch, part=3)
    response = await world.post(resolve(send), {"outcome": "not_sent"})
    assert (response.status_code, response.json()["status"]) == (200, "failed")
    assert response.json()["reason"]
    statuses = {row["id"]: row["status"] for row in outbox(world.us, conversation)}
    assert statuses == {sent: "sent", send: "failed", after: "failed"}
    assert (await world.post(resolve(send), {"outcome": "not_sent"})).status_code == 200


@pytest.mark.parametrize("status", ["pending", "sending", "retry", "superseded", "failed"])
async def test_only_unknown_sends_are_settled(world, status):
    send = world.us.send(world.us.conversation(world.us.account()), status)
    response = await world.post(resolve(send), {"outcome": "sent"})
    assert response.status_code == 409
    assert response.json()["type"] == "urn:socialsync:problem:not-unknown"
    assert (await world.post(resolve(uuid4()), {"outcome": "sent"})).status_code == 404
