"""Facebook Pages: texts, photos, reels and stories, and what can be read afterwards."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest

PAGE = "1000000000001"
OTHER = "1000000000002"
JPEG = b"\xff\xd8\xff\xe0 a picture"
MP4 = b"\0\0\0\x18ftypmp42 a video"
FIELDS = "id,message,created_time,permalink_url,attachments{target{id},subattachments{data{target{id}}}}"
NOT_KNOWN = (400, 100, 33)


def url(name: str) -> str:
    return f"http://gateway/media/{name}"


@pytest.fixture(autouse=True)
def files(gateway: Any) -> None:
    gateway.files |= {"a.jpg": JPEG, "b.jpg": JPEG + b" b", "a.mp4": MP4}


async def photo(meta: Any, name: str = "a.jpg", page: str = PAGE) -> str:
    photo: str = (await meta.graph("POST", f"{page}/photos", {"url": url(name), "published": False}))["id"]
    return photo


async def feed(meta: Any, message: str, *photos: str) -> str:
    attached = {"attached_media": [{"media_fbid": each} for each in photos]} if photos else {}
    post: str = (await meta.graph("POST", f"{PAGE}/feed", {"message": message, **attached}))["id"]
    return post


async def begin(meta: Any, edge: str = "video_reels") -> tuple[str, str]:
    begun = await meta.graph("POST", f"{PAGE}/{edge}", {"upload_phase": "start"})
    assert begun["upload_url"] == f"http://sandbox/video-upload/v24.0/{begun['video_id']}"
    return begun["video_id"], begun["upload_url"]


async def upload(meta: Any, address: str, name: str = "a.mp4") -> Any:
    return await meta.http.post(address, headers={"authorization": "OAuth t", "file_url": url(name)})


async def finish(meta: Any, video: str, edge: str = "video_reels", **more: Any) -> Any:
    body = {"upload_phase": "finish", "video_id": video, "video_state": "PUBLISHED", **more}
    return await meta.ask("POST", f"{PAGE}/{edge}", body)


async def status(meta: Any, video: str) -> dict[str, Any]:
    found: dict[str, Any] = (await meta.graph("GET", video, fields="status"))["status"]
    return found


async def until(meta: Any, video: str, wanted: str) -> None:
    await meta.until_node(video, "status", lambda found: found["video_status"] == wanted)


async def listed(meta: Any, **query: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await meta.graph("GET", f"{PAGE}/feed", fields=FIELDS, **query))["data"]
    return rows


async def test_a_text_is_published_and_found(meta: Any) -> None:
    post = await feed(meta, "Bread")
    assert post.startswith(f"{PAGE}_")
    (shown,) = await meta.get("posts")
    assert (shown["platform"], shown["kind"], shown["media_id"], shown["text"]) == (
        "messenger",
        "text",
        post,
        "Bread",
    )
    assert (shown["container_id"], shown["media"]) == (None, [])
    (row,) = await listed(meta)
    assert row.pop("created_time").endswith("+0000")
    assert row == {"id": post, "message": "Bread", "permalink_url": shown["permalink"]}
    read = await meta.graph("GET", post, fields="id,permalink_url")
    assert read == {"id": post, "permalink_url": shown["permalink"]}


async def test_the_feed_is_newest_first_since_a_time(meta: Any) -> None:
    posts = [await feed(meta, str(number)) for number in range(3)]
    assert [row["id"] for row in await listed(meta)] == posts[::-1]
    assert [row["id"] for row in await listed(meta, limit=1, since=int(time.time()) - 60)] == posts[2:]
    assert await listed(meta, since=int(time.time()) + 60) == []
    assert await meta.refused("GET", f"{PAGE}/feed", since="yesterday") == (400, 100, None)


async def test_the_same_as_the_newest_post_is_refused(meta: Any) -> None:
    first, second = await photo(meta), await photo(meta, "b.jpg")
    await feed(meta, "Bread")
    assert await meta.refused("POST", f"{PAGE}/feed", {"message": "Bread"}) == (400, 506, 1455006)
    linked = {"message": "Bread", "link": "https://bakery.example"}
    await meta.graph("POST", f"{PAGE}/feed", linked)
    assert await meta.refused("POST", f"{PAGE}/feed", linked) == (400, 506, 1455006)
    await feed(meta, "Bread", first, second)
    same = {"message": "Bread", "attached_media": [{"media_fbid": second}, {"media_fbid": first}]}
    assert await meta.refused("POST", f"{PAGE}/feed", same) == (400, 506, 1455006)
    await feed(meta, "Cake")
    await feed(meta, "Bread")  # no longer the newest
    assert len(await meta.get("posts")) == 5


async def test_photos_are_attached(meta: Any) -> None:
    first, second, third = await photo(meta), await photo(meta), await photo(meta, "b.jpg")
    assert await meta.get("posts") == []
    one = await feed(meta, "One", first)
    two = await feed(meta, "Two", second, third)
    newest, oldest = await listed(meta)
    assert oldest["attachments"] == {"data": [{"target": {"id": first}}]}
    (album,) = newest["attachments"]["data"]
    assert album["subattachments"]["data"] == [{"target": {"id": second}}, {"target": {"id": third}}]
    shown = await meta.get("posts")
    assert [(each["kind"], each["media_id"]) for each in shown] == [("image", one), ("carousel", two)]
    assert [item["sha256"] for item in shown[1]["media"]] == [
        hashlib.sha256(content).hexdigest() for content in (JPEG, JPEG + b" b")
    ]
    # each photo once
    again = {"message": "Three", "attached_media": [{"media_fbid": third}]}
    assert await meta.refused("POST", f"{PAGE}/feed", again) == (400, 100, None)
    assert (await meta.get("posts/counts"))["repeated_publishes"] == 1


@pytest.mark.parametrize(
    ("edge", "body", "expected"),
    [
        ("photos", {"url": url("gone.jpg"), "published": False}, (400, 324, 2069019)),
        ("photos", {"published": False}, (400, 324, 2069019)),
        ("photos", {"url": url("a.jpg")}, (400, 100, None)),
        ("feed", {}, (400, 100, None)),
        ("feed", {"message": "x", "attached_media": ["1"]}, (400, 100, None)),
        ("feed", {"message": "x", "attached_media": "1"}, (400, 100, None)),
        ("feed", {"message": "x", "attached_media": [{"media_fbid": "1"}]}, NOT_KNOWN),
        ("photo_stories", {"photo_id": "1"}, NOT_KNOWN),
        ("video_reels", {"upload_phase": "finish", "video_id": "1"}, NOT_KNOWN),
        ("video_reels", {"upload_phase": "transfer"}, (400, 100, None)),
        ("video_stories", {}, (400, 100, None)),
    ],
)
async def test_what_is_refused(
    meta: Any, edge: str, body: dict[str, Any], expected: tuple[int, int, int | None]
) -> None:
    assert await meta.refused("POST", f"{PAGE}/{edge}", body) == expected
    counts = await meta.get("posts/counts")
    assert (counts["posts"], counts["containers"]) == (0, 0)


async def test_photos_of_another_page_or_expired_are_not_known(meta: Any) -> None:
    foreign, own = await photo(meta, page=OTHER), await photo(meta)
    for each in (foreign, own):
        body = {"message": "x", "attached_media": [{"media_fbid": each}]}
        assert await meta.refused("POST", f"{PAGE}/feed", body) == NOT_KNOWN
        assert await meta.refused("POST", f"{PAGE}/photo_stories", {"photo_id": each}) == NOT_KNOWN
        await meta.post("containers/expire", account=PAGE)
    assert await meta.get("posts") == []


async def test_a_reel(meta: Any, gateway: Any) -> None:
    video, address = await begin(meta)
    assert await status(meta, video) == {
        "video_status": "upload_complete",
        "uploading_phase": {"status": "not_started"},
        "processing_phase": {"status": "in_progress"},
        "publishing_phase": {"status": "not_started"},
    }
    assert (await finish(meta, video)).json()["error"]["code"] == 9007
    gateway.may_fetch.clear()
    before = (await meta.get("posts/counts"))["without_proof"]
    assert (await upload(meta, address)).json() == {"success": True}
    assert (await meta.get("posts/counts"))["without_proof"] == before  # a host that takes none
    assert (await status(meta, video))["video_status"] == "processing"
    gateway.may_fetch.set()
    await until(meta, video, "ready")
    assert await meta.get("posts") == []
    done = (await finish(meta, video, description="Dough")).json()
    assert done["success"] is True
    (shown,) = await meta.get("posts")
    assert (shown["kind"], shown["text"], shown["media_id"], shown["container_id"]) == (
        "reel",
        "Dough",
        done["post_id"],
        video,
    )
    assert shown["media"][0]["sha256"] == hashlib.sha256(MP4).hexdigest()
    assert await status(meta, video) == {
        "video_status": "ready",
        "uploading_phase": {"status": "complete"},
        "processing_phase": {"status": "complete"},
        "publishing_phase": {"status": "complete", "publish_status": "published"},
    }
    (row,) = await listed(meta)
    assert row["attachments"] == {"data": [{"target": {"id": video}}]}
    again = (await finish(meta, video)).json()["error"]
    assert (again["code"], again["error_subcode"]) == (100, 1363129)
    assert (await meta.get("posts/counts"))["repeated_publishes"] == 1


async def test_uploads_that_do_not_work(meta: Any) -> None:
    video, address = await begin(meta)
    no_url = await meta.http.post(address, headers={"authorization": "OAuth t"})
    assert no_url.json()["error"]["code"] == 100
    assert (await meta.http.post(address, headers={"file_url": url("a.mp4")})).status_code == 401
    unknown = await meta.http.post("/video-upload/v24.0/1", headers={"authorization": "OAuth t"})
    assert unknown.json()["error"]["error_subcode"] == 33
    await upload(meta, address, "gone.mp4")
    await until(meta, video, "error")
    phases = await status(meta, video)
    assert phases["processing_phase"]["status"] == "error"
    assert "2207052" in phases["processing_phase"]["errors"][0]["message"]
    # another try with the same video
    await upload(meta, address)
    await until(meta, video, "ready")


async def test_videos_are_processed_as_ordered_and_expire(meta: Any) -> None:
    await meta.post("processing", seconds=0, outcome="ERROR", kind="video")
    video, address = await begin(meta)
    await upload(meta, address)
    await until(meta, video, "error")
    assert (await finish(meta, video)).json()["error"]["code"] == 9007
    await meta.post("containers/expire")
    assert (await status(meta, video))["video_status"] == "expired"


async def test_stories(meta: Any) -> None:
    picture = await photo(meta)
    first = await meta.graph("POST", f"{PAGE}/photo_stories", {"photo_id": picture})
    assert first["success"] is True
    video, address = await begin(meta, "video_stories")
    await upload(meta, address)
    await until(meta, video, "ready")
    second = (await finish(meta, video, "video_stories")).json()
    stories = (await meta.graph("GET", f"{PAGE}/stories", fields="post_id,media_id,creation_time,status"))[
        "data"
    ]
    assert [(row["post_id"], row["media_id"], row["status"]) for row in stories] == [
        (second["post_id"], video, "PUBLISHED"),
        (first["post_id"], picture, "PUBLISHED"),
    ]
    assert abs(int(stories[0]["creation_time"]) - time.time()) < 5
    assert {each["kind"] for each in await meta.get("posts")} == {"story"}
    assert await listed(meta) == []
    assert await meta.refused("POST", f"{PAGE}/photo_stories", {"photo_id": picture}) == (400, 100, 1363129)
    assert (await meta.get("posts/counts"))["repeated_publishes"] == 1


async def test_comments_have_messages(meta: Any) -> None:
    await meta.post("accounts", platform="messenger", account_id=PAGE, name="Bakery")
    post = await feed(meta, "Bread")
    made = await meta.graph("POST", f"{post}/comments", {"message": "Fresh"})
    rows = (await meta.graph("GET", f"{post}/comments", fields="id,message,from"))["data"]
    assert rows == [{"id": made["id"], "message": "Fresh", "from": {"id": PAGE, "name": "Bakery"}}]
