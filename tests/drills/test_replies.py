"""What becomes of a reply when the platform refuses, hangs or lies; and of a conversation that a person takes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from socialsync_common.accounts import create_api_key, tenant_id
from socialsync_common.contracts import Platform
from stack import Stack, running_stack, until
from support import server_folder

pytestmark = [pytest.mark.drill, pytest.mark.integration, pytest.mark.timeout(240)]

_numbers = count(33_680_000_000)
QUESTION = "When do you open?"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    environment = {
        "BATCH_WINDOW_SECONDS": "0.3",
        "GRAPH_TIMEOUT_SECONDS": "2",
        "AI_VISION_MODEL": "sandbox-vision",
        "AI_TRANSCRIPTION_MODEL": "sandbox-voice",
    }
    with server_folder() as folder, running_stack(folder, model=True, **environment) as running:
        running.start_all(concurrency=8)
        running.connect("100")
        running.connect("101", platform=Platform.INSTAGRAM)
        yield running


@pytest.fixture
def contact() -> str:
    return str(next(_numbers))


def fault(stack: Stack, contact: str, kind: str, **more: Any) -> None:
    stack.sandbox("POST", "/sandbox/faults", json={"kind": kind, "contact": contact, **more})


def sends(stack: Stack, contact: str) -> list[dict[str, Any]]:
    return stack.query(
        """
        SELECT o.status, o.attempt, o.reason, c.handler, c.handler_reason
          FROM outbox o JOIN conversations c ON c.id = o.conversation_id
          JOIN contact_identities i ON i.contact_id = c.id AND i.value = %s ORDER BY o.created_at, o.part
        """,
        contact,
    )


def wait_for(stack: Stack, contact: str, status: str, seconds: float = 30) -> dict[str, Any]:
    def last() -> dict[str, Any] | None:
        rows = sends(stack, contact)
        return rows[-1] if rows and rows[-1]["status"] == status else None

    found = until(last, seconds, f"a send that is {status}")
    assert found is not None
    return found


def test_a_pair_rate_limit_is_retried_with_the_same_text(stack: Stack, contact: str) -> None:
    fault(stack, contact, "pair_rate")
    stack.say("100", contact, QUESTION)
    assert wait_for(stack, contact, "retry")["attempt"] == 1
    assert wait_for(stack, contact, "sent")["attempt"] == 2
    assert len(stack.sent(contact=contact)) == 1


@pytest.mark.parametrize("kind", ["timeout_after_accept", "disconnect_after_accept"])
def test_an_unknown_send_is_settled_by_its_status_webhook(stack: Stack, contact: str, kind: str) -> None:
    fault(stack, contact, kind)
    stack.say("100", contact, QUESTION)
    assert wait_for(stack, contact, "sent")["attempt"] == 1
    assert len(stack.sent(contact=contact)) == 1


def test_an_unknown_instagram_send_is_settled_by_its_echo(stack: Stack, contact: str) -> None:
    fault(stack, contact, "disconnect_after_accept")
    stack.say("101", contact, QUESTION, platform="instagram")
    sent = wait_for(stack, contact, "sent")
    assert (sent["attempt"], sent["handler"]) == (1, "ai")
    assert len(stack.sent(contact=contact)) == 1


def test_a_server_error_is_never_repeated(stack: Stack, contact: str) -> None:
    fault(stack, contact, "server_error")
    stack.say("100", contact, QUESTION)
    assert wait_for(stack, contact, "unknown")["attempt"] == 1
    assert stack.sent(contact=contact) == []


def test_a_closed_window_goes_to_a_person(stack: Stack, contact: str) -> None:
    fault(stack, contact, "window")
    stack.say("100", contact, QUESTION)
    failed = wait_for(stack, contact, "failed")
    assert (failed["handler"], failed["attempt"]) == ("person", 1)


def test_a_contact_who_asks_for_a_person_gets_one(stack: Stack, contact: str) -> None:
    stack.say("100", contact, "Can I speak to a real person please?")
    sent = wait_for(stack, contact, "sent")
    assert (sent["handler"], sent["handler_reason"]) == ("person", "the contact asked for a person")
    stack.say("100", contact, "Hello? Still there?")
    skipped = "SELECT skip_reason FROM messages WHERE text LIKE 'Hello? Still%%' AND NOT awaiting_reply"
    assert until(lambda: stack.query(skipped), 10, "left to the person") == [
        {"skip_reason": "a person answers here"}
    ]
    assert len(stack.sent(contact=contact)) == 1


def test_a_person_answers_and_gives_the_conversation_back(stack: Stack, contact: str) -> None:
    with psycopg.connect(stack.environment["DATABASE_URL"], row_factory=dict_row) as connection:
        key = create_api_key(connection, tenant_id("Bakery"), contact)
    stack.say("100", contact, "I want to talk to someone")
    wait_for(stack, contact, "sent")
    with httpx.Client(base_url=stack.gateway_url, headers={"Authorization": f"Bearer {key}"}) as api:
        listed = api.get("/api/v1/conversations", params={"handler": "person"}).json()["items"]
        [mine] = stack.query("SELECT contact_id FROM contact_identities WHERE value = %s", contact)
        conversation = str(mine["contact_id"])
        assert conversation in {item["id"] for item in listed}
        answer = {"text": "This is Rose. How can I help?"}
        for _ in range(2):
            response = api.post(
                f"/api/v1/conversations/{conversation}/messages",
                json=answer,
                headers={"Idempotency-Key": contact},
            )
            assert response.status_code == 202
        until(lambda: len(stack.sent(contact=contact)) == 2, 10, "the person's answer, once")
        stack.say("100", contact, "When do you close?")
        assert api.post(f"/api/v1/conversations/{conversation}/handoff", json={"to": "ai"}).is_success
    until(lambda: len(stack.sent(contact=contact)) == 3, 20, "the AI answers again")


def test_pictures_are_seen_and_voice_is_heard(stack: Stack, contact: str) -> None:
    stack.say("100", contact, None, messages=[{"image": True}])
    [picture] = until(lambda: stack.sent(contact=contact), 20, "an answer to the picture")
    assert "picture" in picture["text"]
    stack.say("100", contact, None, messages=[{"voice": True}])
    until(lambda: len(stack.sent(contact=contact)) == 2, 20, "an answer to the voice note")


def test_a_revoked_message_is_not_answered(stack: Stack, contact: str) -> None:
    stack.sandbox("PUT", "/sandbox/model", json={"hold": True})
    said = stack.say("100", contact, QUESTION)
    until(lambda: stack.sandbox("GET", "/sandbox/model")["in_flight"] > 0, 10, "the model is asked")
    revoked = {
        "platform": "whatsapp",
        "account": "100",
        "contact": contact,
        "message_id": said["deliveries"][0]["message_ids"][0],
    }
    stack.sandbox("POST", "/sandbox/users/revoke", json=revoked)
    stack.sandbox("PUT", "/sandbox/model", json={})
    stack.sandbox("POST", "/sandbox/release")
    until(lambda: not stack.redis_client().exists("conv:leases", "conv:deadlines"), 10, "the batch is over")
    assert stack.sent(contact=contact) == []


def test_an_expired_token_stops_the_account_once(stack: Stack, contact: str) -> None:
    """Last, because it stops the account."""
    fault(stack, contact, "expired_token")
    stack.say("100", contact, QUESTION)
    assert wait_for(stack, contact, "failed")["handler"] == "person"
    assert stack.query("SELECT status FROM accounts WHERE external_id = '100'") == [
        {"status": "needs_reconnect"}
    ]
