"""Posts against the sandbox as a process of its own, which fetches their media from a real host."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from socialsync_cli.processes import free_port

IG = "17841400000000001"
PAGE = "1000000000001"
TOKEN = {"authorization": "Bearer t"}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def picture() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (320, 400), "peru").save(content, "JPEG")
    return content.getvalue()


@pytest.fixture
def media_url(tmp_path: Path, picture: bytes) -> Iterator[str]:
    """Where a host serves ``a.jpg``, ``a.png`` and ``a.mp4``."""
    (tmp_path / "a.jpg").write_bytes(picture)
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(3_000_000))
    Image.new("RGB", (320, 400)).save(tmp_path / "a.png")
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *arguments: Quiet(*arguments, directory=str(tmp_path))
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "socialsync_sandbox", "--port", str(port),
        env=os.environ | {"META_APP_SECRET": "s", "SANDBOX_GATEWAY_URL": f"http://127.0.0.1:{free_port()}"},
    )  # fmt: skip
    base_url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=base_url, headers=TOKEN, timeout=20, trust_env=False) as client:
            async with asyncio.timeout(20):
                while True:
                    if await healthy(client):
                        break
                    await asyncio.sleep(0.05)
            yield client
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) in (0, -15)


async def healthy(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).status_code == 200
    except httpx.TransportError:
        return False


async def call(http: httpx.AsyncClient, method: str, path: str, **body: Any) -> Any:
    answer = await http.request(method, path, **({"json": body} if body else {}))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def until_ready(http: httpx.AsyncClient, node: str, field: str, ready: Any) -> None:
    async with asyncio.timeout(10):
        while True:
            found = (await call(http, "GET", f"/v24.0/{node}?fields={field}"))[field]
            if (found["video_status"] if isinstance(found, dict) else found) == ready:
                return
            await asyncio.sleep(0.01)


async def test_a_picture_is_fetched_published_and_seen(
    http: httpx.AsyncClient, media_url: str, picture: bytes
) -> None:
    png = await http.post(f"/v24.0/{IG}/media", json={"image_url": f"{media_url}/a.png"})
    assert (png.status_code, png.json()["error"]["code"]) == (400, 36001)
    gone = await http.post(f"/v24.0/{IG}/media", json={"image_url": f"{media_url}/gone.jpg"})
    assert gone.json()["error"]["error_subcode"] == 2207052
    away = await http.post(f"/v24.0/{IG}/media", json={"image_url": f"http://127.0.0.1:{free_port()}/a.jpg"})
    assert away.json()["error"]["error_subcode"] == 2207052
    container = await call(
        http, "POST", f"/v24.0/{IG}/media", image_url=f"{media_url}/a.jpg", caption="Bread"
    )
    waiting = asyncio.create_task(call(http, "GET", "/sandbox/posts?wait=10"))
    media = await call(http, "POST", f"/v24.0/{IG}/media_publish", creation_id=container["id"])
    (shown,) = await waiting
    assert shown["media_id"] == media["id"]
    assert shown["media"] == [
        {
            "url": f"{media_url}/a.jpg",
            "sha256": hashlib.sha256(picture).hexdigest(),
            "bytes": len(picture),
        }
    ]
    preview = f"/sandbox/posts/{media['id']}/preview"
    assert (await http.get(preview)).content == picture
    assert preview in (await http.get("/")).text


async def test_videos_are_fetched_in_the_background(http: httpx.AsyncClient, media_url: str) -> None:
    body = {"video_url": f"{media_url}/a.mp4", "media_type": "REELS", "caption": "Dough"}
    container = (await call(http, "POST", f"/v24.0/{IG}/media", **body))["id"]
    await until_ready(http, container, "status_code", "FINISHED")
    await call(http, "POST", f"/v24.0/{IG}/media_publish", creation_id=container)

    begun = await call(http, "POST", f"/v24.0/{PAGE}/video_reels", upload_phase="start")
    assert begun["upload_url"].startswith(str(http.base_url))
    uploaded = await http.post(
        begun["upload_url"], headers={"authorization": "OAuth t", "file_url": f"{media_url}/a.mp4"}
    )
    assert uploaded.json() == {"success": True}
    await until_ready(http, begun["video_id"], "status", "ready")
    body = {"upload_phase": "finish", "video_id": begun["video_id"], "video_state": "PUBLISHED"}
    await call(http, "POST", f"/v24.0/{PAGE}/video_reels", **body)
    posts = await call(http, "GET", "/sandbox/posts")
    assert [(post["account"], post["kind"], post["media"][0]["bytes"]) for post in posts] == [
        (IG, "reel", 3_000_012),
        (PAGE, "reel", 3_000_012),
    ]


@pytest.mark.parametrize(("kind", "live"), [("disconnect_before", 0), ("disconnect_after", 1)])
async def test_a_closed_connection_has_no_answer(http: httpx.AsyncClient, kind: str, live: int) -> None:
    await call(http, "POST", "/sandbox/posting-faults", step="publish", kind=kind)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await http.post(f"/v24.0/{PAGE}/feed", json={"message": "Bread"})
    assert len(await call(http, "GET", "/sandbox/posts")) == live
    await call(http, "POST", f"/v24.0/{PAGE}/feed", message="Cake")


@pytest.mark.parametrize(
    ("kind", "live"), [("hold_before", 0), ("hold_after", 1), ("timeout_after", 1), ("slow", 1)]
)
async def test_clients_that_do_not_wait(http: httpx.AsyncClient, kind: str, live: int) -> None:
    """One that left before the post was live leaves nothing behind, except where the call was only slow."""
    await call(http, "POST", "/sandbox/posting-faults", step="publish", kind=kind)
    with pytest.raises(httpx.ReadTimeout):
        await http.post(f"/v24.0/{PAGE}/feed", json={"message": "Bread"}, timeout=0.2)
    shown = await call(http, "GET", f"/sandbox/posts?wait={5 * live}")
    assert len(shown) == live
    async with asyncio.timeout(5):
        while True:
            if (await call(http, "GET", "/sandbox/posting-faults"))["held"] == 0:
                break
            await asyncio.sleep(0.01)
    assert len(await call(http, "GET", "/sandbox/posts")) == live


async def test_many_posts_at_once(http: httpx.AsyncClient) -> None:
    await asyncio.gather(
        *(call(http, "POST", f"/v24.0/{PAGE}/feed", message=f"No. {number}") for number in range(300))
    )
    posts = await call(http, "GET", "/sandbox/posts")
    assert [post["seq"] for post in posts] == list(range(1, 301))
    assert len({post["media_id"] for post in posts}) == 300
    counts = await call(http, "GET", "/sandbox/posts/counts")
    assert (counts["posts"], counts["by_account"], counts["without_proof"]) == (300, {PAGE: 300}, 300)


async def test_stored_files_come_back_in_parts(http: httpx.AsyncClient) -> None:
    content = os.urandom(2_000_000)
    path = "/storage/v1/object/media/t/a.mp4"
    assert (await http.post(path, content=content)).json()["statusCode"] == "404"
    await call(http, "POST", "/storage/v1/bucket", name="media")
    assert (await http.post(path, content=content)).status_code == 200
    part = await http.get(path, headers={"range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, content[1000:2000])
    signed = await call(http, "POST", "/storage/v1/object/sign/media/t/a.mp4", expiresIn=60)
    address = http.base_url.join(f"/storage/v1{signed['signedURL']}")
    async with httpx.AsyncClient(trust_env=False) as anybody:
        assert (await anybody.get(address)).content == content
