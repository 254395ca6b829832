"""The stand-in for Supabase Storage: buckets, objects, signed addresses, and how much is kept."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from socialsync_sandbox import objects, storage

KEY = {"authorization": "Bearer service-role-key"}
PATH = "/storage/v1/object/media/t/a.jpg"
CONTENT = b"\xff\xd8\xff a picture"


def refused(answer: httpx.Response) -> tuple[int, str, str]:
    body = answer.json()
    assert set(body) == {"statusCode", "error", "message"}
    return answer.status_code, body["statusCode"], body["error"]


@pytest.fixture(autouse=True)
async def bucket(meta: Any) -> None:
    answer = await meta.http.post("/storage/v1/bucket", headers=KEY, json={"id": "media", "name": "media"})
    assert (answer.status_code, answer.json()) == (200, {"name": "media"})


async def put(meta: Any, path: str = PATH, content: bytes = CONTENT, **headers: str) -> httpx.Response:
    answer: httpx.Response = await meta.http.post(path, content=content, headers={**KEY, **headers})
    return answer


async def test_an_object_is_stored_read_and_removed(meta: Any) -> None:
    stored = await put(meta, **{"content-type": "image/jpeg"})
    assert stored.status_code == 200
    assert stored.json()["Key"] == "media/t/a.jpg"
    assert stored.json()["Id"]
    read = await meta.http.get(PATH, headers=KEY)
    assert (read.status_code, read.content, read.headers["content-type"]) == (200, CONTENT, "image/jpeg")
    assert await meta.get("storage") == {
        "buckets": ["media"], "objects": {"media/t/a.jpg": len(CONTENT)}, "bytes": len(CONTENT),
        "keys": ["service-role-key"],
    }  # fmt: skip
    removed = await meta.http.delete(PATH, headers=KEY)
    assert (removed.status_code, removed.json()) == (200, {"message": "Successfully deleted"})
    for method in ("GET", "DELETE"):
        assert refused(await meta.http.request(method, PATH, headers=KEY)) == (400, "404", "not_found")
    assert (await meta.get("storage"))["bytes"] == 0


@pytest.mark.parametrize(
    ("asked", "status", "content", "shown"),
    [
        ("bytes=0-2", 206, CONTENT[:3], f"bytes 0-2/{len(CONTENT)}"),
        ("bytes=3-", 206, CONTENT[3:], f"bytes 3-{len(CONTENT) - 1}/{len(CONTENT)}"),
        ("bytes=0-999", 206, CONTENT, f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"),
        ("bytes=99-", 416, b"", f"bytes */{len(CONTENT)}"),
        ("pages=1-2", 200, CONTENT, None),
    ],
)
async def test_parts_are_read(meta: Any, asked: str, status: int, content: bytes, shown: str | None) -> None:
    await put(meta)
    part = await meta.http.get(PATH, headers={**KEY, "range": asked})
    assert (part.status_code, part.content) == (status, content)
    assert part.headers.get("content-range") == shown


async def test_what_is_refused(meta: Any) -> None:
    await put(meta)
    assert refused(await put(meta)) == (400, "409", "Duplicate")
    assert (await put(meta, content=b"new", **{"x-upsert": "true"})).status_code == 200
    assert (await meta.http.get(PATH, headers=KEY)).content == b"new"
    assert (await meta.get("storage"))["bytes"] == 3
    elsewhere = await put(meta, "/storage/v1/object/other/a.jpg")
    assert refused(elsewhere) == (400, "404", "Bucket not found")
    again = await meta.http.post("/storage/v1/bucket", headers=KEY, json={"name": "media"})
    assert refused(again) == (400, "409", "Duplicate")
    for call in (
        meta.http.get(PATH),
        meta.http.delete(PATH, headers={"authorization": "Basic x"}),
        meta.http.post(PATH, content=b"x", headers={"authorization": "Bearer "}),
        meta.http.post("/storage/v1/bucket", json={"name": "x"}),
        meta.http.post("/storage/v1/object/sign/media/t/a.jpg", json={"expiresIn": 1}),
    ):
        assert refused(await call) == (400, "403", "Unauthorized")


async def test_signed_addresses_work_for_a_while(meta: Any) -> None:
    await put(meta)
    sign = "/storage/v1/object/sign/media/t/a.jpg"
    answer = (await meta.http.post(sign, headers=KEY, json={"expiresIn": 60})).json()
    address = f"/storage/v1{answer['signedURL']}"
    assert address.startswith(f"{sign}?token=")
    assert (await meta.http.get(address)).content == CONTENT
    assert (await meta.http.get(address, headers={"range": "bytes=0-0"})).content == CONTENT[:1]
    forged = (f"{sign}?token=x", sign, f"{sign}?token=é", f"{address}x", address.replace("a.jpg", "b.jpg"))
    for wrong in forged:
        assert refused(await meta.http.get(wrong)) == (400, "400", "InvalidJWT")
    late = time.time() + 61
    meta.sandbox.objects.clock = lambda: late
    assert refused(await meta.http.get(address)) == (400, "400", "InvalidJWT")
    unknown = await meta.http.post(f"{sign}.old", headers=KEY, json={"expiresIn": 60})
    assert refused(unknown) == (400, "404", "not_found")
    assert (await meta.http.post(sign, headers=KEY, json={"expiresIn": 0})).status_code == 422


async def test_the_oldest_go_where_there_are_too_many(meta: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert objects.MAX_BYTES == 64 * 1024 * 1024
    for module in (objects, storage):
        monkeypatch.setattr(module, "MAX_BYTES", 10)
    for name, size in (("a", 4), ("b", 4), ("c", 4)):
        assert (await put(meta, f"/storage/v1/object/media/{name}", bytes(size))).status_code == 200
    kept = await meta.get("storage")
    assert (kept["objects"], kept["bytes"]) == ({"media/b": 4, "media/c": 4}, 8)
    large = await put(meta, "/storage/v1/object/media/d", bytes(11))
    assert refused(large) == (400, "413", "Payload too large")
    assert (await put(meta, "/storage/v1/object/media/d", bytes(10))).status_code == 200
    assert (await meta.get("storage"))["objects"] == {"media/d": 10}


async def test_a_fresh_start_forgets_it(meta: Any) -> None:
    await put(meta)
    await meta.delete("state")
    assert await meta.get("storage") == {"buckets": [], "objects": {}, "bytes": 0, "keys": []}
