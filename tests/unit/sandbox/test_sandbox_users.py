"""The users' side: signed webhooks in Meta's shapes, sent again until they are taken."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

WHATSAPP = {"platform": "whatsapp", "account": "5550001", "contact": "16505551234"}
INSTAGRAM = {"platform": "instagram", "account": "17841400000000001", "contact": "6543210987654321"}


async def test_a_burst_is_one_delivery_a_message(meta: Any, gateway: Any) -> None:
    said = await meta.post("users/say", **WHATSAPP, name="Ana", messages=[{"text": "a"}, {"text": "b"}])
    assert [delivery["status"] for delivery in said["deliveries"]] == [200, 200]
    assert [value["messages"][0]["text"]["body"] for value in gateway.values] == ["a", "b"]
    value = gateway.values[0]
    assert value["metadata"]["phone_number_id"] == "5550001"
    assert value["contacts"] == [{"profile": {"name": "Ana"}, "wa_id": "16505551234"}]
    assert value["messages"][0]["from"] == "16505551234"
    ids = [message_id for delivery in said["deliveries"] for message_id in delivery["message_ids"]]
    assert ids == [value["messages"][0]["id"] for value in gateway.values]
    assert len(set(ids)) == 2


async def test_one_body_duplicates_and_shuffle(meta: Any, gateway: Any) -> None:
    messages = [{"text": str(number)} for number in range(20)]
    said = await meta.post(
        "users/say", **WHATSAPP, messages=messages, one_body=True, duplicates=2, parallel=3
    )
    assert len(said["deliveries"]) == 3
    assert [len(value["messages"]) for value in gateway.values] == [20] * 3
    gateway.received.clear()
    said = await meta.post("users/say", **INSTAGRAM, messages=messages, shuffle=True)
    texts = [item["message"]["text"] for item in gateway.messaging]
    assert texts != [message["text"] for message in messages]
    in_time = sorted(gateway.messaging, key=lambda item: item["timestamp"])
    assert [item["message"]["text"] for item in in_time] == [message["text"] for message in messages]


@pytest.mark.parametrize("show_phone", [False, True])
async def test_a_contact_with_a_username(meta: Any, gateway: Any, show_phone: bool) -> None:
    await meta.post("users/say", **WHATSAPP, user_id="US.1349", show_phone=show_phone, text="Hi")
    (value,) = gateway.values
    assert value["messages"][0]["from_user_id"] == value["contacts"][0]["user_id"] == "US.1349"
    assert ("from" in value["messages"][0]) is ("wa_id" in value["contacts"][0]) is show_phone


async def test_other_kinds_of_message(meta: Any, gateway: Any) -> None:
    messages = [
        {"location": {"latitude": 1.5, "longitude": -2.5, "name": "Shop"}},
        {"reaction": "👍", "target": "wamid.x"},
        {"unsupported": True},
        {"text": "re", "reply_to": "wamid.x"},
    ]
    await meta.post("users/say", **WHATSAPP, messages=messages)
    location, reaction, unsupported, reply = (value["messages"][0] for value in gateway.values)
    assert location["location"] == {"latitude": 1.5, "longitude": -2.5, "name": "Shop"}
    assert reaction["reaction"] == {"message_id": "wamid.x", "emoji": "👍"}
    assert unsupported["errors"][0]["code"] == 131051
    assert reply["context"] == {"id": "wamid.x"}
    gateway.received.clear()
    await meta.post(
        "users/say", **INSTAGRAM, messages=[*messages, {"image": True}, {"reaction": "", "target": "m"}]
    )
    location, reaction, unsupported, reply, image, removed = gateway.messaging
    assert location["message"]["attachments"][0]["payload"] == {"coordinates": {"lat": 1.5, "long": -2.5}}
    assert reaction["reaction"]["action"] == "react"
    assert unsupported["message"]["is_unsupported"] is True
    assert reply["message"]["reply_to"] == {"mid": "wamid.x"}
    url = image["message"]["attachments"][0]["payload"]["url"]
    assert (await meta.http.get(url)).headers["content-type"] == "image/png"
    assert removed["reaction"] == {"mid": "m", "action": "unreact"}


async def test_revoke_and_edit(meta: Any, gateway: Any) -> None:
    await meta.post("users/revoke", **WHATSAPP, message_id="wamid.x")
    await meta.post("users/edit", **WHATSAPP, message_id="wamid.x", text="new")
    revoked, edited = (value["messages"][0] for value in gateway.values)
    assert revoked["revoke"] == {"original_message_id": "wamid.x"}
    assert edited["edit"]["message"] == {"type": "text", "text": {"body": "new"}}
    gateway.received.clear()
    await meta.post("users/revoke", **INSTAGRAM, message_id="m1")
    await meta.post("users/edit", **INSTAGRAM, message_id="m1", text="new")
    revoked, edited = gateway.messaging
    assert revoked["message"] == {"mid": "m1", "is_deleted": True}
    assert edited["message_edit"] == {"mid": "m1", "text": "new", "num_edit": 1}


async def test_a_person_answers_from_metas_own_app(meta: Any, gateway: Any) -> None:
    await meta.post("users/person", **WHATSAPP, text="It's me")
    change = gateway.received[0][1]["entry"][0]["changes"][0]
    assert change["field"] == "smb_message_echoes"
    (echo,) = change["value"]["message_echoes"]
    assert (echo["to"], echo["text"]["body"]) == ("16505551234", "It's me")
    gateway.received.clear()
    await meta.post("users/person", **INSTAGRAM, text="It's me")
    (item,) = gateway.messaging
    assert item["sender"]["id"] == INSTAGRAM["account"]
    assert item["message"]["is_echo"] is True
    assert await meta.get("sent") == []


async def test_the_same_ids_are_delivered_until_they_are_taken(meta: Any, gateway: Any) -> None:
    gateway.answers.extend([503, 500])
    said = await meta.post("users/say", **WHATSAPP, text="Hi")
    (delivery,) = said["deliveries"]
    assert (delivery["status"], delivery["attempts"]) == (200, 3)
    assert delivery["message_ids"] == [gateway.values[0]["messages"][0]["id"]]
    gateway.answers.append(503)
    said = await meta.post("users/say", **WHATSAPP, text="Hi", retry_seconds=0)
    assert said["deliveries"][0]["status"] == 503
    assert (await meta.get("pending"))["abandoned"] == 1


async def test_status_webhooks_insist_too_and_share_bodies(meta: Any, gateway: Any) -> None:
    gateway.answers.extend([503] * 8)
    for number in range(100):
        await meta.whatsapp(str(number), "Hi")
    assert (await meta.get("pending"))["pending"] == 100
    await meta.settled()
    assert len([s for value in gateway.values for s in value["statuses"]]) == 300
    assert len(gateway.received) < 50


@pytest.mark.parametrize(
    "wrong",
    [
        {"platform": "telegram", "account": "1", "contact": "1", "text": "x"},
        {"platform": "whatsapp", "account": "1", "text": "x"},
        {"platform": "whatsapp", "account": "1", "contact": "1"},
        {"platform": "whatsapp", "account": "1", "contact": "1", "messages": [{"reaction": "x"}]},
        {
            "platform": "whatsapp",
            "account": "1",
            "contact": "1",
            "messages": [{"image": True, "voice": True}],
        },
        {"platform": "whatsapp", "account": "1", "contact": "1", "text": "x", "suffle": True},
    ],
)
async def test_a_wrong_order_is_refused(meta: Any, wrong: dict[str, Any]) -> None:
    answer: httpx.Response = await meta.http.post("/sandbox/users/say", json=wrong)
    assert answer.status_code == 422
    assert answer.json()["faults"]
