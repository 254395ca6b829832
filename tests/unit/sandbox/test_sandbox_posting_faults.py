"""Faults of posts' calls come in order, to whom they were ordered for; tokens and proofs are checked."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from typing import Any

import pytest

IG = "17841400000000001"
PAGE = "1000000000001"
NUMBER = "5550001"
JPEG = b"\xff\xd8\xff\xe0 a picture"
URL = "http://gateway/media/a.jpg"


@pytest.fixture(autouse=True)
def files(gateway: Any) -> None:
    gateway.files["a.jpg"] = JPEG


async def feed(meta: Any, text: str = "Bread", page: str = PAGE) -> Any:
    return await meta.ask("POST", f"{page}/feed", {"message": text})


async def texts(meta: Any) -> list[str]:
    return [post["text"] for post in await meta.get("posts")]


REFUSALS = {
    "not_ready": (400, 9007, 2207027),
    "fetch_failed": (400, 9004, 2207052),
    "duplicate": (400, 506, 1455006),
    "too_fast": (400, 368, 1390008),
    "expired_token": (401, 190, 463),
    "throttled": (400, 4, None),
    "quota": (403, 9, 2207042),
    "permission": (403, 10, None),
    "server_error": (500, 1, None),
    "unreadable": (400, 100, 33),
}


@pytest.mark.parametrize("kind", REFUSALS)
async def test_refusals_have_no_effect(meta: Any, kind: str) -> None:
    await meta.post("posting-faults", step="publish", kind=kind)
    assert await meta.refused("POST", f"{PAGE}/feed", {"message": "Bread"}) == REFUSALS[kind]
    assert await texts(meta) == []
    assert (await feed(meta)).status_code == 200
    assert await texts(meta) == ["Bread"]


@pytest.mark.parametrize(
    ("kind", "expected"), [("live_but_error", (400, 4, 2207051)), ("server_error_after", (500, 2, None))]
)
async def test_live_though_the_answer_says_otherwise(
    meta: Any, kind: str, expected: tuple[int, int, int | None]
) -> None:
    await meta.post("posting-faults", step="publish", kind=kind)
    assert await meta.refused("POST", f"{PAGE}/feed", {"message": "Bread"}) == expected
    assert await texts(meta) == ["Bread"]


@pytest.mark.parametrize(("kind", "live"), [("disconnect_before", []), ("disconnect_after", ["Bread"])])
async def test_no_answer_at_all(meta: Any, kind: str, live: list[str]) -> None:
    await meta.post("posting-faults", step="publish", kind=kind)
    with pytest.raises(ConnectionResetError):
        await feed(meta)
    assert await texts(meta) == live


@pytest.mark.parametrize(("kind", "live"), [("hold_before", []), ("hold_after", ["Bread"])])
async def test_held_until_released(meta: Any, kind: str, live: list[str]) -> None:
    await meta.post("posting-faults", step="publish", kind=kind)
    call = asyncio.create_task(feed(meta))
    await meta.until("posting-faults", lambda faults: faults["held"] == 1)
    assert await texts(meta) == live
    assert not call.done()
    await meta.post("release")
    assert (await call).status_code == 200
    assert await texts(meta) == ["Bread"]


async def test_late_answers(meta: Any) -> None:
    await meta.post("posting-faults", step="publish", kind="timeout_after")
    call = asyncio.create_task(feed(meta, "live"))
    await meta.until("posts/counts", lambda counts: counts["posts"] == 1)
    assert not call.done()
    call.cancel()
    await meta.post("posting-faults", step="publish", kind="timeout_after", seconds=0.01)
    assert (await feed(meta, "late")).status_code == 200
    await meta.post("posting-faults", step="publish", kind="slow", seconds=0.01)
    assert (await feed(meta, "slow")).status_code == 200
    assert await texts(meta) == ["live", "late", "slow"]


async def test_matched_counted_and_taken_in_order(meta: Any) -> None:
    await meta.post("posting-faults", step="publish", kind="throttled", account=PAGE, times=2)
    await meta.post("posting-faults", step="photo", kind="permission")
    await meta.post("posting-faults", step="publish", kind="quota")
    answers = [await feed(meta, str(number), page) for number, page in enumerate(("1", PAGE, PAGE, PAGE))]
    assert [answer.status_code for answer in answers] == [403, 400, 400, 200]
    (left,) = (await meta.get("posting-faults"))["faults"]
    assert left == {"step": "photo", "kind": "permission", "times": 1, "account": None, "seconds": None}
    await meta.delete("posting-faults")
    assert await meta.get("posting-faults") == {"faults": [], "held": 0}
    for wrong in ({"step": "publish", "kind": "nonsense"}, {"step": "x", "kind": "quota"}, {"kind": "quota"}):
        assert (await meta.http.post("/sandbox/posting-faults", json=wrong)).status_code == 422


async def test_every_step_can_fail(meta: Any) -> None:
    await meta.post("accounts", platform="whatsapp", account_id=NUMBER, token="w")
    await meta.post("accounts", platform="instagram", account_id=IG, token="t")
    container = (await meta.graph("POST", f"{IG}/media", {"image_url": URL}))["id"]
    media = (await meta.graph("POST", f"{IG}/media_publish", {"creation_id": container}))["id"]
    video = await meta.graph("POST", f"{PAGE}/video_reels", {"upload_phase": "start"})
    refresh = "/refresh_access_token?grant_type=ig_refresh_token&access_token=t"
    exchange = "/access_token?grant_type=ig_exchange_token&client_secret=instagram-app-secret&access_token=t"
    calls: list[tuple[str, str, str, dict[str, Any] | None]] = [
        ("container", "POST", f"/v24.0/{IG}/media", {"image_url": URL}),
        ("container", "POST", f"/v24.0/{PAGE}/video_reels", {"upload_phase": "start"}),
        ("status", "GET", f"/v24.0/{container}", None),
        ("status", "GET", f"/v24.0/{video['video_id']}", None),
        ("permalink", "GET", f"/v24.0/{media}", None),
        ("comment", "POST", f"/v24.0/{media}/comments", {"message": "x"}),
        ("find", "GET", f"/v24.0/{media}/comments", None),
        ("find", "GET", f"/v24.0/{IG}/media", None),
        ("find", "GET", f"/v24.0/{IG}/stories", None),
        ("find", "GET", f"/v24.0/{PAGE}/feed", None),
        ("quota", "GET", f"/v24.0/{IG}/content_publishing_limit", None),
        ("photo", "POST", f"/v24.0/{PAGE}/photos", {"url": URL, "published": False}),
        ("upload", "POST", video["upload_url"], None),
        ("publish", "POST", f"/v24.0/{IG}/media_publish", {"creation_id": container}),
        ("publish", "POST", f"/v24.0/{PAGE}/feed", {"message": "x"}),
        ("publish", "POST", f"/v24.0/{PAGE}/photo_stories", {"photo_id": "1"}),
        ("publish", "POST", f"/v24.0/{PAGE}/video_stories", {"upload_phase": "finish"}),
        ("refresh", "GET", refresh, None),
        ("exchange", "GET", exchange, None),
        ("exchange", "GET", "/v24.0/oauth/access_token", None),
        ("exchange", "POST", "/oauth/access_token", None),
        ("subscribe", "GET", f"/v24.0/{PAGE}/subscribed_apps", None),
        ("subscribe", "POST", f"/v24.0/{PAGE}/subscribed_apps", {"subscribed_fields": "feed"}),
        ("subscribe", "DELETE", f"/v24.0/{PAGE}/subscribed_apps", None),
        ("pages", "GET", "/v24.0/me/accounts", None),
        ("me", "GET", "/v24.0/me", None),
        ("number", "GET", f"/v24.0/{NUMBER}", None),
    ]
    for step, method, path, body in calls:
        await meta.post("posting-faults", step=step, kind="too_fast")
        answer = await meta.http.request(method, path, json=body, headers={"authorization": "Bearer t"})
        assert answer.json()["error"]["code"] == 368, path
        assert (await meta.get("posting-faults"))["faults"] == []
    assert len(await meta.get("posts")) == 1


async def test_login_faults_are_for_the_account_that_is_logged_in_to(meta: Any) -> None:
    await meta.post("accounts", platform="instagram", account_id=IG, token="t")
    await meta.post("posting-faults", step="me", kind="permission", account=PAGE)
    await meta.post("posting-faults", step="refresh", kind="permission", account=IG)
    assert (await meta.graph("GET", "me"))["user_id"] == IG
    answer = await meta.http.get("/refresh_access_token?grant_type=ig_refresh_token&access_token=t")
    assert answer.status_code == 403


async def test_latency_is_everywhere(meta: Any) -> None:
    await meta.post("latency", seconds=0.02)
    for call in (feed(meta), meta.whatsapp("1", "Hi"), meta.ask("GET", f"{IG}/media")):
        began = time.monotonic()
        assert (await call).status_code == 200
        assert time.monotonic() - began >= 0.02
    await meta.post("latency", seconds=0)
    assert (await meta.http.post("/sandbox/latency", json={"seconds": -1})).status_code == 422


async def test_tokens_are_needed_and_end(meta: Any) -> None:
    assert await meta.refused("POST", f"{PAGE}/feed", {"message": "x"}, token="") == (401, 190, None)
    await meta.post("tokens", token="t", state="expired")
    for path in (f"{PAGE}/feed", f"{IG}/media", "me", "123", f"{IG}/subscribed_apps", "no/such/path"):
        assert await meta.refused("GET", path) == (401, 190, 463), path
    assert (await meta.whatsapp("1", "Hi")).json()["error"]["error_subcode"] == 463
    assert (await meta.ask("GET", f"{PAGE}/feed", token="another")).status_code == 200
    await meta.post("tokens", token="t", state="valid")
    assert (await feed(meta)).status_code == 200


async def test_proofs_are_checked_where_they_are_sent(meta: Any) -> None:
    async def missing() -> int:
        count: int = (await meta.get("posts/counts"))["without_proof"]
        return count

    proof = hmac.new(b"app-secret", b"t", hashlib.sha256).hexdigest()
    assert (await meta.ask("GET", f"{PAGE}/feed", appsecret_proof=proof)).status_code == 200
    for wrong in ("0" * 64, "", "é"):
        assert await meta.refused("GET", f"{PAGE}/feed", appsecret_proof=wrong) == (400, 100, None)
    refused = await meta.ask("POST", f"{PAGE}/messages", {}, appsecret_proof="0")
    assert "Invalid appsecret_proof" in refused.json()["error"]["message"]
    assert await missing() == 0
    await meta.graph("GET", f"{IG}/media")  # Instagram's host takes none
    assert await missing() == 0
    await meta.graph("GET", f"{PAGE}/feed")
    await meta.whatsapp("1", "Hi")
    assert await missing() == 2
