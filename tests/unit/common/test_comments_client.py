"""The Graph client for comments: what is written on the wire, and what is read from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comments_wire import (
    AT,
    AT_TEXT,
    IG,
    PAGE,
    READS,
    WRITES,
    Wire,
    do,
    edge,
    fb_row,
    ids,
    ig_row,
    instagram,
    page,
)
from socialsync_common.errors import (
    PermanentError,
    TransientError,
    UnknownOutcome,
)
from socialsync_common.platforms.comments import (
    CommentPage,
    CommentsApi,
    PostDetails,
    RemoteComment,
)
from socialsync_common.platforms.publishing import Channel

# posts


@pytest.mark.parametrize(
    ("media", "kind", "pictures"),
    [
        (
            {"media_type": "IMAGE", "media_product_type": "FEED", "media_url": "https://x/a.jpg"},
            "image",
            ("https://x/a.jpg",),
        ),
        (
            {"media_type": "VIDEO", "media_product_type": "REELS", "thumbnail_url": "https://x/t.jpg"},
            "reel",
            ("https://x/t.jpg",),
        ),
        # what is at a video's address is no picture
        ({"media_type": "VIDEO", "media_url": "https://x/a.mp4"}, "video", ()),
        ({"media_type": "IMAGE", "media_product_type": "STORY"}, "story", ()),
        (
            {
                "media_type": "CAROUSEL_ALBUM",
                "media_url": "https://x/0.jpg",
                "children": {
                    "data": [
                        {"media_type": "VIDEO", "media_url": "https://x/1.mp4"},
                        {"media_type": "VIDEO", "thumbnail_url": "https://x/2.jpg"},
                        *({"media_type": "IMAGE", "media_url": f"https://x/{n}.jpg"} for n in range(3, 9)),
                    ]
                },
            },
            "carousel",
            tuple(f"https://x/{n}.jpg" for n in range(2, 6)),
        ),
        ({"media_type": "HOLOGRAM", "media_url": "https://x/a"}, "other", ()),
        ({"media_type": "IMAGE", "media_url": "file:///etc/passwd"}, "image", ()),
        ({"media_type": 7, "media_product_type": None, "children": [1]}, "other", ()),
    ],
)
def test_an_instagram_post(media: dict[str, Any], kind: str, pictures: tuple[str, ...]) -> None:
    answer = {
        "caption": "Rye",
        "permalink": "https://ig/p",
        "timestamp": AT_TEXT,
        "comments_count": 3,
        **media,
    }
    wire = Wire(answer)
    assert instagram(wire).details(IG, "55") == PostDetails(kind, "Rye", "https://ig/p", AT, 3, pictures)
    assert wire.called == ["GET 55"]
    assert "children{media_type,media_url,thumbnail_url}" in wire.asked[0]["fields"]


def fb_media(kind: str, source: str | None = None, *parts: str) -> dict[str, Any]:
    media: dict[str, Any] = {"media_type": kind}
    if source:
        media["media"] = {"image": {"src": source}}
    if parts:
        media["subattachments"] = {"data": [fb_media("photo", part) for part in parts]}
    return media


@pytest.mark.parametrize(
    ("post", "kind", "pictures"),
    [
        ({}, "text", ()),
        ({"attachments": {"data": [fb_media("photo", "https://x/a")]}}, "image", ("https://x/a",)),
        ({"attachments": {"data": [fb_media("video", "https://x/t")]}}, "video", ("https://x/t",)),
        (
            {
                "attachments": {"data": [fb_media("video", "https://x/t")]},
                "permalink_url": "https://fb/reel/5",
            },
            "reel",
            ("https://x/t",),
        ),
        (
            {
                "attachments": {
                    "data": [fb_media("album", "https://x/0", *(f"https://x/{n}" for n in range(1, 9)))]
                }
            },
            "carousel",
            tuple(f"https://x/{n}" for n in range(1, 5)),
        ),
        (
            {"attachments": {"data": [fb_media("link")]}, "full_picture": "https://x/f"},
            "other",
            ("https://x/f",),
        ),
        # what is left of a photo's post where the attachments were not asked for
        ({"full_picture": "https://x/f"}, "other", ("https://x/f",)),
        ({"attachments": {"data": [{"media": {"image": "x"}, "subattachments": 7}]}}, "other", ()),
    ],
)
def test_a_pages_post(post: dict[str, Any], kind: str, pictures: tuple[str, ...]) -> None:
    wire = Wire({"message": "Rye", "permalink_url": "https://fb/p", "created_time": AT_TEXT, **post})
    found = page(wire).details(PAGE, "1080_5")
    assert found == PostDetails(kind, "Rye", found.permalink, AT, None, pictures)
    assert wire.called == ["GET 1080_5"]


# pages of comments


def test_instagrams_first_page_with_its_count_and_replies_in_one_call() -> None:
    old = ig_row("2", replies=edge(ig_row("3", parent_id="2"), ig_row("4", **{"from": {"id": "1784"}})))
    long = ig_row("5", replies=edge(ig_row("6"), after="r50"))
    wire = Wire({"comments_count": 61, "comments": edge(ig_row("9"), long, old, after="c50"), "id": "55"})
    found = instagram(wire).page(IG, "55")
    assert ids(found) == [("9", None), ("5", None), ("6", "5"), ("2", None), ("3", "2"), ("4", "2")]
    assert (found.count, found.after, found.unfinished_threads) == (61, "c50", ("5",))
    assert found.comments[0] == RemoteComment("9", None, "77", "ada", "How much?", AT, hidden=False)
    assert found.comments[-1].author_id == "1784"
    assert wire.called == ["GET 55"]
    comment = "id,text,timestamp,username,from,hidden,parent_id"
    fields = f"comments_count,comments.limit(50){{{comment},replies.limit(50){{{comment}}}}}"
    assert wire.asked == [{"fields": fields}]


def test_instagrams_next_pages() -> None:
    wire = Wire(edge(ig_row("8"), after="c100"), edge(ig_row("7")))
    mine = instagram(wire)
    second = mine.page(IG, "55", "c 5/0&")
    assert (second.count, second.after) == (None, "c100")
    assert mine.page(IG, "55", second.after).after is None
    assert wire.called == ["GET 55/comments"] * 2
    assert [(each["after"], each["limit"]) for each in wire.asked] == [("c 5/0&", "50"), ("c100", "50")]
    assert b"after=c+5%2F0%26" in wire.requests[0].url.query
    assert "replies.limit(50){" in wire.asked[0]["fields"]


def test_instagrams_replies() -> None:
    wire = Wire(edge(ig_row("3"), ig_row("4", parent_id="2"), after="r50"))
    found = instagram(wire).replies(IG, "2", "r0")
    assert (ids(found), found.after, found.unfinished_threads) == ([("3", "2"), ("4", "2")], "r50", ())
    assert wire.called == ["GET 2/replies"]
    assert wire.asked[0]["after"] == "r0"


def test_a_pages_stream() -> None:
    attachment = {"type": "photo", "media": {"image": {"src": "https://x/a"}}}
    rows = (
        fb_row("5_3", parent={"id": "5_1"}, message="", attachment=attachment),
        fb_row("5_2", is_hidden=True),
        fb_row("5_1"),
    )
    wire = Wire({**edge(*rows, after="c50"), "summary": {"total_count": 51}}, edge())
    mine = page(wire)
    found = mine.page(PAGE, "1080_5")
    assert ids(found) == [("5_3", "5_1"), ("5_2", None), ("5_1", None)]
    assert (found.count, found.after, found.unfinished_threads) == (51, "c50", ())
    assert [each.hidden for each in found.comments] == [False, True, False]
    assert found.comments[0].attachment == attachment
    assert found.comments[2] == RemoteComment("5_1", None, "77", "Ada L", "How much?", AT, hidden=False)
    assert mine.page(PAGE, "1080_5", "c50") == CommentPage(())
    fields = "id,message,created_time,from{id,name},parent{id},is_hidden,attachment"
    common = {"fields": fields, "filter": "stream", "order": "reverse_chronological", "limit": "50"}
    assert wire.asked == [{**common, "summary": "total_count"}, {**common, "after": "c50"}]
    assert wire.called == ["GET 1080_5/comments"] * 2


# one comment


def test_a_comments_state_on_instagram_is_one_call_where_it_can_be() -> None:
    wire = Wire(ig_row("2", text="And now?", hidden=True, replies=edge(ig_row("3"), ig_row("4"))))
    found = instagram(wire).state(IG, "2")
    assert (found.comment.id, found.comment.text, found.comment.hidden) == ("2", "And now?", True)
    assert [each.id for each in found.replies] == ["3", "4"]
    assert found.complete
    assert wire.called == ["GET 2"]


def test_all_replies_are_read_for_a_state() -> None:
    first = ig_row("2", replies=edge(ig_row("3"), after="r1"))
    wire = Wire(first, edge(ig_row("4"), after="r2"), edge(ig_row("5")))
    found = instagram(wire).state(IG, "2")
    assert [(each.id, each.parent_id) for each in found.replies] == [("3", "2"), ("4", "2"), ("5", "2")]
    assert found.complete
    assert [each.get("after") for each in wire.asked] == [None, "r1", "r2"]


@pytest.mark.parametrize(("api", "channel", "row"), [(instagram, IG, ig_row("2")), (page, PAGE, fb_row("2"))])
def test_a_state_without_an_end_is_not_complete(
    api: Callable[[Wire], CommentsApi], channel: Channel, row: dict[str, Any]
) -> None:
    more = edge({**row, "id": "3"}, after="r")
    wire = Wire({**row, "replies": more}, more)
    found = api(wire).state(channel, "2")
    assert (len(found.replies), found.complete) == (10, False)
    # a page that goes on, and does not say where
    lost = {"data": [], "paging": {"next": "https://x"}}
    assert not api(Wire({**row, "replies": lost}, lost)).state(channel, "2").complete


def test_a_comments_state_on_a_page_has_the_oldest_reply_first() -> None:
    newest = edge(fb_row("5_4", parent={"id": "5_1"}), after="r1")
    wire = Wire(fb_row("5_1"), newest, edge(fb_row("5_3")))
    found = page(wire).state(PAGE, "5_1")
    assert [(each.id, each.parent_id) for each in found.replies] == [("5_3", "5_1"), ("5_4", "5_1")]
    assert found.complete
    assert wire.called == ["GET 5_1", "GET 5_1/comments", "GET 5_1/comments"]
    assert "summary" not in wire.asked[1]


@pytest.mark.parametrize(("api", "channel"), [(instagram, IG), (page, PAGE)])
def test_a_state_without_an_id_proves_nothing(api: Callable[[Wire], CommentsApi], channel: Channel) -> None:
    with pytest.raises(TransientError, match="without its id"):
        api(Wire({})).state(channel, "2")


# what is said and done


def test_answers_on_instagram() -> None:
    wire = Wire({"id": 901}, {"recipient_id": "77", "message_id": "mid.1"}, {"success": True})
    mine = instagram(wire)
    assert mine.reply(IG, "2", "Four euros") == "901"
    assert mine.reply_privately(IG, "2", "Four euros") == "mid.1"
    mine.hide(IG, "2")
    assert wire.called == ["POST 2/replies", "POST 1784/messages", "POST 2"]
    assert [json.loads(each.content) for each in wire.requests[:2]] == [
        {"message": "Four euros"},
        {"recipient": {"comment_id": "2"}, "message": {"text": "Four euros"}},
    ]
    assert wire.asked[2] == {"hide": "true"}
    assert not mine.can_like
    with pytest.raises(PermanentError, match="like"):
        mine.like(IG, "2")
    assert len(wire.requests) == 3


def test_answers_on_a_page() -> None:
    wire = Wire({"id": "5_9"}, {"recipient_id": "77", "message_id": "m_1"}, {"success": True})
    mine = page(wire)
    assert mine.reply(PAGE, "5_2", "Four euros") == "5_9"
    assert mine.reply_privately(PAGE, "5_2", "Four euros") == "m_1"
    mine.hide(PAGE, "5_2")
    mine.like(PAGE, "5_2")
    assert wire.called == ["POST 5_2/comments", "POST 1080/messages", "POST 5_2", "POST 5_2/likes"]
    assert [json.loads(each.content) for each in wire.requests[:3]] == [
        {"message": "Four euros"},
        {
            "recipient": {"comment_id": "5_2"},
            "message": {"text": "Four euros"},
            "messaging_type": "RESPONSE",
        },
        {"is_hidden": True},
    ]
    assert mine.can_like


# whatever comes


def test_ids_and_cursors_are_quoted() -> None:
    wire = Wire(edge())
    mine = instagram(wire)
    mine.replies(IG, "../1784?fields=access_token#", "a&limit=9")
    mine.replies(IG, "..")
    mine.replies(IG, "\ud800")
    assert [each.url.raw_path.partition(b"?")[0] for each in wire.requests] == [
        b"/v24.0/%2E%2E%2F1784%3Ffields%3Daccess_token%23/replies",
        b"/v24.0/%2E%2E/replies",
        b"/v24.0/%3F/replies",
    ]
    assert (wire.asked[0]["after"], wire.asked[0]["limit"]) == ("a&limit=9", "50")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a\0b", "ab"),
        ("half \ud83d of a pair", "half \ufffd of a pair"),
        ("👋🏽 grüezi", "👋🏽 grüezi"),
        ("x" * 30_000, "x" * 20_000),
        (None, ""),
        (17, ""),
        (["a"], ""),
    ],
)
def test_texts_can_be_stored(text: Any, read: str) -> None:
    body = json.dumps(edge(ig_row("2", text=text))).encode()
    found = instagram(Wire(httpx.Response(200, content=body))).replies(IG, "1")
    assert found.comments[0].text == read


@pytest.mark.parametrize(
    ("time", "read"),
    [
        ("2026-11-24T11:00:00+0100", AT),
        ("2026-11-24T10:00:00Z", AT),
        ("2026-11-24T10:00:00", None),
        ("0001-01-01T00:00:00+2300", None),
        ("2026-13-24T10:00:00+0000", None),
        ("", None),
        (1795514400, None),
        (None, None),
    ],
)
def test_times(time: Any, read: datetime | None) -> None:
    found = instagram(Wire(edge(ig_row("2", timestamp=time)))).replies(IG, "1")
    assert found.comments[0].written_at == read


def test_rows_that_miss_members() -> None:
    rows = (None, 7, {}, {"id": None}, {"id": ""}, {"id": "é"}, {"id": "9" * 201}, {"id": True}, {"id": 5})
    assert instagram(Wire(edge(*rows))).replies(IG, "1").comments == (
        RemoteComment("5", "1", None, None, "", None, hidden=False),
    )
    assert page(Wire(edge(*rows))).page(PAGE, "1").comments == (
        RemoteComment("5", None, None, None, "", None, hidden=False),
    )
    odd = {"id": "5", "from": "ada", "username": " \0 ", "hidden": "yes", "parent_id": [1], "text": {}}
    assert instagram(Wire(edge(odd))).replies(IG, "1").comments == (
        RemoteComment("5", "1", None, None, "", None, hidden=False),
    )


def test_an_attachment_can_be_stored() -> None:
    deep: Any = "end"
    for _ in range(20):
        deep = {"in": deep}
    raw = {"title": "a\0b\ud800", "k\0": [1, True, None, float("nan"), deep]}
    body = json.dumps(edge(fb_row("2", attachment=raw))).encode()
    found = page(Wire(httpx.Response(200, content=body))).page(PAGE, "1").comments[0].attachment
    assert found is not None
    assert found["title"] == "ab\ufffd"
    assert found["k"][:4] == [1, True, None, None]
    assert json.dumps(found["k"][4]).count("in") == 6
    assert "end" not in json.dumps(found)


def test_what_people_wrote_is_not_in_representations() -> None:
    found = instagram(Wire({**ig_row("2"), "replies": edge(ig_row("3"))})).state(IG, "2")
    assert "How much" not in repr(found)
    assert "ada" not in repr(found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = (
    "id", "data", "comments", "replies", "paging", "cursors", "after", "next", "from", "parent", "text", "message",
    "timestamp", "created_time", "attachments", "media", "image", "children", "error", "code", "summary",
)  # fmt: skip
ANSWERS = st.recursive(
    JSON,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=5)
        | st.fixed_dictionaries({"data": st.lists(inner, max_size=3)})
    ),
    max_leaves=12,
)


@given(answer=ANSWERS, status=st.sampled_from([200, 200, 200, 400, 403, 500]), header=st.none() | JSON)
def test_any_answer_is_read_or_raises_a_documented_error(answer: Any, status: int, header: Any) -> None:
    headers = {"X-App-Usage": json.dumps(header), "X-Business-Use-Case-Usage": json.dumps({"1784": header})}
    response = httpx.Response(status, content=json.dumps(answer).encode(), headers=headers)
    for make, channel, name in READS:
        api = make(Wire(response))
        with suppress(TransientError, PermanentError):
            do(api, channel, name)
        api.usage(channel)
    for make, channel, name in WRITES:
        with suppress(TransientError, PermanentError, UnknownOutcome):
            do(make(Wire(response)), channel, name)
