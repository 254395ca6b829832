"""Comments as the Graph API shows and takes them: pages, threads, answers, and what Instagram fails over."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from typing import Any

import pytest
from PIL import Image

from socialsync_sandbox.fields import Field, parse
from socialsync_sandbox.graph_errors import GraphError

IG = "17841400000000001"
PAGE = "1000000000001"
ACCOUNTS = {"instagram": IG, "messenger": PAGE}
PLATFORMS = list(ACCOUNTS)
WEEK = 7 * 86_400
COMMENT = "id,text,timestamp,username,from,hidden,parent_id"
FULL = f"{COMMENT},replies.limit(50){{{COMMENT}}}"
FIRST = f"comments_count,comments.limit(50){{{FULL}}}"
MEDIA = (
    "id,media_type,media_product_type,caption,permalink,timestamp,comments_count,media_url,thumbnail_url,"
    "children{media_type,media_url,thumbnail_url}"
)
STREAM = {
    "fields": "id,message,created_time,from{id,name},parent{id},is_hidden,attachment",
    "filter": "stream",
    "order": "reverse_chronological",
}
PICTURE = "media_type,media{image{src}}"
POST = (
    f"id,message,permalink_url,created_time,full_picture,attachments{{{PICTURE},subattachments{{{PICTURE}}}}}"
)
NOT_THERE = (400, 100, 33)


async def post(meta: Any, platform: str = "instagram", **more: Any) -> str:
    body = {"platform": platform, "account": ACCOUNTS[platform], **more}
    (found,) = (await meta.post("comments/posts", **body))["posts"]
    return str(found)


async def write(meta: Any, post: str, text: str = "How much?", author: str = "ada", **more: Any) -> str:
    """A comment that only readers find."""
    body = {"post": post, "text": text, "author": {"id": f"id-{author}", "name": author}, "webhook": False}
    return str((await meta.post("comments/write", **body | more))["comment_id"])


async def answer(meta: Any, comment: str, text: str = "Four euros") -> str:
    edge = "comments" if "_" in comment else "replies"
    return str((await meta.graph("POST", f"{comment}/{edge}", {"message": text}))["id"])


async def privately(meta: Any, account: str, comment: str, text: str = "Four euros") -> Any:
    body = {"recipient": {"comment_id": comment}, "message": {"text": text}}
    return await meta.ask("POST", f"{account}/messages", body)


async def first_page(meta: Any, post: str) -> Any:
    return await meta.graph("GET", post, fields=FIRST)


# --- posts ---


@pytest.mark.parametrize(
    ("kind", "media_type", "product", "shown"),
    [
        ("image", "IMAGE", "FEED", {"media_url"}),
        ("video", "VIDEO", "FEED", {"media_url", "thumbnail_url"}),
        ("reel", "VIDEO", "REELS", {"thumbnail_url"}),
        ("carousel", "CAROUSEL_ALBUM", "FEED", {"children"}),
    ],
)
async def test_media_of_others(meta: Any, kind: str, media_type: str, product: str, shown: set[str]) -> None:
    media = await post(meta, kind=kind, caption="Rye", pictures=3, age_seconds=60)
    read = await meta.graph("GET", media, fields=MEDIA)
    assert (read["media_type"], read["media_product_type"]) == (media_type, product)
    assert (read["id"], read["caption"], read["comments_count"]) == (media, "Rye", 0)
    assert read["permalink"].startswith("https://www.instagram.com/")
    assert set(read) & {"media_url", "thumbnail_url", "children"} == shown
    children = read["children"]["data"] if kind == "carousel" else [read]
    assert len(children) == (3 if kind == "carousel" else 1)
    for child in children:
        picture = await meta.http.get(child.get("thumbnail_url") or child["media_url"])
        assert picture.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(picture.content)) as opened:
            opened.load()
            assert (opened.format, opened.size, opened.mode) == ("JPEG", (96, 96), "RGB")
    assert await meta.get("posts") == []


@pytest.mark.parametrize(
    ("kind", "shown"), [("image", ["photo"]), ("carousel", ["album"]), ("reel", ["video"]), ("text", [])]
)
async def test_a_pages_posts(meta: Any, kind: str, shown: list[str]) -> None:
    post_id = await post(meta, "messenger", kind=kind, caption="Closed", pictures=2)
    read = await meta.graph("GET", post_id, fields=POST)
    assert post_id.startswith(f"{PAGE}_")
    assert (read["id"], read["message"]) == (post_id, "Closed")
    assert ("/reel/" in read["permalink_url"]) is (kind == "reel")
    attachments = read.get("attachments", {}).get("data", [])
    assert [each["media_type"] for each in attachments] == shown
    for each in attachments:
        assert each["media"]["image"]["src"] == read["full_picture"]
        parts = each.get("subattachments", {}).get("data", [])
        assert len(parts) == (2 if kind == "carousel" else 0)


async def test_many_posts_and_wrong_ones(meta: Any) -> None:
    body = {"platform": "instagram", "account": IG, "count": 7}
    assert len(set((await meta.post("comments/posts", **body))["posts"])) == 7
    for wrong in ({"kind": "text"}, {"platform": "whatsapp"}, {"count": 0}):
        assert (await meta.http.post("/sandbox/comments/posts", json=body | wrong)).status_code == 422
    assert (await meta.http.get(f"/sandbox/cdn/{await post(meta)}/1")).status_code == 404
    assert (await meta.http.get("/sandbox/cdn/1/0")).status_code == 404
    assert await meta.refused("GET", "1", fields=MEDIA) == NOT_THERE


async def test_a_published_post_can_be_commented_on(meta: Any, gateway: Any) -> None:
    gateway.files["a.jpg"] = b"\xff\xd8\xff a picture"
    container = await meta.graph("POST", f"{IG}/media", {"image_url": "http://gateway/media/a.jpg"})
    media = (await meta.graph("POST", f"{IG}/media_publish", {"creation_id": container["id"]}))["id"]
    own = (await meta.graph("POST", f"{media}/comments", {"message": "First!"}))["id"]
    comment = await write(meta, media)
    read = await first_page(meta, media)
    assert [row["id"] for row in read["comments"]["data"]] == [comment, own]
    assert read["comments_count"] == 2
    (shown,) = await meta.get("posts")
    assert shown["comments"] == [{"id": own, "text": "First!"}]
    url = (await meta.graph("GET", media, fields=MEDIA))["media_url"]
    assert (await meta.http.get(url)).content == gateway.files["a.jpg"]


# --- reading ---


async def test_a_page_of_instagram(meta: Any) -> None:
    media = await post(meta)
    assert await first_page(meta, media) == {"id": media, "comments_count": 0}
    top = await write(meta, media, "How much?", age_seconds=100)
    replies = [await write(meta, media, f"No. {number}", "ben", parent=top) for number in range(2)]
    newest = await write(meta, media, "Lovely", "eve")
    read = await first_page(meta, media)
    assert (read["id"], read["comments_count"]) == (media, 4)
    first, second = read["comments"]["data"]
    assert first["timestamp"].endswith("+0000")
    written = [datetime.fromisoformat(row.pop("timestamp")) for row in (first, second)]
    assert timedelta(seconds=98) < written[0] - written[1] < timedelta(seconds=130)
    assert first == {
        "id": newest, "text": "Lovely", "username": "eve", "from": {"id": "id-eve", "username": "eve"}, "hidden": False,
    }  # fmt: skip
    assert [row["id"] for row in second["replies"]["data"]] == replies
    assert {row["parent_id"] for row in second["replies"]["data"]} == {top}
    assert "next" not in second["replies"]["paging"]
    assert set(read["comments"]["paging"]["cursors"]) == {"before", "after"}


async def test_a_page_of_a_page(meta: Any) -> None:
    post_id = await post(meta, "messenger")
    top = await write(meta, post_id, "How much?")
    reply = await write(meta, post_id, "Me, too", "ben", parent=top)
    deeper = await write(meta, post_id, "And me", "eve", parent=reply)
    assert top.startswith(post_id.partition("_")[2] + "_")
    read = await meta.graph("GET", f"{post_id}/comments", **STREAM, limit=50, summary="total_count")
    assert read["summary"] == {"total_count": 3}
    assert [row["id"] for row in read["data"]] == [deeper, reply, top]
    assert [row.get("parent") for row in read["data"]] == [{"id": reply}, {"id": top}, None]
    assert read["data"][2].pop("created_time")
    assert read["data"][2] == {
        "id": top, "message": "How much?", "from": {"id": "id-ada", "name": "ada"}, "is_hidden": False,
    }  # fmt: skip
    below = await meta.graph("GET", f"{top}/comments", **STREAM)
    assert [row["id"] for row in below["data"]] == [deeper, reply]
    alone = await meta.graph("GET", f"{post_id}/comments", limit=50)
    assert [row["id"] for row in alone["data"]] == [top]


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_pages_follow_each_other_while_people_write_and_delete(meta: Any, platform: str) -> None:
    post_id = await post(meta, platform)
    written = [await write(meta, post_id, f"No. {number}") for number in range(120)]
    fields = COMMENT if platform == "instagram" else STREAM["fields"]
    seen: list[list[str]] = []
    after: dict[str, str] = {}
    while True:
        page = await meta.graph("GET", f"{post_id}/comments", fields=fields, limit=500, **after)
        seen.append([row["id"] for row in page["data"]])
        if "next" not in page["paging"]:
            break
        after = {"after": page["paging"]["cursors"]["after"]}
        await write(meta, post_id, "later")
        await meta.post("comments/delete", comment=seen[-1][-1], webhook=False)
    assert [len(ids) for ids in seen] == [50, 50, 20]
    assert [each for ids in seen for each in ids] == written[::-1]
    assert await meta.refused("GET", f"{post_id}/comments", limit=50, after="?") == (400, 100, None)
    assert await meta.refused("GET", f"{post_id}/comments", limit=50, after="MQ==") == (400, 100, None)


async def test_replies_beyond_those_that_are_shown(meta: Any) -> None:
    media = await post(meta)
    top = await write(meta, media)
    written = [await write(meta, media, f"No. {number}", parent=top) for number in range(51)]
    assert await write(meta, media, "late", parent=written[0]) not in written
    (row,) = (await first_page(meta, media))["comments"]["data"]
    assert [reply["id"] for reply in row["replies"]["data"]] == written[:50]
    assert row["replies"]["paging"]["next"]
    after = row["replies"]["paging"]["cursors"]["after"]
    rest = await meta.graph("GET", f"{top}/replies", fields=COMMENT, limit=50, after=after)
    assert [(reply["text"], reply["parent_id"]) for reply in rest["data"]] == [("No. 50", top), ("late", top)]
    assert "next" not in rest["paging"]
    alone = await meta.graph("GET", top, fields=FULL)
    assert (alone["id"], len(alone["replies"]["data"])) == (top, 50)
    assert "replies" not in await meta.graph("GET", written[0], fields=FULL)


async def test_older_comments_stand_where_they_belong(meta: Any) -> None:
    media = await post(meta)
    new, old, middle = [await write(meta, media, age_seconds=age) for age in (0, 300, 100)]
    rows = (await first_page(meta, media))["comments"]["data"]
    assert [row["id"] for row in rows] == [new, middle, old]


async def test_instagram_fails_over_some_fields(meta: Any) -> None:
    media = await post(meta)
    top = await write(meta, media)
    whim = (500, 1, None)
    for fields in ("id,text", f"{COMMENT},like_count", f"{COMMENT},replies{{id}}"):
        assert await meta.refused("GET", media, fields=f"comments.limit(50){{{fields}}}") == whim
        assert await meta.refused("GET", f"{media}/comments", fields=fields, limit=50) == whim
        assert await meta.refused("GET", f"{top}/replies", fields=fields) == whim
        assert await meta.refused("GET", top, fields=fields) == whim
    assert set(await meta.graph("GET", top)) == set(COMMENT.split(",")) - {"parent_id"}


def test_fields_are_understood() -> None:
    assert parse("") == ()
    assert parse(" id, from{id,name} ,replies.limit(9).order(x){id,parent{id}}") == (
        Field("id"),
        Field("from", None, (Field("id"), Field("name"))),
        Field("replies", 9, (Field("id"), Field("parent", None, (Field("id"),)))),
    )


@pytest.mark.parametrize("text", ["id{", "id}", "id{a{b}", "id{a}b", "{id}", "i-d", "a.limit(1", "id}x"])
async def test_fields_that_are_not(meta: Any, text: str) -> None:
    with pytest.raises(GraphError):
        parse(text)
    assert (await meta.refused("GET", await post(meta), fields=text))[1] == 2500


# --- answers ---


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_an_answer_is_a_comment(meta: Any, gateway: Any, platform: str) -> None:
    account = ACCOUNTS[platform]
    await meta.post("accounts", platform=platform, account_id=account, name="bakery")
    post_id = await post(meta, platform)
    comment = await write(meta, post_id)
    ours = await answer(meta, comment)
    edge = "comments" if platform == "messenger" else "replies"
    (row,) = (await meta.graph("GET", f"{comment}/{edge}"))["data"]
    assert (row["id"], row.get("text") or row["message"]) == (ours, "Four euros")
    assert row["from"]["id"] == account
    await gateway.until(1)
    (entry,) = gateway.received[0][1]["entry"]
    (change,) = entry["changes"]
    value = change["value"]
    assert (entry["id"], value["parent_id"], value["from"]["id"]) == (account, comment, account)
    assert ours in (value.get("id"), value.get("comment_id"))
    assert await meta.refused("POST", f"{comment}/{edge}", {"message": ""}) == (400, 100, None)
    assert (await meta.refused("POST", f"{comment}/{edge}", {"message": "x" * 9000}))[1] == 100


async def test_an_answer_to_a_reply_belongs_to_the_thread(meta: Any) -> None:
    media = await post(meta)
    top = await write(meta, media)
    reply = await write(meta, media, "And now?", "ben", parent=top)
    ours = await answer(meta, reply)
    row = await meta.graph("GET", top, fields=FULL)
    assert [each["id"] for each in row["replies"]["data"]] == [reply, ours]
    assert (await meta.graph("GET", ours, fields=COMMENT))["parent_id"] == top
    assert (await meta.get("comments/report"))["replies"] == {reply: ["Four euros"]}


async def test_a_pages_answer_to_a_reply_stands_below_it(meta: Any) -> None:
    post_id = await post(meta, "messenger")
    top = await write(meta, post_id)
    reply = await write(meta, post_id, parent=top)
    ours = await answer(meta, reply)
    for node, below in ((top, [ours, reply]), (reply, [ours])):
        rows = (await meta.graph("GET", f"{node}/comments", **STREAM))["data"]
        assert [row["id"] for row in rows] == below


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_a_private_answer(meta: Any, gateway: Any, platform: str) -> None:
    account = ACCOUNTS[platform]
    post_id = await post(meta, platform)
    comment = await write(meta, post_id)
    sent = (await privately(meta, account, comment)).json()
    assert sent["recipient_id"] == "id-ada"
    await gateway.until(1)
    (echo,) = gateway.messaging
    assert (echo["sender"]["id"], echo["recipient"]["id"]) == (account, "id-ada")
    assert echo["message"] == {"mid": sent["message_id"], "text": "Four euros", "is_echo": True}
    again = await privately(meta, account, comment)
    assert (again.status_code, again.json()["error"]["code"]) == (400, 10900)
    old = await privately(meta, account, await write(meta, post_id, age_seconds=WEEK + 60))
    assert (old.status_code, old.json()["error"]["error_subcode"]) == (400, 2534022)
    for wrong in (await privately(meta, "5", comment), await privately(meta, account, "5")):
        assert wrong.json()["error"]["error_subcode"] == 33
    assert (await privately(meta, account, await write(meta, post_id), "")).json()["error"]["code"] == 100
    assert await meta.get("sent") == []
    report = await meta.get("comments/report")
    assert (report["private"], report["replies"]) == ({comment: ["Four euros"]}, {})


async def test_hiding(meta: Any, gateway: Any) -> None:
    media, post_id = await post(meta), await post(meta, "messenger")
    seen, told = await write(meta, media), await write(meta, post_id)
    assert await meta.graph("POST", seen, hide="true") == {"success": True}
    assert (await meta.graph("GET", seen, fields=COMMENT))["hidden"] is True
    assert await meta.graph("POST", told, {"is_hidden": True}) == {"success": True}
    assert (await meta.graph("GET", told))["is_hidden"] is True
    assert (await meta.get("comments/report"))["hidden"] == [seen, told]
    await meta.graph("POST", seen, hide="false")
    await meta.graph("POST", told, {"is_hidden": False})
    assert (await meta.get("comments/report"))["hidden"] == []
    await meta.settled()
    assert [value["verb"] for value in gateway.values] == ["hide", "unhide"]
    assert await meta.refused("POST", seen) == (400, 100, None)
    assert await meta.refused("POST", told, {}) == (400, 100, None)


async def test_likes(meta: Any) -> None:
    comment = await write(meta, await post(meta, "messenger"))
    assert await meta.graph("POST", f"{comment}/likes") == {"success": True}
    assert (await meta.get("comments/report"))["liked"] == [comment]
    on_instagram = await write(meta, await post(meta))
    assert (await meta.refused("POST", f"{on_instagram}/likes"))[1] == 2500


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_what_is_deleted_is_gone_with_its_replies(meta: Any, platform: str) -> None:
    post_id = await post(meta, platform)
    top = await write(meta, post_id)
    reply = await write(meta, post_id, parent=top)
    kept = await write(meta, post_id)
    await meta.post("comments/delete", comment=top, webhook=False)
    edge = "comments" if platform == "messenger" else "replies"
    for comment in (top, reply, "5"):
        assert await meta.refused("GET", comment) == NOT_THERE
        assert await meta.refused("GET", f"{comment}/{edge}") == NOT_THERE
        assert await meta.refused("POST", f"{comment}/{edge}", {"message": "x"}) == NOT_THERE
        assert await meta.refused("POST", comment, {"is_hidden": True}, hide="true") == NOT_THERE
        assert await meta.refused("POST", f"{comment}/likes") == NOT_THERE
        assert await meta.refused("GET", comment, token="") == (401, 190, None)
    rows = (await meta.graph("GET", f"{post_id}/comments", filter="stream"))["data"]
    assert [row["id"] for row in rows] == [kept]
    threads = await meta.get("comments/threads", post=post_id)
    assert (threads["count"], [each["id"] for each in threads["threads"]]) == (1, [kept])
