"""The Graph API's side: sends, limits, errors, media, and what Meta's webhooks say afterwards."""

from __future__ import annotations

import asyncio
import struct
import time
import zlib
from typing import Any

import pytest

INSTAGRAM = "17841400000000001"
PAGE = "1000000000001"


def dm(contact: str, text: str) -> dict[str, Any]:
    return {"recipient": {"id": contact}, "message": {"text": text}}


async def test_whatsapp_text_is_accepted_recorded_and_followed_by_its_statuses(
    meta: Any, gateway: Any
) -> None:
    before = time.time()
    answer = await meta.whatsapp("+1 (650) 555-1234", "Hello", biz_opaque_callback_data="outbox:7")
    assert answer.status_code == 200
    body = answer.json()
    message_id = body["messages"][0]["id"]
    assert message_id.startswith("wamid.")
    assert body == {
        "messaging_product": "whatsapp",
        "contacts": [{"input": "16505551234", "wa_id": "16505551234"}],
        "messages": [{"id": message_id, "message_status": "accepted"}],
    }
    (sent,) = await meta.get("sent")
    assert before <= sent.pop("at") <= time.time()
    assert sent == {
        "seq": 1,
        "platform": "whatsapp",
        "account": "5550001",
        "contact": "16505551234",
        "text": "Hello",
        "message_id": message_id,
        "callback_data": "outbox:7",
        "kind": "text",
        "dropped": False,
    }
    await meta.settled()
    statuses = [status for value in gateway.values for status in value["statuses"]]
    assert [status["status"] for status in statuses] == ["sent", "delivered", "read"]
    assert {status["id"] for status in statuses} == {message_id}
    assert {status["biz_opaque_callback_data"] for status in statuses} == {"outbox:7"}
    assert {status["recipient_id"] for status in statuses} == {"16505551234"}
    assert (await meta.get("pending")) == {"pending": 0, "delivered": 1, "abandoned": 0}


async def test_recipient_takes_a_user_id_and_to_drops_it_silently(meta: Any, gateway: Any) -> None:
    body = {"messaging_product": "whatsapp", "recipient": "US.1349", "type": "text", "text": {"body": "Hi"}}
    assert (await meta.send("5550001", body)).json()["contacts"] == [
        {"input": "US.1349", "user_id": "US.1349"}
    ]
    assert (await meta.whatsapp("US.1349", "never seen")).status_code == 200
    await meta.settled()
    assert [value["statuses"][0]["recipient_user_id"] for value in gateway.values] == ["US.1349"] * 3
    delivered, dropped = await meta.get("sent", kind="text")
    assert (delivered["dropped"], dropped["dropped"]) == (False, True)
    counts = await meta.get("counts")
    assert counts["contacts"] == {"US.1349": 1}
    assert counts["dropped"] == 1


async def test_reading_and_typing_are_recorded_for_the_contact_who_wrote(meta: Any) -> None:
    said = await meta.post(
        "users/say", platform="whatsapp", account="5550001", contact="16505551234", text="Hi"
    )
    message_id = said["deliveries"][0]["message_ids"][0]
    seen = {"messaging_product": "whatsapp", "status": "read", "message_id": message_id}
    answer = await meta.send("5550001", seen | {"typing_indicator": {"type": "text"}})
    assert answer.json() == {"success": True}
    assert [(r["kind"], r["contact"]) for r in await meta.get("sent")] == [
        ("read", "16505551234"),
        ("typing", "16505551234"),
    ]


@pytest.mark.parametrize(
    ("account", "platform", "object_"), [(INSTAGRAM, "instagram", "instagram"), (PAGE, "messenger", "page")]
)
async def test_a_direct_message_is_answered_and_echoed(
    meta: Any, gateway: Any, account: str, platform: str, object_: str
) -> None:
    answer = await meta.send(account, dm("777", "Bonjour"))
    assert answer.status_code == 200
    mid = answer.json()["message_id"]
    assert answer.json() == {"recipient_id": "777", "message_id": mid}
    await meta.settled()
    ((path, body),) = gateway.received
    assert (path, body["object"], body["entry"][0]["id"]) == (platform, object_, account)
    (item,) = gateway.messaging
    assert item["sender"] == {"id": account}
    assert item["recipient"] == {"id": "777"}
    assert item["message"] == {"mid": mid, "text": "Bonjour", "is_echo": True}
    for action in ("typing_on", "mark_seen"):
        answer = await meta.send(account, {"recipient": {"id": "777"}, "sender_action": action})
        assert answer.json() == {"recipient_id": "777"}
    assert (await meta.get("counts"))["kinds"] == {"text": 1, "read": 1, "typing": 1}


async def test_platform_of_an_account_is_learnt(meta: Any) -> None:
    await meta.post("accounts", platform="instagram", account_id="42", token="ig-token")
    await meta.post("users/say", platform="messenger", account="1784555", contact="9", text="Hi")
    await meta.send("42", dm("1", "a"))
    await meta.send("1784555", dm("9", "b"))
    await meta.send("me", dm("9", "c"))
    await meta.send("me", dm("1", "d"), token="ig-token")
    places = [(r["platform"], r["account"]) for r in await meta.get("sent")]
    assert places == [
        ("instagram", "42"),
        ("messenger", "1784555"),
        ("messenger", "1784555"),
        ("instagram", "42"),
    ]


@pytest.mark.parametrize(
    ("account", "longest", "too_long"),
    [
        ("whatsapp", "é" * 4096, "é" * 4097),
        (INSTAGRAM, "é" * 500, "é" * 500 + "e"),
        (PAGE, "é" * 2000, "é" * 2001),
    ],
)
async def test_text_limits(meta: Any, account: str, longest: str, too_long: str) -> None:
    async def send(text: str) -> Any:
        if account == "whatsapp":
            return await meta.whatsapp("16505551234", text)
        return await meta.send(account, dm("777", text))

    assert (await send(longest)).status_code == 200
    for text in (too_long, ""):
        answer = await send(text)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == 100


async def test_errors_look_like_graphs(meta: Any) -> None:
    answer = await meta.send("5550001", {}, token="")
    assert answer.status_code == 401
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "code", "fbtrace_id"}
    assert (error["code"], error["type"]) == (190, "OAuthException")
    answer = await meta.http.get("/v24.0/nothing?access_token=t")
    assert answer.status_code == 400
    assert (answer.json()["error"]["code"], answer.json()["error"]["error_subcode"]) == (100, 33)
    assert (await meta.http.post("/v24.0/a/b/c", params={"access_token": "t"})).status_code == 400
    for body in (b"", b"[]", b"{"):
        answer = await meta.http.post("/v25.0/1/messages", params={"access_token": "t"}, content=body)
        assert answer.json()["error"]["code"] == 100


async def test_media_are_described_and_fetched_with_the_token(meta: Any, gateway: Any) -> None:
    await meta.post(
        "users/say",
        platform="whatsapp",
        account="5550001",
        contact="16505551234",
        messages=[{"image": True, "text": "look"}, {"voice": True}],
    )
    image, voice = (value["messages"][0] for value in gateway.values)
    assert image["image"]["caption"] == "look"
    assert voice["audio"]["voice"] is True
    token = {"authorization": "Bearer t"}
    described = (await meta.http.get(f"/v24.0/{image['image']['id']}", headers=token)).json()
    assert (await meta.http.get(described["url"])).status_code == 401
    content = (await meta.http.get(described["url"], headers=token)).content
    assert len(content) == described["file_size"]
    assert content.startswith(b"\x89PNG")
    length, kind = struct.unpack(">I4s", content[33:41])
    assert kind == b"IDAT"
    assert len(zlib.decompress(content[41 : 41 + length])) == 16 * (1 + 16 * 3)
    described = (await meta.http.get(f"/v24.0/{voice['audio']['id']}", headers=token)).json()
    assert described["mime_type"] == "audio/ogg; codecs=opus"
    assert (await meta.http.get(described["url"], headers=token)).content.startswith(b"OggS")


async def test_sent_is_filtered_and_long_polled(meta: Any) -> None:
    await meta.whatsapp("1", "one")
    await meta.whatsapp("2", "two")
    assert [r["text"] for r in await meta.get("sent", contact="2")] == ["two"]
    assert [r["text"] for r in await meta.get("sent", after=1)] == ["two"]
    assert await meta.get("sent", after=2) == []
    assert await meta.get("sent", platform="instagram", wait=0.01) == []
    waiting = asyncio.create_task(meta.get("sent", after=2, contact="2", wait=5))
    await asyncio.sleep(0)
    await meta.whatsapp("1", "three")
    await meta.whatsapp("2", "four")
    assert [r["text"] for r in await waiting] == ["four"]
    assert (await meta.http.delete("/sandbox/state")).status_code == 200
    assert await meta.get("sent") == []
    await meta.whatsapp("1", "five")
    assert [r["seq"] for r in await meta.get("sent", after=4)] == [5]


async def test_the_page_shows_the_conversation_escaped(meta: Any) -> None:
    assert "Nobody has written yet" in (await meta.http.get("/")).text
    await meta.whatsapp("16505551234", "<b>bold</b>")
    page = (await meta.http.get("/")).text
    assert "&lt;b&gt;bold" in page
    assert "<b>bold" not in page
