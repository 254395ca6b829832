"""Whose webhooks come to the app, and what WhatsApp says of its numbers."""

from __future__ import annotations

from typing import Any

import pytest

IG = "17841400000000001"
PAGE = "1000000000001"
NUMBER = "5550001"
WABA = "8800"


@pytest.fixture(autouse=True)
async def accounts(meta: Any) -> None:
    for platform, account in (("instagram", IG), ("messenger", PAGE)):
        await meta.post("accounts", platform=platform, account_id=account)
    await meta.post(
        "accounts", platform="whatsapp", account_id=NUMBER, token="w", name="Shop", business_account_id=WABA
    )


@pytest.mark.parametrize(("consent", "node"), [("/oauth/authorize", IG), ("/v24.0/dialog/oauth", PAGE)])
async def test_accounts_and_pages_are_subscribed_with_fields(meta: Any, consent: str, node: str) -> None:
    edge = f"{node}/subscribed_apps"
    assert await meta.graph("GET", edge) == {"data": []}
    assert await meta.refused("POST", edge, {}) == (400, 100, None)
    body = {"subscribed_fields": "messages, feed,messages"}
    assert await meta.graph("POST", edge, body) == {"success": True}
    (row,) = (await meta.graph("GET", edge))["data"]
    assert row == {"name": "SocialSync", "subscribed_fields": ["messages", "feed"]}
    asked = {"client_id": "app-1", "redirect_uri": "http://back.example/", "sandbox_choice": f"allow:{node}"}
    await meta.http.get(consent, params=asked)  # the app is known from now on
    (row,) = (await meta.graph("GET", edge))["data"]
    assert row["id"] == "app-1"
    assert await meta.get("subscriptions") == {node: ["messages", "feed"]}
    await meta.graph("POST", edge, {"subscribed_fields": ["feed"]})
    assert await meta.get("subscriptions") == {node: ["feed"]}
    await meta.post("tokens", token="its own", account=node)
    assert len((await meta.graph("GET", "me/subscribed_apps", token="its own"))["data"]) == 1
    assert await meta.graph("DELETE", edge) == {"success": True}
    assert await meta.graph("GET", edge) == {"data": []}
    assert await meta.get("subscriptions") == {}


async def test_whatsapp_business_accounts_have_no_fields(meta: Any) -> None:
    for waba in (WABA, "8801"):  # one that was not added, too
        assert await meta.graph("POST", f"{waba}/subscribed_apps", token="w") == {"success": True}
        answer = await meta.graph("GET", f"{waba}/subscribed_apps", token="w")
        assert answer == {"data": [{"whatsapp_business_api_data": {"name": "SocialSync"}}]}
    assert await meta.get("subscriptions") == {WABA: [], "8801": []}
    await meta.delete("subscriptions", account=NUMBER)  # its Business Account's are
    assert await meta.get("subscriptions") == {"8801": []}
    await meta.delete("subscriptions", account="nobody")
    await meta.delete("subscriptions", account="8801")
    assert await meta.get("subscriptions") == {}
    assert (await meta.ask("POST", f"{WABA}/subscribed_apps", token="")).status_code == 401
    answer = await meta.http.post("/v24.0/8800/subscribed_apps?access_token=t", content=b"[")
    assert answer.json()["error"]["code"] == 100


async def test_a_whatsapp_number(meta: Any) -> None:
    fields = "id,display_phone_number,verified_name,quality_rating"
    assert await meta.graph("GET", NUMBER, token="w", fields=fields) == {
        "id": NUMBER, "display_phone_number": "+1 555-5550001", "verified_name": "Shop", "quality_rating": "GREEN",
    }  # fmt: skip
    assert await meta.refused("GET", "5550002", token="w") == (400, 100, 33)
    # what is not said stays as it was
    await meta.post("accounts", platform="whatsapp", account_id=NUMBER, token="w2")
    assert (await meta.graph("GET", NUMBER))["verified_name"] == "Shop"
    assert await meta.get("tokens", account=NUMBER) == ["w", "w2"]
