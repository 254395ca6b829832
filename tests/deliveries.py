"""Signed webhook bodies, as Meta sends them."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

import httpx

from support import TEST_SECRETS


async def deliver(
    client: httpx.AsyncClient,
    body: Any,
    platform: str = "whatsapp",
    secret: str = TEST_SECRETS["META_APP_SECRET"],
) -> httpx.Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    signature = hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={signature}", "X-SocialSync-Explain": "1"}
    return await client.post(f"/api/{platform}/webhook", content=raw, headers=headers)


def text(message_id: str, body: str = "Hello", contact: str = "33600000001", **more: Any) -> dict[str, Any]:
    return {
        "from": contact,
        "id": message_id,
        "timestamp": str(int(time.time())),
        "type": "text",
        "text": {"body": body},
        **more,
    }


def change(account: str, field: str = "messages", **value: Any) -> dict[str, Any]:
    return {
        "field": field,
        "value": {"messaging_product": "whatsapp", "metadata": {"phone_number_id": account}, **value},
    }


def whatsapp(*changes: dict[str, Any]) -> dict[str, Any]:
    return {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": list(changes)}]}


def messaging(
    account: str, event: dict[str, Any], *, echo: bool = False, contact: str = "5551"
) -> dict[str, Any]:
    ends = (
        {"sender": {"id": account}, "recipient": {"id": contact}}
        if echo
        else {"sender": {"id": contact}, "recipient": {"id": account}}
    )
    return {
        "object": "instagram",
        "entry": [
            {"id": account, "time": 1, "messaging": [{**ends, "timestamp": int(time.time() * 1000), **event}]}
        ],
    }


def actions(response: httpx.Response) -> list[str]:
    return [item["action"] for item in response.json()["items"]]
