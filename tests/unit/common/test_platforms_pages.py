"""A Page's publishing calls: what is written on the wire, what is read from it, and whom the token is shown to."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from socialsync_common.contracts import Platform, PostKind
from socialsync_common.errors import AuthenticationExpired, SocialSyncError, TransientError, UnknownOutcome
from socialsync_common.platforms import GraphClient
from socialsync_common.platforms.pages import PagePublisher
from socialsync_common.platforms.publishing import (
    Channel,
    Container,
    ContainerState,
    Draft,
    DraftMedia,
    Duplicate,
)
from socialsync_common.settings import GraphSettings

CHANNEL = Channel(Platform.MESSENGER, "1080", "EAA-token")
PROOF = hmac.new(b"secret", b"EAA-token", hashlib.sha256).hexdigest()
PICTURE = DraftMedia("https://x/a.jpg", is_video=False, alt_text="A loaf")
BARE = DraftMedia("https://x/b.jpg", is_video=False)
VIDEO = DraftMedia("https://x/a.mp4", is_video=True)
TEXT = Draft(PostKind.TEXT, "bread")
IMAGE = Draft(PostKind.IMAGE, "bread", (PICTURE,))
REEL = Draft(PostKind.REEL, "film", (VIDEO,))
STORY = Draft(PostKind.STORY, "", (PICTURE,))
FILM_STORY = Draft(PostKind.STORY, "", (VIDEO,))
SINCE = datetime(2026, 11, 24, 10, tzinfo=UTC)
UPLOAD = "https://rupload.facebook.com/video-upload/v24.0/v1"


class Wire:
    """Keeps the requests, and answers each with the next of what it was given, the last one again and again."""

    def __init__(self, *answers: Any) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]

    @property
    def called(self) -> list[tuple[str, str]]:
        return [(request.method, request.url.path) for request in self.requests]


def publisher(wire: Wire, **settings: Any) -> PagePublisher:
    graph = GraphSettings(**{"meta_app_secret": "secret", **settings})
    return PagePublisher(GraphClient(graph, httpx.Client(transport=httpx.MockTransport(wire))))


def test_a_text_needs_no_container() -> None:
    wire = Wire({"id": "1080_1"})
    mine = publisher(wire)
    assert mine.pieces(TEXT) == 0
    assert mine.look(CHANNEL, TEXT, ()) == Container(ContainerState.READY)
    assert wire.requests == []
    assert mine.publish(CHANNEL, TEXT, ()) == "1080_1"
    (request,) = wire.requests
    assert str(request.url) == f"https://graph.facebook.com/v24.0/1080/feed?appsecret_proof={PROOF}"
    assert request.headers["authorization"] == "Bearer EAA-token"
    assert wire.bodies == [{"message": "bread"}]
    assert not mine.is_told_by_container(TEXT)


def test_photos_are_unpublished_until_the_feed_shows_them() -> None:
    draft = Draft(PostKind.CAROUSEL, "both", (PICTURE, BARE))
    wire = Wire({"id": "p1"}, {"id": "p2"}, {"id": "1080_1"})
    mine = publisher(wire)
    assert mine.pieces(draft) == 2
    made = (mine.create(CHANNEL, draft, ()),)
    made = (*made, mine.create(CHANNEL, draft, made))
    assert mine.publish(CHANNEL, draft, made) == "1080_1"
    assert [path for _, path in wire.called] == [
        "/v24.0/1080/photos",
        "/v24.0/1080/photos",
        "/v24.0/1080/feed",
    ]
    assert wire.bodies == [
        {"url": "https://x/a.jpg", "published": False, "alt_text_custom": "A loaf"},
        {"url": "https://x/b.jpg", "published": False},
        {"message": "both", "attached_media": [{"media_fbid": "p1"}, {"media_fbid": "p2"}]},
    ]
    assert not mine.is_told_by_container(draft)


def test_a_photo_story() -> None:
    wire = Wire({"success": True, "post_id": "1080_7"})
    assert publisher(wire).publish(CHANNEL, STORY, ("p1",)) == "1080_7"
    assert (wire.called, wire.bodies) == ([("POST", "/v24.0/1080/photo_stories")], [{"photo_id": "p1"}])


@pytest.mark.parametrize(("draft", "edge"), [(REEL, "video_reels"), (FILM_STORY, "video_stories")])
def test_a_video_is_announced_and_fetched_by_meta(draft: Draft, edge: str) -> None:
    wire = Wire({"video_id": "v1", "upload_url": UPLOAD}, {"success": True})
    assert publisher(wire).create(CHANNEL, draft, ()) == "v1"
    start, upload = wire.requests
    assert (start.url.path, json.loads(start.content)) == (f"/v24.0/1080/{edge}", {"upload_phase": "start"})
    assert str(upload.url) == UPLOAD
    assert (upload.headers["authorization"], upload.headers["file_url"]) == (
        "OAuth EAA-token",
        "https://x/a.mp4",
    )
    assert upload.content == b""
    assert publisher(wire).is_told_by_container(draft)


def test_a_video_is_published() -> None:
    wire = Wire({"success": True, "post_id": "1080_9"})
    assert publisher(wire).publish(CHANNEL, REEL, ("v1",)) == "1080_9"
    assert publisher(wire).publish(CHANNEL, FILM_STORY, ("v1",)) == "1080_9"
    assert [path for _, path in wire.called] == ["/v24.0/1080/video_reels", "/v24.0/1080/video_stories"]
    assert wire.bodies == [
        {"upload_phase": "finish", "video_id": "v1", "video_state": "PUBLISHED", "description": "film"},
        {"upload_phase": "finish", "video_id": "v1"},
    ]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/video-upload/v24.0/v1",
        "https://rupload.facebook.com.evil.example/v1",
        "https://rupload.facebook.com@evil.example/v1",
        "https://rupload.facebook.com:443@evil.example/",
        "http://rupload.facebook.com/video-upload/v24.0/v1",
        "https://graph.facebook.com/v1",
        "//rupload.facebook.com/v1",
        "https://RUPLOAD.facebook.com.evil.example/v1",
        "https://rupload.facebook.com",
        " https://rupload.facebook.com/v1",
        "/video-upload/v1",
        "7",
    ],
)
def test_the_token_goes_to_metas_upload_host_only(url: str) -> None:
    wire = Wire({"video_id": "v1", "upload_url": url})
    with pytest.raises(UnknownOutcome, match="not Meta's"):
        publisher(wire).create(CHANNEL, REEL, ())
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "url", ["https://rupload.facebook.com/@evil.example/", "https://rupload.facebook.com/..//evil.example"]
)
def test_what_begins_with_the_upload_host_goes_there(url: str) -> None:
    wire = Wire({"video_id": "v1", "upload_url": url}, {"success": True})
    publisher(wire).create(CHANNEL, REEL, ())
    assert [request.url.host for request in wire.requests] == ["graph.facebook.com", "rupload.facebook.com"]


def test_a_redirect_of_the_upload_is_not_followed() -> None:
    moved = httpx.Response(307, headers={"location": "https://evil.example/"})
    wire = Wire({"video_id": "v1", "upload_url": UPLOAD}, moved)
    with pytest.raises(UnknownOutcome):
        publisher(wire).create(CHANNEL, REEL, ())
    assert [request.url.host for request in wire.requests] == ["graph.facebook.com", "rupload.facebook.com"]


def test_the_stand_ins_upload_address_is_its_own() -> None:
    stand_in = "http://127.0.0.1:9999"
    wire = Wire({"video_id": "v1", "upload_url": f"{stand_in}/video-upload/v24.0/v1"}, {"success": True})
    assert publisher(wire, meta_graph_url=stand_in).create(CHANNEL, REEL, ()) == "v1"
    wire = Wire({"video_id": "v1", "upload_url": UPLOAD})
    with pytest.raises(UnknownOutcome):
        publisher(wire, meta_graph_url=stand_in).create(CHANNEL, REEL, ())


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.ReadTimeout("late"), TransientError),  # nobody sees an upload: it may be repeated
        (httpx.ConnectError("no"), TransientError),
        ({"success": False}, UnknownOutcome),
        ({"error": {"code": 1}}, UnknownOutcome),
        (httpx.Response(400, json={"error": {"code": 190}}), AuthenticationExpired),
        (httpx.Response(500, content=b"no"), UnknownOutcome),
    ],
)
def test_an_upload_that_is_not_taken(answer: Any, kind: type[SocialSyncError]) -> None:
    with pytest.raises(kind):
        publisher(Wire({"video_id": "v1", "upload_url": UPLOAD}, answer)).create(CHANNEL, REEL, ())


def test_an_address_that_is_none() -> None:
    url = "https://rupload.facebook.com/" + "x" * 70_000
    with pytest.raises(TransientError):
        publisher(Wire({"video_id": "v1", "upload_url": url})).create(CHANNEL, REEL, ())


@pytest.mark.parametrize(
    "answer", [{}, {"video_id": "v1"}, {"upload_url": UPLOAD}, {"video_id": None, "upload_url": UPLOAD}]
)
def test_a_start_that_says_too_little(answer: Any) -> None:
    with pytest.raises(UnknownOutcome):
        publisher(Wire(answer)).create(CHANNEL, REEL, ())


def phases(
    uploading: Any = "complete",
    processing: Any = "complete",
    publishing: Any = "not_started",
    word: Any = "ready",
) -> Any:
    return {
        "video_status": word,
        "uploading_phase": {"status": uploading},
        "processing_phase": {"status": processing},
        "publishing_phase": {"status": publishing},
    }


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (phases(), ContainerState.READY),
        (phases(word="processing", processing="in_progress"), ContainerState.WORKING),
        (phases("not_started", "not_started", word="upload_complete"), ContainerState.WORKING),
        (phases("in_progress", "not_started", word="processing"), ContainerState.WORKING),
        # uploaded, and processed only when it is published
        (phases("complete", "not_started", word="upload_complete"), ContainerState.READY),
        (phases(publishing="complete"), ContainerState.PUBLISHED),
        # the publish call arrived: another one must not follow
        (phases(publishing="in_progress"), ContainerState.WORKING),
        (phases("complete", "not_started", "in_progress", "processing"), ContainerState.WORKING),
        (phases(publishing="error"), ContainerState.FAILED),
        (phases("error", "not_started", word="error"), ContainerState.FAILED),
        (phases(processing="error", word="error"), ContainerState.FAILED),
        (phases(None, None, None, "error"), ContainerState.FAILED),
        (phases("not_started", "not_started", word="expired"), ContainerState.EXPIRED),
        ({}, ContainerState.WORKING),
        (None, ContainerState.WORKING),
        ("ready", ContainerState.WORKING),
        (
            {"uploading_phase": "complete", "processing_phase": [], "publishing_phase": 7},
            ContainerState.WORKING,
        ),
    ],
)
def test_what_a_video_says(status: Any, state: ContainerState) -> None:
    wire = Wire({"status": status, "id": "v1"})
    assert publisher(wire).look(CHANNEL, REEL, ("v1",)).state is state
    assert (wire.requests[0].url.path, wire.requests[0].url.params["fields"]) == ("/v24.0/v1", "status")


@pytest.mark.parametrize("errors", [[{"message": "Too\x00 long"}], [{}], ["x"], [], None, "x"])
def test_why_a_video_failed(errors: Any) -> None:
    status = {"processing_phase": {"status": "error", "errors": errors}}
    container = publisher(Wire({"status": status})).look(CHANNEL, REEL, ("v1",))
    assert (container.state, container.may_succeed) == (ContainerState.FAILED, True)
    assert "\x00" not in container.reason


@pytest.mark.parametrize("draft", [TEXT, IMAGE, STORY, REEL, FILM_STORY])
@pytest.mark.parametrize(
    "answer",
    [{}, {"success": True}, {"id": None, "post_id": ""}, httpx.ReadError("cut"), httpx.Response(502)],
)
def test_an_answer_without_an_id_leaves_it_open(draft: Draft, answer: Any) -> None:
    wire = Wire(answer)
    with pytest.raises(UnknownOutcome):
        publisher(wire).publish(CHANNEL, draft, ("p1",) if draft.media else ())
    assert len(wire.requests) == 1


def refusal(code: int, subcode: int) -> httpx.Response:
    return httpx.Response(400, json={"error": {"code": code, "error_subcode": subcode}})


def test_refusals_are_told_apart() -> None:
    with pytest.raises(Duplicate):
        publisher(Wire(refusal(506, 1455006))).publish(CHANNEL, TEXT, ())
    with pytest.raises(UnknownOutcome):  # published already: by an earlier call
        publisher(Wire(refusal(100, 1363129))).publish(CHANNEL, REEL, ("v1",))
    with pytest.raises(TransientError):
        publisher(Wire(refusal(324, 2069019))).create(CHANNEL, IMAGE, ())


# --- finding a post that is live ---


def row(
    number: int, message: Any = "bread", at: Any = "2026-11-24T10:00:05+0000", *targets: str
) -> dict[str, Any]:
    attachments = [{"target": {"id": target}} for target in targets]
    return {
        "id": f"1080_{number}",
        "message": message,
        "created_time": at,
        "attachments": {"data": attachments},
    }


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([], None),
        ([row(1)], "1080_1"),
        ([row(2, "rolls"), row(1)], "1080_1"),
        ([row(1), row(2)], None),
        ([row(1, at="2026-11-24T09:58:59+0000")], None),
        ([row(1, at="2026-11-24T09:59:01+0000")], "1080_1"),
        ([row(1, at="2026-11-24T10:00:05")], None),
        ([row(1, None)], None),
        ([{"message": "bread", "created_time": "2026-11-24T10:00:05+0000"}], None),
    ],
)
def test_a_text_is_found_by_its_words_and_time(rows: list[Any], found: str | None) -> None:
    wire = Wire({"data": rows, "paging": {"next": "https://elsewhere/"}})
    assert publisher(wire).find(CHANNEL, TEXT, (), SINCE) == found
    (request,) = wire.requests
    params = dict(request.url.params)
    assert request.url.path == "/v24.0/1080/feed"
    assert (params["since"], params["limit"]) == (str(int(SINCE.timestamp()) - 60), "25")
    assert (
        params["fields"] == "id,message,created_time,attachments{target{id},subattachments{data{target{id}}}}"
    )


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([row(1, "bread", "2026-11-24T10:00:05+0000", "p1")], "1080_1"),
        ([row(1, "edited since", "x", "p1")], "1080_1"),  # its photo is nobody else's
        ([row(1, "bread", "2026-11-24T10:00:05+0000", "p9")], None),  # the same words with another photo
        ([row(1)], None),
        (
            [
                {
                    **row(1),
                    "attachments": {
                        "data": [
                            {"target": {"id": "x"}, "subattachments": {"data": [{"target": {"id": "p1"}}]}}
                        ]
                    },
                }
            ],
            "1080_1",
        ),
        ([{**row(1), "attachments": None}, {**row(2), "attachments": {"data": [7, {"target": "p1"}]}}], None),
    ],
)
def test_a_post_with_photos_is_found_by_them(rows: list[Any], found: str | None) -> None:
    assert publisher(Wire({"data": rows})).find(CHANNEL, IMAGE, ("p1", "p2"), SINCE) == found


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([{"post_id": "7", "media_id": "p1"}], "7"),
        ([{"post_id": 7, "media_id": 1}], None),
        ([{"post_id": "7", "media_id": "p9"}], None),
        ([{"media_id": "p1"}], None),
    ],
)
def test_a_story_is_found_by_its_photo(rows: list[Any], found: str | None) -> None:
    wire = Wire({"data": rows})
    assert publisher(wire).find(CHANNEL, STORY, ("p1",), SINCE) == found
    assert wire.called == [("GET", "/v24.0/1080/stories")]


# --- permalink and comments ---


@pytest.mark.parametrize("link", ["https://www.facebook.com/1080/posts/1", None])
def test_permalink(link: str | None) -> None:
    wire = Wire({"permalink_url": link, "id": "1080_1"})
    assert publisher(wire).permalink(CHANNEL, "1080_1") == link
    assert wire.requests[0].url.params["fields"] == "permalink_url"


def test_comments() -> None:
    wire = Wire({"id": "k1"})
    assert publisher(wire).comment(CHANNEL, "1080_1", "which one?") == "k1"
    assert (wire.called, wire.bodies) == ([("POST", "/v24.0/1080_1/comments")], [{"message": "which one?"}])
    ours = {"id": "k1", "message": "which one?", "from": {"id": "1080"}}
    wire = Wire({"data": [{**ours, "id": "k0", "from": {"id": "5"}}, ours]})
    assert publisher(wire).find_comment(CHANNEL, "1080_1", "which one?") == "k1"
    assert wire.requests[0].url.params["fields"] == "id,message,from"


def test_pages_have_no_quota() -> None:
    wire = Wire({})
    assert publisher(wire).quota(CHANNEL) is None
    assert wire.requests == []


@pytest.mark.parametrize(
    "call",
    [
        lambda mine: mine.create(CHANNEL, IMAGE, ()),
        lambda mine: mine.create(CHANNEL, REEL, ()),
        lambda mine: mine.look(CHANNEL, REEL, ("v1",)),
        lambda mine: mine.publish(CHANNEL, TEXT, ()),
        lambda mine: mine.find(CHANNEL, TEXT, (), SINCE),
        lambda mine: mine.permalink(CHANNEL, "1"),
        lambda mine: mine.comment(CHANNEL, "1", "x"),
        lambda mine: mine.find_comment(CHANNEL, "1", "x"),
    ],
)
def test_every_call_proves_that_the_app_makes_it(call: Callable[[PagePublisher], Any]) -> None:
    wire = Wire(refusal(190, 463))
    with pytest.raises(AuthenticationExpired) as caught:
        call(publisher(wire))
    assert "EAA-token" not in str(caught.value)
    for request in wire.requests:
        assert request.url.params["appsecret_proof"] == PROOF
        assert "EAA-token" not in str(request.url)
