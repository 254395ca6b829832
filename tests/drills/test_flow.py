"""The whole system as processes: bursts, duplicates, a wiped Redis, a slow model, one tenant's flood."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import orjson
import pytest

from stack import Stack, running_stack, until
from support import server_folder

pytestmark = [pytest.mark.drill, pytest.mark.integration, pytest.mark.timeout(300)]

SLOTS = 16


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with server_folder() as folder, running_stack(folder, model=True) as running:
        running.start_all(concurrency=SLOTS)
        running.connect("100", "Bakery")
        running.connect("200", "Florist")
        yield running


@pytest.fixture(autouse=True)
def clean(stack: Stack) -> None:
    stack.sandbox("DELETE", "/sandbox/state")
    stack.sandbox("POST", "/sandbox/accounts", json={"platform": "whatsapp", "account_id": "100"})
    stack.sandbox("POST", "/sandbox/accounts", json={"platform": "whatsapp", "account_id": "200"})


def delivery(
    stack: Stack, account: str, contact: str, message_id: str, text: str
) -> tuple[bytes, dict[str, str]]:
    message = {
        "from": contact,
        "id": message_id,
        "timestamp": str(int(time.time())),
        "type": "text",
        "text": {"body": text},
    }
    value = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": account}, "messages": [message]}
    entry = {"id": "1", "changes": [{"field": "messages", "value": value}]}
    body = orjson.dumps({"object": "whatsapp_business_account", "entry": [entry]})
    signature = hmac.new(stack.environment["META_APP_SECRET"].encode(), body, hashlib.sha256).hexdigest()
    return body, {"X-Hub-Signature-256": f"sha256={signature}"}


def deliver_all(
    stack: Stack, deliveries: list[tuple[bytes, dict[str, str]]], threads: int = 8
) -> Counter[int]:
    url = f"{stack.gateway_url}/api/whatsapp/webhook"

    def some(part: list[tuple[bytes, dict[str, str]]]) -> Counter[int]:
        with httpx.Client(timeout=60) as client:
            return Counter(
                client.post(url, content=body, headers=headers).status_code for body, headers in part
            )

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(some, [deliveries[n::threads] for n in range(threads)]), Counter())


def report(figures: dict[str, object]) -> None:
    sys.stderr.write(json.dumps(figures) + "\n")


def replies(stack: Stack) -> dict[str, int]:
    return dict(stack.sandbox("GET", "/sandbox/counts")["contacts"])


def test_ten_thousand_deliveries_of_a_hundred_messages(stack: Stack) -> None:
    """Out of order and in parallel: 100 rows, and one reply for each contact's burst."""
    originals = [
        delivery(stack, "100", str(33_610_000_000 + n % 20), f"wamid.many.{n}", f"Question {n}?")
        for n in range(100)
    ]
    deliveries = originals * 100
    random.Random(3).shuffle(deliveries)
    assert deliver_all(stack, deliveries) == {200: 10_000}
    rows = stack.query(
        "SELECT count(*) AS n, count(DISTINCT conversation_id) AS c FROM messages WHERE platform_message_id LIKE 'wamid.many.%%'"
    )
    assert rows == [{"n": 100, "c": 20}]
    waiting = "SELECT count(*) AS n FROM messages WHERE awaiting_reply"
    until(lambda: stack.query(waiting) == [{"n": 0}] and len(replies(stack)) == 20, 60, "all bursts answered")
    batches = stack.query(
        "SELECT conversation_id, count(DISTINCT batch_id) AS n FROM messages WHERE platform_message_id LIKE 'wamid.many.%%' GROUP BY 1"
    )
    sent = stack.query("SELECT count(*) AS n, count(DISTINCT batch_id) AS b FROM outbox WHERE status = 'sent' AND batch_id IN "
                       "(SELECT batch_id FROM messages WHERE platform_message_id LIKE 'wamid.many.%%')")  # fmt: skip
    assert sum(replies(stack).values()) == sent[0]["n"] == sent[0]["b"] == sum(row["n"] for row in batches)


def test_a_burst_is_one_reply_two_seconds_after_its_last_message(stack: Stack) -> None:
    contact = "33620000001"
    for n in range(3):
        stack.say("100", contact, f"part {n}")
    last = time.time()
    [reply] = until(lambda: stack.sent(contact=contact), 10, "the reply")
    assert 1.5 < reply["at"] - last < 3
    assert all(f"part {n}" in reply["text"] for n in range(3))
    until(
        lambda: not stack.redis_client().exists("conv:deadlines", "conv:leases"), 5, "nothing is due any more"
    )
    assert replies(stack)[contact] == 1


def test_flushall_with_five_hundred_unanswered_messages(stack: Stack) -> None:
    """Redis forgets everything at once: all are answered within 30 s all the same."""
    deliveries = [
        delivery(stack, "100", str(33_630_000_000 + n), f"wamid.flush.{n}", "Are you there?")
        for n in range(500)
    ]
    assert deliver_all(stack, deliveries) == {200: 500}
    stack.redis_client().flushall()
    flushed = time.monotonic()
    until(lambda: len(replies(stack)) == 500, 30, "500 replies")
    took = time.monotonic() - flushed
    report({"flushall": 500, "answered_within_seconds": round(took, 1)})
    assert set(replies(stack).values()) == {1}
    assert took <= 30


def test_a_slow_model_on_every_slot_delays_no_tick(stack: Stack) -> None:
    stack.sandbox("PUT", "/sandbox/model", json={"hold": True})
    deliveries = [
        delivery(stack, "100", str(33_640_000_000 + n), f"wamid.slow.{n}", "Slow?") for n in range(SLOTS + 4)
    ]
    deliver_all(stack, deliveries)
    until(
        lambda: stack.sandbox("GET", "/sandbox/model")["in_flight"] == SLOTS,
        20,
        "every slot waits for the model",
    )
    # with all slots taken, a new conversation is still claimed when its window ends
    body = delivery(stack, "200", "33650000001", "wamid.tick.1", "Hello?")
    deliver_all(stack, [body], threads=1)
    stored = time.monotonic()
    client = stack.redis_client()
    [row] = stack.query("SELECT conversation_id FROM messages WHERE platform_message_id = 'wamid.tick.1'")
    until(
        lambda: any(
            str(row["conversation_id"]).encode() in name for name in client.zrange("conv:leases", 0, -1)
        ),
        5,
        "claimed",
        every=0.01,
    )
    lateness = time.monotonic() - stored - 2
    report({"claim_lateness_with_all_slots_taken_ms": round(lateness * 1000, 1)})
    assert lateness < 0.5
    stack.sandbox("PUT", "/sandbox/model", json={})
    stack.sandbox("POST", "/sandbox/release")
    until(lambda: len(replies(stack)) == SLOTS + 5, 60, "all answered after the model came back")
    assert set(replies(stack).values()) == {1}


def test_one_tenants_flood_delays_another_by_one_replys_time_at_most(stack: Stack) -> None:
    seconds = 1.0
    stack.sandbox("PUT", "/sandbox/model", json={"delay_seconds": seconds})
    flood = [
        delivery(stack, "100", str(33_660_000_000 + n), f"wamid.flood.{n}", "Flood") for n in range(SLOTS * 8)
    ]
    deliver_all(stack, flood)
    until(lambda: stack.sandbox("GET", "/sandbox/model")["in_flight"] > 0, 20, "the flood is being answered")
    said = time.time()
    deliver_all(stack, [delivery(stack, "200", "33670000001", "wamid.other.1", "Hello?")], threads=1)
    [reply] = until(lambda: stack.sent(contact="33670000001"), 60, "the other tenant's reply")
    waited = reply["at"] - said - 2.0 - seconds
    report(
        {
            "other_tenant_waited_beyond_its_own_reply_seconds": round(waited, 2),
            "one_reply_seconds": seconds,
        }
    )
    stack.sandbox("PUT", "/sandbox/model", json={})
    until(lambda: len(replies(stack)) == SLOTS * 8 + 1, 60, "the flood is answered")
    assert waited <= seconds + 0.5
