"""Publishing stays cheap: benches run against the sandbox, and its own work must not show in them."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

IG = "17841400000000001"
PAGE = "1000000000001"
POSTS = 1000
SECONDS_A_CALL = 0.0005  # of processor time


async def call(app: Any, path: str, body: dict[str, Any]) -> Any:
    """Without a client, whose own time would count."""
    answer: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": orjson.dumps(body), "more_body": False}

    async def send(message: Any) -> None:
        answer.append(message)

    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": f"/v24.0/{path}",
        "raw_path": b"", "query_string": b"", "root_path": "", "headers": [(b"authorization", b"Bearer t")],
    }  # fmt: skip
    await app(scope, receive, send)
    assert answer[0]["status"] == 200, answer
    return orjson.loads(answer[1]["body"])


@pytest.mark.parametrize("account", [IG, PAGE])
async def test_a_publish_call_beside_many_posts(meta: Any, gateway: Any, account: str) -> None:
    app = meta.http._transport.app
    gateway.files["a.jpg"] = b"\xff\xd8\xff"
    await meta.post("quota", account=IG, total=10 * POSTS)
    bodies: list[dict[str, Any]] = []
    for number in range(2 * POSTS):
        if account == PAGE:
            bodies.append({"message": f"No. {number}"})
        else:
            made = await call(app, f"{IG}/media", {"image_url": "http://gateway/media/a.jpg"})
            bodies.append({"creation_id": made["id"]})
    edge = f"{account}/media_publish" if account == IG else f"{account}/feed"
    for body in bodies[:POSTS]:
        await call(app, edge, body)
    began = time.process_time()
    for body in bodies[POSTS:]:
        await call(app, edge, body)
    assert (time.process_time() - began) / POSTS < SECONDS_A_CALL
    assert (await meta.get("posts/counts"))["posts"] == 2 * POSTS
