"""Media on a real Postgres and over real HTTP: two tenants, two stores, and uploads that go wrong."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import random
import re
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from socialsync_common.errors import ConfigError
from socialsync_common.fetching import Bounds, Fetcher
from socialsync_common.settings import EncryptionSettings, PublicSettings, StorageSettings
from socialsync_gateway.media.endpoints import public_router
from socialsync_gateway.media.service import MediaLibrary, clean_name
from socialsync_gateway.media.spool import UploadLimits
from socialsync_gateway.media.store import BUCKET
from support import eventually

MIB = 1024 * 1024
ENDS = struct.Struct(">I4s")


def picture(seed: int = 1, form: str = "JPEG", side: int = 32) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), random.Random(seed).randbytes(side * side * 3)).save(file, form)
    return file.getvalue()


def video(size: int = 3 * MIB + 5, brand: bytes = b"isom") -> bytes:
    def box(kind: bytes, *content: bytes) -> bytes:
        body = b"".join(content)
        return ENDS.pack(len(body) + 8, kind) + body

    matrix = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    tkhd = box(b"tkhd", bytes(40), matrix, struct.pack(">II", 720 << 16, 1280 << 16))
    trak = box(b"trak", tkhd, box(b"mdia", box(b"hdlr", bytes(8), b"vide", bytes(12))))
    moov = box(b"moov", box(b"mvhd", bytes(12), struct.pack(">II", 1000, 9500), bytes(80)), trak)
    head = box(b"ftyp", brand, bytes(4)) + moov
    return head + box(b"mdat", random.Random(size).randbytes(size - len(head) - 8))


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """A real server in this loop; yields its URL."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, http="httptools", ws="none", lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    await eventually(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await task


@dataclass
class SupabaseStorage:
    """Supabase Storage as it answers, with the faults that a test asks for."""

    objects: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    buckets: dict[str, bool] = field(default_factory=dict)  # and whether they are public
    faults: list[Response] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    url: str = ""
    ranges: bool = True

    def app(self) -> Starlette:
        path = f"/storage/v1/object/{BUCKET}/{{path:path}}"
        return Starlette(
            routes=[
                Route("/storage/v1/bucket", self._bucket, methods=["POST"]),
                Route(path, self._object, methods=["POST", "GET", "DELETE"]),
            ]
        )

    async def _bucket(self, request: Request) -> Response:
        self.calls.append("bucket")
        body = await request.json()
        if body["name"] in self.buckets:
            return error(409, "Duplicate", "The resource already exists")
        self.buckets[body["name"]] = body["public"]
        return JSONResponse({"name": body["name"]})

    async def _object(self, request: Request) -> Response:
        path, content = request.path_params["path"], await request.body()
        self.calls.append(request.method)
        if self.faults:
            return self.faults.pop(0)
        if request.headers.get("authorization") != "Bearer the key":
            return error(403, "Unauthorized", "Invalid Compact JWS")
        if BUCKET not in self.buckets:
            return error(404, "Bucket not found", "Bucket not found")
        if request.method == "POST":
            if path in self.objects and request.headers.get("x-upsert") != "true":
                return error(409, "Duplicate", "The resource already exists")
            self.objects[path], self.types[path] = content, request.headers["content-type"]
            return JSONResponse({"Key": f"{BUCKET}/{path}", "Id": str(uuid4())})
        if path not in self.objects:
            return error(404, "not_found", "Object not found")
        if request.method == "DELETE":
            del self.objects[path]
            return JSONResponse({"message": "Successfully deleted"})
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
        if asked and self.ranges:
            return Response(self.objects[path][int(asked[1]) : int(asked[2]) + 1], 206)
        return Response(self.objects[path])


def error(status: int, name: str, message: str) -> Response:
    return JSONResponse({"statusCode": str(status), "error": name, "message": message}, 400)


class Media:
    """The API of media, and what stands behind it."""

    def __init__(self, world: Any, stack: AsyncExitStack, storage: SupabaseStorage) -> None:
        self.world, self.storage, self._stack = world, storage, stack
        self.client: httpx.AsyncClient = world.client
        self.us, self.them = world.us, world.them
        self.use()

    def use(self, *, supabase: bool = False, fetcher: Fetcher | None = None, **limits: Any) -> MediaLibrary:
        """Take a library with these settings from now on."""
        settings = StorageSettings(
            supabase_url=self.storage.url if supabase else None,
            supabase_service_role_key="the key" if supabase else None,
        )
        cipher_keys = EncryptionSettings()
        self.library = MediaLibrary.create(
            self.world.app.state.database,
            PublicSettings(public_url="http://gateway"),
            cipher_keys,
            settings,
            limits=UploadLimits(**limits) if limits else None,
            fetcher=fetcher,
        )
        self.world.app.state.media = self.library
        self._stack.push_async_callback(self.library.close)
        return self.library

    async def upload(
        self, content: Any, mime_type: str = "image/jpeg", tenant: Any = None, **headers: str
    ) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(
            "/api/v1/media",
            content=content,
            headers={**(tenant or self.us).headers, "Content-Type": mime_type, **named},
        )

    async def by_url(self, url: Any) -> httpx.Response:
        return await self.world.post("/api/v1/media", {"url": url})

    async def kept(self, content: bytes, mime_type: str = "image/jpeg", tenant: Any = None) -> dict[str, Any]:
        response = await self.upload(content, mime_type, tenant)
        assert response.status_code == 201, response.text
        return response.json()

    def url(self, media: dict[str, Any], tenant: Any = None, seconds: int = 60) -> str:
        owner = (tenant or self.us).id
        return self.library.urls.url(owner, UUID(media["id"]), media["mime_type"], seconds)

    def rows(self, table: str = "media") -> int:
        return int(self.us.one(f"SELECT count(*) FROM {table}")["count"])  # noqa: S608


@pytest.fixture
async def media(world: Any) -> AsyncIterator[Media]:
    world.app.include_router(public_router)
    async with AsyncExitStack() as stack:
        storage = SupabaseStorage()
        storage.url = await stack.enter_async_context(serving(storage.app()))
        yield Media(world, stack, storage)


@pytest.fixture(params=["postgres", "supabase"])
def stored(request: pytest.FixtureRequest, media: Media) -> Media:
    """Both stores must behave alike."""
    media.use(supabase=request.param == "supabase")
    return media


def faults(response: httpx.Response, status: int, kind: str | None = None) -> str:
    body = response.json()
    assert (response.status_code, body["status"]) == (status, status), response.text
    assert response.headers["content-type"] == "application/problem+json"
    if kind:
        assert body["type"] == f"urn:socialsync:problem:{kind}"
    return str(body["detail"])


FILES = [
    (picture(), "image/jpeg", ("image", "image/jpeg", 32, 32, None)),
    (picture(form="PNG"), "image/png", ("image", "image/png", 32, 32, None)),
    (picture(2, "PNG"), "image/jpeg", ("image", "image/png", 32, 32, None)),  # misnamed
    (video(), "video/mp4", ("video", "video/mp4", 720, 1280, 9.5)),
    (video(brand=b"qt  "), "video/quicktime; x=y", ("video", "video/quicktime", 720, 1280, 9.5)),
]


async def test_upload_and_fetch(stored: Media) -> None:
    for content, mime_type, expected in FILES:
        response = await stored.upload(content, mime_type, X_Filename="caf%C3%A9/br%C3%B6d.jpg")
        assert response.status_code == 201
        made = response.json()
        assert (
            tuple(made[name] for name in ("kind", "mime_type", "width", "height", "duration_seconds"))
            == expected
        )
        assert (made["size"], made["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert made["name"] == "bröd.jpg"
        assert set(made) == {
            *(
                "id",
                "kind",
                "mime_type",
                "size",
                "sha256",
                "width",
                "height",
                "duration_seconds",
                "name",
                "created_at",
            )
        }
        assert (await stored.world.get(f"/api/v1/media/{made['id']}")).json() == made
        fetched = await stored.client.get(stored.url(made))
        assert (fetched.status_code, fetched.content) == (200, content)
        assert dict(fetched.headers) == {
            "content-type": expected[1],
            "content-length": str(len(content)),
            "content-disposition": "inline",
            "accept-ranges": "bytes",
            "cache-control": "private, max-age=3600",
            "etag": f'"{made["sha256"]}"',
            "x-content-type-options": "nosniff",
        }


async def test_the_same_content_is_kept_once_for_each_tenant(stored: Media) -> None:
    made = await stored.kept(picture())
    again = await stored.upload(picture(), X_Filename="other.jpg")
    assert (again.status_code, again.json()) == (200, made)
    theirs = await stored.kept(picture(), tenant=stored.them)
    assert theirs["id"] != made["id"]
    at_once = await asyncio.gather(*(stored.upload(picture(2)) for _ in range(4)))
    assert sorted(one.status_code for one in at_once) == [200, 200, 200, 201]
    assert len({one.json()["id"] for one in at_once}) == 1
    assert stored.rows() == 3
    assert len(stored.storage.objects) in (0, 3)


async def test_tenants_see_their_own_only(stored: Media) -> None:
    ours = await stored.kept(picture(1))
    theirs = await stored.kept(picture(2), tenant=stored.them)
    for tenant, own, other in ((stored.us, ours, theirs), (stored.them, theirs, ours)):
        listed = (await stored.world.get("/api/v1/media", tenant)).json()
        assert [one["id"] for one in listed["items"]] == [own["id"]]
        faults(await stored.world.get(f"/api/v1/media/{other['id']}", tenant), 404)
        deleted = await stored.client.delete(f"/api/v1/media/{other['id']}", headers=tenant.headers)
        faults(deleted, 404)
    # a URL that was signed for the one tenant with the other's medium
    faults(await stored.client.get(stored.url(theirs, stored.us)), 404)
    for own, tenant, content in ((ours, stored.us, picture(1)), (theirs, stored.them, picture(2))):
        assert (await stored.client.get(stored.url(own, tenant))).content == content
    assert (await stored.client.get("/api/v1/media")).status_code == 401


async def test_the_list_is_paged(media: Media) -> None:
    made = [(await media.kept(picture(seed)))["id"] for seed in range(5)]
    seen, cursor = [], None
    for _ in range(3):
        page = (
            await media.world.get("/api/v1/media", limit=2, **({"cursor": cursor} if cursor else {}))
        ).json()
        seen += [one["id"] for one in page["items"]]
        cursor = page["next"]
    assert (seen, cursor) == (made[::-1], None)
    faults(await media.world.get("/api/v1/media", cursor="x"), 400)


async def test_ranges(stored: Media) -> None:
    content = video()
    url = stored.url(await stored.kept(content, "video/mp4"))
    size = len(content)
    for ranges in (True, False):  # a store may ignore them
        stored.storage.ranges = ranges
        for asked, start, end in (
            ("bytes=0-0", 0, 0),
            ("bytes=0-", 0, size - 1),
            ("bytes=5-1048577", 5, 1048577),
            (f"bytes={MIB - 1}-{MIB}", MIB - 1, MIB),
            (f"bytes={MIB}-{2 * MIB - 1}", MIB, 2 * MIB - 1),
            ("bytes=-7", size - 7, size - 1),
            (f"bytes=-{size * 2}", 0, size - 1),
            (f"bytes={size - 1}-{size * 9}", size - 1, size - 1),
        ):
            part = await stored.client.get(url, headers={"Range": asked})
            assert part.status_code == 206
            assert part.content == content[start : end + 1]
            assert part.headers["content-range"] == f"bytes {start}-{end}/{size}"
            assert part.headers["content-length"] == str(end - start + 1)
    for ignored in ("bytes=5-2", "bytes=-", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b", f"bytes={'9' * 30}-"):
        whole = await stored.client.get(url, headers={"Range": ignored})
        assert (whole.status_code, len(whole.content)) == (200, size)
    for beyond in (f"bytes={size}-", f"bytes={size + 5}-{size + 9}", "bytes=-0"):
        refused = await stored.client.get(url, headers={"Range": beyond})
        faults(refused, 416)
        assert refused.headers["content-range"] == f"bytes */{size}"


async def test_what_caches_ask(stored: Media) -> None:
    made = await stored.kept(picture())
    url, etag = stored.url(made), f'"{made["sha256"]}"'
    head = await stored.client.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(made["size"])
    assert head.headers["content-type"] == "image/jpeg"
    partial = await stored.client.head(url, headers={"Range": "bytes=0-9"})
    assert (partial.status_code, partial.headers["content-length"]) == (206, "10")
    for sent in (etag, f'W/{etag}, "x"', f'"x", {etag}'):
        known = await stored.client.get(url, headers={"If-None-Match": sent})
        assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", etag)
    assert (await stored.client.get(url, headers={"If-None-Match": '"x"'})).status_code == 200
    for held, status in ((etag, 206), ('"x"', 200)):
        got = await stored.client.get(url, headers={"Range": "bytes=0-9", "If-Range": held})
        assert got.status_code == status


async def test_urls_that_open_nothing(media: Media) -> None:
    made = await media.kept(picture())
    url = media.url(made)
    assert "ask for a new one" in faults(
        await media.client.get(media.url(made, seconds=-1)), 403, "url-expired"
    )
    cut = url.rindex("/") + 1
    flipped = "B" if url[cut + 40] == "A" else "A"
    for forged in (
        url[: cut + 40] + flipped + url[cut + 41 :],
        url[:cut] + "x.jpg",
        url.replace(".jpg", ".mp4"),
        url.replace(".jpg", ".html"),
        media.url({**made, "id": str(uuid4())}),
    ):
        faults(await media.client.get(forged), 404)
    assert (await media.client.post(url)).status_code == 405
    await media.client.delete(f"/api/v1/media/{made['id']}", headers=media.us.headers)
    faults(await media.client.get(url), 404)


async def test_deletion(stored: Media) -> None:
    made = await stored.kept(video(2 * MIB), "video/mp4")
    path = f"/api/v1/media/{made['id']}"
    post = uuid4()
    owner = stored.us.owner
    owner.execute(
        "INSERT INTO scheduled_posts (id, tenant_id, kind, due_at, zone, request_hash) VALUES (%s, %s, 'video', now(), 'UTC', '')",
        (post, stored.us.id),
    )
    owner.execute(
        "INSERT INTO post_media (post_id, position, media_id, tenant_id) VALUES (%s, 1, %s, %s)",
        (post, made["id"], stored.us.id),
    )
    refused = await stored.client.delete(path, headers=stored.us.headers)
    assert "out of the post first" in faults(refused, 409, "media-in-use")
    assert (await stored.client.get(stored.url(made))).status_code == 200
    owner.execute("DELETE FROM scheduled_posts WHERE id = %s", (post,))
    gone = await stored.client.delete(path, headers=stored.us.headers)
    assert (gone.status_code, gone.content) == (204, b"")
    assert (stored.rows(), stored.rows("media_chunks"), stored.storage.objects) == (0, 0, {})
    faults(await stored.client.delete(path, headers=stored.us.headers), 404)
    assert (await stored.upload(video(2 * MIB), "video/mp4")).status_code == 201


REFUSED = [
    (b"GIF89a" + bytes(30), "image/jpeg", 415, "unsupported-media", "GIF"),
    (b"%PDF", "image/png", 415, "unsupported-media", "JPEG or PNG"),
    (b"", "image/png", 415, "unsupported-media", "JPEG or PNG"),
    (picture(), "image/gif", 415, "unsupported-media", "Content-Type"),
    (picture(), "", 415, "unsupported-media", "Content-Type"),
    (picture(), "multipart/form-data; boundary=x", 415, "unsupported-media", "Content-Type"),
    (picture(side=64)[:-300], "image/jpeg", 422, "broken-media", "Broken image"),
    (video()[:-9], "video/mp4", 422, "broken-media", "cut off"),
]


async def test_refused_files(stored: Media) -> None:
    for content, mime_type, status, kind, says in REFUSED:
        response = await stored.upload(content, mime_type)
        assert says in faults(response, status, kind)
        assert [one["pointer"] for one in response.json()["errors"]] == ["/body"]
        assert (stored.rows(), stored.rows("media_chunks"), stored.storage.objects) == (0, 0, {})


async def test_a_compressed_body_is_refused(media: Media) -> None:
    faults(await media.upload(picture(), Content_Encoding="gzip"), 415)


async def test_too_large_whatever_is_declared(media: Media) -> None:
    media.use(image_bytes=MIB, video_bytes=2 * MIB)

    async def chunks(size: int) -> AsyncIterator[bytes]:
        for _ in range(size // 4096):
            yield bytes(4096)
        raise AssertionError("it was read to its end")

    for mime_type, allowed in (("image/jpeg", MIB), ("video/mp4", 2 * MIB)):
        for declared in ({}, {"Content_Length": str(allowed + 1)}):
            response = await media.upload(chunks(2 * allowed), mime_type, **declared)
            assert "make it smaller" in faults(response, 413, "media-too-large")
    # called a video, but a picture
    large = picture(side=700) + bytes(MIB)
    faults(await media.upload(large, "video/mp4"), 413, "media-too-large")
    assert media.rows() == 0


async def test_too_large_is_said_before_the_body_is_sent(media: Media) -> None:
    async with serving(media.world.app) as url:
        reader, writer = await sending(url, media, 31 * MIB, b"Expect: 100-continue\r\n")
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"make it smaller" in await reader.read(4096)
        writer.close()
        # whoever sends all of it first is told too, and may go on using the connection
        async with httpx.AsyncClient(headers=media.us.headers | {"Content-Type": "image/jpeg"}) as client:
            for _ in range(2):
                response = await client.post(f"{url}/api/v1/media", content=bytes(31 * MIB))
                faults(response, 413, "media-too-large")


async def sending(
    url: str, media: Media, length: int, headers: bytes = b"", tenant: Any = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An upload whose head is sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    bearer = (tenant or media.us).headers["Authorization"]
    writer.write(
        f"POST /api/v1/media HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n"
        f"Authorization: {bearer}\r\n".encode()
        + headers
        + b"\r\n"
    )
    return reader, writer


def busy_connections(media: Media) -> int:
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%%'"
    )
    return int(media.us.one(query)["count"])


async def test_slow_clients_hold_nothing_and_are_given_up(media: Media) -> None:
    library = media.use(silent_seconds=0.5, uploads=8, uploads_of_tenant=6)
    async with serving(media.world.app) as url:
        clients = [await sending(url, media, 5000) for _ in range(6)]
        for _, writer in clients:
            writer.write(picture()[:100])
        await eventually(lambda: library._uploads[media.us.id] == 6)
        # more of them than the pool has connections: everybody else is served
        assert busy_connections(media) == 0
        assert (await media.world.get("/api/v1/media")).status_code == 200
        assert "try again" in faults(await media.upload(picture(3)), 429, "uploads-busy")
        assert (await media.upload(picture(3), tenant=media.them)).status_code == 201
        for reader, writer in clients:
            answer = await reader.read()  # until the server closes
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"faster connection" in answer
            writer.close()
    assert library._uploads.total() == 0
    assert media.rows() == 1
    assert (await media.upload(picture(4))).status_code == 201


async def test_all_tenants_together_are_bounded(media: Media) -> None:
    library = media.use(uploads=2, uploads_of_tenant=2)
    async with serving(media.world.app) as url:
        clients = [await sending(url, media, 5000) for _ in range(2)]
        await eventually(lambda: library._uploads.total() == 2)
        busy = await media.upload(picture(), tenant=media.them)
        faults(busy, 429, "uploads-busy")
        assert int(busy.headers["retry-after"]) > 0
        # whoever leaves makes room, and leaves nothing behind
        for _, writer in clients:
            writer.write(b"\xff\xd8\xff" + bytes(500))
            await writer.drain()
            writer.close()
        await eventually(lambda: library._uploads.total() == 0)
    assert media.rows() == 0
    assert (await media.upload(picture(), tenant=media.them)).status_code == 201


async def test_a_steady_drip_is_given_up_too(media: Media) -> None:
    media.use(silent_seconds=0.2, bytes_per_second=10_000)
    sent = 0

    async def drips() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            await asyncio.sleep(0.02)
            sent += 1
            yield b"x"

    faults(await media.upload(drips()), 408, "upload-too-slow")
    assert sent < 100
    media.use(silent_seconds=5, seconds=0.1)
    faults(await media.upload(drips()), 408, "upload-too-slow")


async def test_nothing_is_left_half_way(stored: Media) -> None:
    """A fault of the database in the middle of storing."""
    owner = stored.us.owner
    owner.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'disk'; END $$"
    )
    table, when = ("media", "true") if stored.library._supabase else ("media_chunks", "NEW.number = 2")
    owner.execute(
        f"CREATE TRIGGER full_disk BEFORE INSERT ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION full_disk()"
    )
    assert (await stored.upload(video(), "video/mp4")).status_code == 500
    assert (stored.rows(), stored.rows("media_chunks"), stored.storage.objects) == (0, 0, {})
    owner.execute(f"DROP TRIGGER full_disk ON {table}")
    assert (await stored.upload(video(), "video/mp4")).status_code == 201


async def test_whoever_reads_slowly_holds_no_connection(media: Media) -> None:
    content = video(24 * MIB)
    made = await media.kept(content, "video/mp4")
    async with serving(media.world.app) as url:
        readers = []
        for _ in range(6):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            path = media.url(made).removeprefix("http://gateway")
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            readers.append((reader, writer))
        await eventually(lambda: busy_connections(media) == 0)
        assert (await media.world.get("/api/v1/media")).status_code == 200
        for _, writer in readers[1:]:
            writer.close()
        assert await readers[0][0].readexactly(len(content)) == content
        readers[0][1].close()


async def test_content_that_ends_early_is_not_taken_for_whole(stored: Media) -> None:
    content = video()
    made = await stored.kept(content, "video/mp4")
    if stored.library._supabase:
        (path,) = stored.storage.objects
        stored.storage.objects[path] = content[:-1]
    else:
        stored.us.owner.execute("DELETE FROM media_chunks WHERE number = 2")
    async with serving(stored.world.app) as url, httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(stored.url(made).replace("http://gateway", url))
        if stored.library._supabase:
            stored.storage.objects.clear()
        else:
            stored.us.owner.execute("DELETE FROM media_chunks")
        gone = await client.get(stored.url(made).replace("http://gateway", url))
        assert "upload the file again" in faults(gone, 404, "content-missing")


async def test_supabase_is_set_up_by_the_first_upload(media: Media) -> None:
    media.use(supabase=True)
    made = await media.kept(picture())
    assert media.storage.buckets == {BUCKET: False}
    assert media.storage.calls == ["POST", "bucket", "POST"]
    path = f"{media.us.id}/{made['id']}"
    assert (media.storage.objects, media.storage.types) == ({path: picture()}, {path: "image/jpeg"})
    assert media.rows("media_chunks") == 0
    await media.kept(picture(2))
    assert media.storage.calls[3:] == ["POST"]
    # what was stored before the setting was there, or since it is gone
    media.use()
    assert "SUPABASE_URL" in faults(await media.client.get(media.url(made)), 503, "storage-away")
    refused = await media.client.delete(f"/api/v1/media/{made['id']}", headers=media.us.headers)
    faults(refused, 503, "storage-away")
    assert media.rows() == 2


async def test_supabase_answers_late(media: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    media.use(supabase=True)
    media.storage.buckets[BUCKET] = False
    media.storage.faults = [Response(status_code=503), Response(status_code=429)]
    content = video()
    made = await media.kept(content, "video/mp4")
    assert media.storage.calls == ["POST", "POST", "POST"]
    media.storage.faults = [Response(status_code=502)]
    assert (await media.client.get(media.url(made))).content == content


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([Response(status_code=500)] * 3, "away"),
        ([error(403, "Unauthorized", "jws")], "SUPABASE_SERVICE_ROLE_KEY"),
        ([error(413, "Payload too large", "The object exceeded the maximum allowed size")], "upload limit"),
        ([Response("<html>", 418)], "418"),
    ],
)
async def test_supabase_does_not_take_it(media: Media, answers: list[Response], says: str) -> None:
    media.use(supabase=True)
    media.storage.buckets[BUCKET] = False
    media.storage.faults = list(answers)
    response = await media.upload(picture())
    assert says in faults(response, 503, "storage-away")
    assert int(response.headers["retry-after"]) > 0
    assert (media.rows(), media.storage.objects) == (0, {})


async def test_supabase_is_not_there(media: Media) -> None:
    made_before = await media.kept(picture())
    media.storage.url = "http://127.0.0.1:9"
    media.use(supabase=True)
    assert "try again" in faults(await media.upload(picture(2)), 503, "storage-away")
    assert media.rows() == 1
    assert (await media.client.get(media.url(made_before))).content == picture()


async def test_a_deletion_that_supabase_does_not_follow(media: Media) -> None:
    media.use(supabase=True)
    made = await media.kept(picture())
    media.storage.faults = [Response(status_code=500)] * 3
    gone = await media.client.delete(f"/api/v1/media/{made['id']}", headers=media.us.headers)
    assert gone.status_code == 204
    assert len(media.storage.objects) == 1  # in nobody's reach
    faults(await media.client.get(media.url(made)), 404)


def test_supabase_is_set_whole_or_not_at_all(environment: dict[str, str]) -> None:
    for half in ({"supabase_url": "http://x"}, {"supabase_service_role_key": "k"}):
        with pytest.raises(ConfigError, match="set both, or neither"):
            MediaLibrary.create(None, None, EncryptionSettings(), StorageSettings(**half))  # type: ignore[arg-type]


async def test_without_a_public_url_uploads_work(media: Media) -> None:
    library = MediaLibrary.create(
        media.world.app.state.database, None, EncryptionSettings(), StorageSettings()
    )
    media.world.app.state.media = library
    made = await media.kept(picture())
    with pytest.raises(ConfigError, match="PUBLIC_URL is not set"):
        library.urls.url(media.us.id, UUID(made["id"]), "image/jpeg")
    await library.close()


@asynccontextmanager
async def host(answer: Callable[[], Response]) -> AsyncIterator[tuple[str, Fetcher]]:
    """A web server, and a fetcher that may reach it although it is on this machine."""

    async def get(_: Request) -> Response:
        return answer()

    async with serving(Starlette(routes=[Route("/{path:path}", get)])) as url:
        yield (
            url,
            Fetcher(trusted_origins=[url], image=Bounds(MIB, 5), video=Bounds(4 * MIB, 5)),
        )


async def test_upload_by_url(stored: Media) -> None:
    content = video()
    async with host(lambda: Response(content, media_type="text/html")) as (url, fetcher):
        stored.use(supabase=stored.library._supabase is not None, fetcher=fetcher)
        response = await stored.by_url(f"{url}/films/bread%20rolls.mp4?x=1")
        assert response.status_code == 201, response.text
        made = response.json()
        assert (made["kind"], made["name"], made["size"]) == ("video", "bread rolls.mp4", len(content))
        assert (await stored.client.get(stored.url(made))).content == content
        assert (await stored.by_url(f"{url}/again")).status_code == 200
        assert (await stored.upload(content, "video/mp4")).json() == made


NO_FILES = [
    (Response(status_code=404), "url-refused", "404"),
    (Response(status_code=500), "url-unreachable", "try again later"),
    (Response(bytes(2 * MIB)), "media-too-large", "larger than 1 MB"),
    (Response(b"<html></html>"), "unsupported-media", "JPEG or PNG"),
    (Response(picture(side=64)[:-300]), "broken-media", "broken image"),
    (Response(b""), "url-refused", "empty"),
    (Response(status_code=302, headers={"location": "http://127.0.0.1:1/"}), "url-refused", "port"),
    (Response(status_code=302, headers={"location": "http://127.0.0.1/"}), "url-refused", "not public"),
]


async def test_urls_that_do_not_give_a_file(media: Media) -> None:
    for answer, kind, says in NO_FILES:
        async with host(lambda answer=answer: answer) as (url, fetcher):
            media.use(fetcher=fetcher)
            response = await media.by_url(f"{url}/a")
        assert says.lower() in faults(response, 422, kind).lower()
        assert [one["pointer"] for one in response.json()["errors"]] == ["/body/url"]
        assert media.rows() == 0


INSIDE = [
    "http://127.0.0.1/",
    "http://2130706433/",
    "https://[::1]/",
    "file:///etc/passwd",
    "https://a@b/",
    "x",
]


async def test_urls_that_lead_inside(media: Media) -> None:
    for url in INSIDE:
        response = await media.by_url(url)
        faults(response, 422, "url-refused")
        assert [one["pointer"] for one in response.json()["errors"]] == ["/body/url"]


NO_URLS = [
    (b"{", 400, None),
    (b"\xff", 400, None),
    (b"{}", 422, {"/body/url"}),
    (b'{"url": 5, "link": "x"}', 422, {"/body/url", "/body/link"}),
    (b'{"url": ""}', 422, {"/body/url"}),
    (b"[]", 422, {"/body"}),
    (json.dumps({"url": "x" * 20_000}).encode(), 413, None),
]


async def test_bodies_that_name_no_url(media: Media) -> None:
    for body, status, pointers in NO_URLS:
        response = await media.upload(body, "application/json")
        faults(response, status)
        if pointers:
            assert {one["pointer"] for one in response.json()["errors"]} == pointers


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("bread.jpg", "bread.jpg"),
        ("C:\\Pictures\\bread.jpg", "bread.jpg"),
        ("../../etc/passwd", "passwd"),
        ("a%00b%0d%0a.jpg", "ab.jpg"),
        ("%e2%80%aegpj.exe", "gpj.exe"),
        ("%ff", "\ufffd"),
        ("x" * 400, "x" * 255),
        ("  ", ""),
        (None, ""),
    ],
)
def test_names(sent: str | None, shown: str) -> None:
    assert clean_name(sent) == shown


async def test_unnamed_files_are_named(media: Media) -> None:
    assert (await media.kept(picture()))["name"] == "image.jpg"
    assert (await media.kept(video(brand=b"qt  "), "video/mp4"))["name"] == "video.mov"


def test_the_description_of_the_api_is_whole(media: Media) -> None:
    app: FastAPI = media.world.app
    described = app.openapi()["paths"]
    assert set(described["/api/v1/media"]["post"]["requestBody"]["content"]) == {
        *("image/jpeg", "image/png", "video/mp4", "video/quicktime", "application/json")
    }
    assert set(described["/api/media/{token}.{extension}"]) == {"get"}
