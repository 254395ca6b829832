"""Instagram posts: containers, their states, publishing, its limits, and what can be read afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import Any

import pytest

IG = "17841400000000001"
OTHER = "17841400000000002"
JPEG = b"\xff\xd8\xff\xe0 a picture"
MP4 = b"\0\0\0\x18ftypmp42 a video"
DAY = 86400


def url(name: str) -> str:
    return f"http://gateway/media/{name}"


@pytest.fixture(autouse=True)
def files(gateway: Any) -> dict[str, bytes]:
    gateway.files |= {
        "a.jpg": JPEG,
        "b.jpg": JPEG + b" b",
        "a.png": b"\x89PNG\r\n",
        "a.mp4": MP4,
        "empty.jpg": b"",
    }
    files: dict[str, bytes] = gateway.files
    return files


async def image(meta: Any, account: str = IG, **more: Any) -> str:
    body = {"image_url": url("a.jpg"), "caption": "Bread", **more}
    container: str = (await meta.graph("POST", f"{account}/media", body))["id"]
    return container


async def reel(meta: Any, name: str = "a.mp4", **more: Any) -> str:
    body = {"video_url": url(name), "media_type": "REELS", **more}
    container: str = (await meta.graph("POST", f"{IG}/media", body))["id"]
    return container


async def publish(meta: Any, container: str, account: str = IG) -> str:
    media: str = (await meta.graph("POST", f"{account}/media_publish", {"creation_id": container}))["id"]
    return media


async def post(meta: Any, **more: Any) -> str:
    return await publish(meta, await image(meta, **more))


async def status(meta: Any, container: str) -> str:
    answer = await meta.graph("GET", container, fields="status_code,status")
    assert set(answer) == {"id", "status_code", "status"}
    code: str = answer["status_code"]
    return code


async def until_status(meta: Any, container: str, wanted: str) -> None:
    await meta.until_node(container, "status_code", lambda code: code == wanted)


def at(meta: Any, seconds: float) -> None:
    """It is that much later."""
    now = time.time() + seconds
    meta.sandbox.posts.clock = lambda: now


async def test_an_image_is_published_and_shown(meta: Any) -> None:
    container = await image(meta)
    assert await status(meta, container) == "FINISHED"
    assert await meta.get("posts") == []
    before = time.time()
    media = await publish(meta, container)
    assert await status(meta, container) == "PUBLISHED"
    (shown,) = await meta.get("posts")
    assert before <= shown.pop("at") <= time.time()
    permalink = shown["permalink"]
    assert permalink.startswith("https://www.instagram.com/p/")
    assert shown == {
        "seq": 1, "platform": "instagram", "account": IG, "kind": "image", "media_id": media,
        "container_id": container, "permalink": permalink, "text": "Bread",
        "media": [{"url": url("a.jpg"), "sha256": hashlib.sha256(JPEG).hexdigest(), "bytes": len(JPEG)}],
        "comments": [],
    }  # fmt: skip
    assert await meta.get("posts/counts") == {
        "posts": 1, "by_account": {IG: 1}, "repeated_publishes": 0, "containers": 1, "without_proof": 0,
        "last_seq": 1,
    }  # fmt: skip
    read = await meta.graph("GET", media, fields="id,permalink,timestamp,caption,media_type")
    assert (read["id"], read["permalink"], read["caption"], read["media_type"]) == (
        media,
        permalink,
        "Bread",
        "IMAGE",
    )
    assert read["timestamp"].endswith("+0000")
    assert await meta.graph("GET", media, fields="permalink") == {"id": media, "permalink": permalink}


async def test_media_are_listed_newest_first(meta: Any) -> None:
    ids = [await post(meta, caption=str(number)) for number in range(3)]
    story = await post(meta, media_type="STORIES")
    await publish(meta, await image(meta, OTHER), OTHER)
    listed = await meta.graph("GET", f"{IG}/media", fields="id,caption,timestamp,permalink", limit=2)
    assert [row["id"] for row in listed["data"]] == ids[:0:-1]
    assert set(listed["data"][0]) == {"id", "caption", "timestamp", "permalink"}
    assert [row["id"] for row in (await meta.graph("GET", f"{IG}/stories"))["data"]] == [story]
    assert await meta.refused("GET", f"{IG}/media", limit="many") == (400, 100, None)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"image_url": url("gone.jpg")}, (400, 9004, 2207052)),
        ({"image_url": url("empty.jpg")}, (400, 9004, 2207052)),
        ({"image_url": "no address"}, (400, 9004, 2207052)),
        ({"image_url": url("a.png")}, (400, 36001, 2207083)),
        ({}, (400, 100, None)),
        ({"image_url": 7}, (400, 100, None)),
        ({"image_url": url("a.jpg"), "media_type": "REELS"}, (400, 100, None)),
        ({"video_url": url("a.mp4")}, (400, 100, None)),
        ({"video_url": url("a.mp4"), "media_type": "VIDEO"}, (400, 100, None)),
        ({"video_url": url("a.mp4"), "media_type": "REELS", "is_carousel_item": True}, (400, 100, None)),
        ({"image_url": url("a.jpg"), "media_type": ["IMAGE"]}, (400, 100, None)),
        ({"media_type": "CAROUSEL"}, (400, 100, None)),
        ({"media_type": "CAROUSEL", "children": ["1"]}, (400, 100, None)),
        ({"media_type": "CAROUSEL", "children": ["1"] * 11}, (400, 100, None)),
        ({"media_type": "CAROUSEL", "children": ["1", "2"]}, (400, 100, None)),
    ],
)
async def test_containers_that_are_refused(
    meta: Any, body: dict[str, Any], expected: tuple[int, int, int | None]
) -> None:
    assert await meta.refused("POST", f"{IG}/media", body) == expected
    assert (await meta.get("posts/counts"))["containers"] == 0


async def test_a_carousel_of_pictures_and_videos(meta: Any) -> None:
    children = [
        await image(meta, is_carousel_item=True),
        await reel(meta, media_type="VIDEO", is_carousel_item=True),
        await image(meta, image_url=url("b.jpg"), is_carousel_item=True),
    ]
    await until_status(meta, children[1], "FINISHED")
    assert await meta.refused("POST", f"{IG}/media_publish", {"creation_id": children[0]}) == (400, 100, None)
    body = {"media_type": "CAROUSEL", "children": children, "caption": "Three"}
    carousel = (await meta.graph("POST", f"{IG}/media", body))["id"]
    media = await publish(meta, carousel)
    (shown,) = await meta.get("posts")
    assert (shown["kind"], shown["text"], shown["container_id"]) == ("carousel", "Three", carousel)
    assert [item["url"] for item in shown["media"]] == [url("a.jpg"), url("a.mp4"), url("b.jpg")]
    assert (await meta.graph("GET", media, fields="media_type"))["media_type"] == "CAROUSEL_ALBUM"


async def test_children_have_to_be_ready_and_the_accounts_own(meta: Any, gateway: Any) -> None:
    first = await image(meta, is_carousel_item=True)
    foreign = await image(meta, OTHER, is_carousel_item=True)
    gateway.may_fetch.clear()
    video = await reel(meta, media_type="VIDEO", is_carousel_item=True)

    async def carousel(*children: str) -> tuple[int, int, int | None]:
        body = {"media_type": "CAROUSEL", "children": list(children)}
        answer: tuple[int, int, int | None] = await meta.refused("POST", f"{IG}/media", body)
        return answer

    assert await carousel(first, foreign) == (400, 100, None)
    assert await carousel(first, video) == (400, 9007, 2207027)
    gateway.may_fetch.set()
    alone = await image(meta)
    assert await carousel(first, alone) == (400, 100, None)
    await meta.post("containers/expire")
    assert await carousel(first, first) == (400, 9007, 2207027)


async def test_a_video_is_fetched_behind_the_answer(meta: Any, gateway: Any) -> None:
    gateway.may_fetch.clear()
    container = await reel(meta)
    assert await status(meta, container) == "IN_PROGRESS"
    assert await meta.refused("POST", f"{IG}/media_publish", {"creation_id": container}) == (
        400,
        9007,
        2207027,
    )
    gateway.may_fetch.set()
    await until_status(meta, container, "FINISHED")
    await publish(meta, container)
    (shown,) = await meta.get("posts")
    assert shown["kind"] == "reel"
    assert shown["media"][0]["sha256"] == hashlib.sha256(MP4).hexdigest()
    story = await reel(meta, media_type="STORIES")
    await until_status(meta, story, "FINISHED")
    await publish(meta, story)
    assert (await meta.get("posts", after=1))[0]["kind"] == "story"


async def test_a_video_that_is_not_to_be_had(meta: Any) -> None:
    container = await reel(meta, "gone.mp4")
    await until_status(meta, container, "ERROR")
    assert "2207052" in (await meta.graph("GET", container, fields="status"))["status"]
    assert await meta.refused("POST", f"{IG}/media_publish", {"creation_id": container}) == (
        400,
        9007,
        2207027,
    )


async def test_processing_takes_as_long_and_ends_as_ordered(meta: Any) -> None:
    await meta.post("processing", seconds=60, outcome="ERROR", kind="image")
    slow = await image(meta)
    await meta.post("processing", seconds=0)
    assert await status(meta, await image(meta)) == "FINISHED"
    assert await status(meta, slow) == "IN_PROGRESS"
    at(meta, 61)
    assert await status(meta, slow) == "ERROR"
    await meta.post("processing", seconds=30, outcome="ERROR", kind="video")
    container = await reel(meta)
    await meta.until("posts/counts", lambda _: meta.sandbox.posts.containers[container].ready_at is not None)
    assert await status(meta, container) == "IN_PROGRESS"
    at(meta, 92)
    assert await status(meta, container) == "ERROR"
    assert (await meta.http.post("/sandbox/processing", json={"outcome": "maybe"})).status_code == 422


async def test_containers_expire(meta: Any) -> None:
    old, published = await image(meta), await image(meta)
    await publish(meta, published)
    at(meta, DAY + 1)
    fresh, foreign = await image(meta), await image(meta, OTHER)
    assert await status(meta, old) == "EXPIRED"
    await meta.post("containers/expire", account=IG)
    assert [await status(meta, each) for each in (fresh, foreign, published)] == [
        "EXPIRED",
        "FINISHED",
        "PUBLISHED",
    ]
    await meta.post("containers/expire")
    assert await status(meta, foreign) == "EXPIRED"
    assert await meta.refused("POST", f"{IG}/media_publish", {"creation_id": fresh}) == (400, 9007, 2207027)


async def test_what_cannot_be_published(meta: Any) -> None:
    container = await image(meta)
    assert await meta.refused("GET", "123") == (400, 100, 33)
    assert await meta.refused("POST", f"{IG}/media_publish", {"creation_id": "123"}) == (400, 100, 33)
    assert await meta.refused("POST", f"{OTHER}/media_publish", {"creation_id": container}) == (400, 100, 33)
    await publish(meta, container)
    for repeat in (1, 2):
        again = await meta.refused("POST", f"{IG}/media_publish", {"creation_id": container})
        assert again == (400, 24, 2207006)
        assert (await meta.get("posts/counts"))["repeated_publishes"] == repeat
    assert len(await meta.get("posts")) == 1


async def test_the_quota(meta: Any) -> None:
    async def quota() -> tuple[int, int]:
        (row,) = (await meta.graph("GET", f"{IG}/content_publishing_limit", fields="quota_usage,config"))[
            "data"
        ]
        assert row["config"]["quota_duration"] == DAY
        return row["quota_usage"], row["config"]["quota_total"]

    assert await quota() == (0, 100)
    await post(meta)
    assert await quota() == (1, 100)
    await meta.post("quota", account=IG, total=2)
    await post(meta)
    assert await quota() == (2, 2)
    body = {"creation_id": await image(meta)}
    status_code, *codes = await meta.refused("POST", f"{IG}/media_publish", body)
    assert (status_code, *codes) == (403, 9, 2207042)
    await meta.post("quota", account=IG, used=0)
    assert (await meta.graph("POST", f"{IG}/media_publish", body))["id"]
    assert await quota() == (1, 2)


async def test_comments_are_listed_newest_first(meta: Any) -> None:
    await meta.post("accounts", platform="instagram", account_id=IG, name="bakery")
    media = await post(meta)
    assert await meta.graph("GET", f"{media}/comments") == {"data": []}
    made = [
        (await meta.graph("POST", f"{media}/comments", {"message": f"No. {number}"}))["id"]
        for number in range(51)
    ]
    listed = (await meta.graph("GET", f"{media}/comments", fields="id,text,timestamp,from"))["data"]
    assert [row["id"] for row in listed] == made[:0:-1]
    assert listed[0].pop("timestamp").endswith("+0000")
    assert listed[0] == {"id": made[50], "text": "No. 50", "from": {"id": IG, "username": "bakery"}}
    (shown,) = await meta.get("posts")
    assert shown["comments"][0] == {"id": made[0], "text": "No. 0"}
    assert await meta.refused("POST", f"{media}/comments", {"message": ""}) == (400, 100, None)
    assert await meta.refused("POST", "123/comments", {"message": "x"}) == (400, 100, 33)
    assert await meta.refused("GET", "123/comments") == (400, 100, 33)
    assert await meta.refused("GET", "123/comments", token="") == (401, 190, None)


async def test_posts_are_read_by_account_and_waited_for(meta: Any) -> None:
    first = await post(meta)
    foreign = await publish(meta, await image(meta, OTHER), OTHER)
    assert [each["media_id"] for each in await meta.get("posts", account=OTHER)] == [foreign]
    assert [each["media_id"] for each in await meta.get("posts", after=0)] == [first, foreign]
    assert await meta.get("posts", after=2, wait=0.01) == []
    waiting = asyncio.create_task(meta.get("posts", after=2, account=IG, wait=5))
    await publish(meta, await image(meta, OTHER), OTHER)  # of no interest
    await asyncio.sleep(0)
    assert not waiting.done()
    last = await post(meta)
    assert [(each["seq"], each["media_id"]) for each in await waiting] == [(4, last)]
    await meta.delete("state")
    assert await meta.get("posts") == []
    await post(meta)
    (shown,) = await meta.get("posts", after=4)
    assert shown["seq"] == 5


async def test_small_pictures_are_kept_for_the_page(meta: Any, files: dict[str, bytes]) -> None:
    files["large.jpg"] = JPEG + bytes(300_000)
    media = await post(meta, caption="<b>Fresh</b> bread")
    await meta.graph("POST", f"{media}/comments", {"message": "<i>First</i>"})
    await meta.graph("POST", f"{media}/comments", {"message": "Second"})
    large = await post(meta, image_url=url("large.jpg"))
    picture = await meta.http.get(f"/sandbox/posts/{media}/preview")
    assert (picture.status_code, picture.content) == (200, JPEG)
    assert picture.headers["content-type"] == "image/jpeg"
    assert (await meta.http.get(f"/sandbox/posts/{large}/preview")).status_code == 404
    assert (await meta.http.get("/sandbox/posts/123/preview")).status_code == 404
    (shown, _) = await meta.get("posts")
    page = (await meta.http.get("/")).text
    for part in (
        "&lt;b&gt;Fresh&lt;/b&gt; bread", "&lt;i&gt;First&lt;/i&gt;", f"instagram {IG}, image",
        f'href="{shown["permalink"]}"', f'src="/sandbox/posts/{media}/preview"', "Nobody has written yet",
    ):  # fmt: skip
        assert part in page
    for part in ("<b>", "<i>", "Second", f"/sandbox/posts/{large}/preview"):
        assert part not in page
    for _ in range(30):
        await post(meta)
    assert (await meta.http.get(f"/sandbox/posts/{media}/preview")).status_code == 404
    page = (await meta.http.get("/")).text
    assert page.count("<article>") == 30
    assert page.count("/preview") == 30


async def test_the_page_without_posts(meta: Any) -> None:
    page = (await meta.http.get("/")).text
    assert "<article>" not in page
    assert "Posts" not in page


async def test_a_fresh_start(meta: Any, gateway: Any) -> None:
    await post(meta)
    gateway.may_fetch.clear()
    fetching = await reel(meta)
    await meta.post("quota", account=IG, total=1)
    await meta.post("processing", seconds=9)
    await meta.post("latency", seconds=0.001)
    await meta.post("posting-faults", step="container", kind="permission")
    await meta.delete("state")
    gateway.may_fetch.set()
    assert await meta.get("posts/counts") == {
        "posts": 0, "by_account": {}, "repeated_publishes": 0, "containers": 0, "without_proof": 0, "last_seq": 1,
    }  # fmt: skip
    assert await meta.get("posting-faults") == {"faults": [], "held": 0}
    assert await meta.refused("GET", fetching) == (400, 100, 33)
    assert await status(meta, await image(meta)) == "FINISHED"
    assert meta.sandbox.posts.latency == 0
    await meta.until("posts/counts", lambda _: not meta.sandbox.posts._tasks)
