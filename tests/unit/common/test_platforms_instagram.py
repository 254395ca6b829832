"""Instagram's publishing calls: what is written on the wire, and what is read from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from socialsync_common.contracts import Platform, PostKind
from socialsync_common.errors import AuthenticationExpired, TransientError, UnknownOutcome
from socialsync_common.platforms import GraphClient
from socialsync_common.platforms.instagram import InstagramPublisher, is_after
from socialsync_common.platforms.publishing import (
    Channel,
    Container,
    ContainerState,
    Draft,
    DraftMedia,
    NotReady,
    Quota,
    Unreadable,
)
from socialsync_common.settings import GraphSettings

CHANNEL = Channel(Platform.INSTAGRAM, "17841", "IGAA-token")
PICTURE = DraftMedia("https://x/a.jpg", is_video=False, alt_text="A loaf")
VIDEO = DraftMedia("https://x/a.mp4", is_video=True, alt_text="A film")
IMAGE = Draft(PostKind.IMAGE, "bread", (PICTURE,))
SINCE = datetime(2026, 11, 24, 10, tzinfo=UTC)


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
        if isinstance(answer, httpx.Response):
            return answer
        return httpx.Response(200, json=answer)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]

    @property
    def called(self) -> list[tuple[str, str]]:
        return [(request.method, request.url.path) for request in self.requests]


def publisher(wire: Wire) -> InstagramPublisher:
    settings = GraphSettings(meta_app_secret="secret")  # type: ignore[arg-type]
    return InstagramPublisher(GraphClient(settings, httpx.Client(transport=httpx.MockTransport(wire))))


@pytest.mark.parametrize(
    ("draft", "body"),
    [
        (IMAGE, {"image_url": "https://x/a.jpg", "alt_text": "A loaf", "caption": "bread"}),
        (
            Draft(PostKind.IMAGE, "", (DraftMedia("https://x/a.jpg", is_video=False),)),
            {"image_url": "https://x/a.jpg", "caption": ""},
        ),
        (
            Draft(PostKind.REEL, "film", (VIDEO,)),
            {"video_url": "https://x/a.mp4", "media_type": "REELS", "caption": "film"},
        ),
        (
            Draft(PostKind.VIDEO, "film", (VIDEO,)),
            {"video_url": "https://x/a.mp4", "media_type": "REELS", "caption": "film"},
        ),
        (
            Draft(PostKind.STORY, "", (PICTURE,)),
            {"image_url": "https://x/a.jpg", "alt_text": "A loaf", "media_type": "STORIES"},
        ),
        (Draft(PostKind.STORY, "", (VIDEO,)), {"video_url": "https://x/a.mp4", "media_type": "STORIES"}),
    ],
)
def test_one_container(draft: Draft, body: dict[str, Any]) -> None:
    wire = Wire({"id": "c1"})
    assert publisher(wire).pieces(draft) == 1
    assert publisher(wire).create(CHANNEL, draft, ()) == "c1"
    (request,) = wire.requests
    assert str(request.url) == "https://graph.instagram.com/v24.0/17841/media"
    assert request.headers["authorization"] == "Bearer IGAA-token"
    assert wire.bodies == [body]


def test_a_carousel_is_made_of_its_items_and_one_that_holds_them() -> None:
    draft = Draft(PostKind.CAROUSEL, "both", (PICTURE, VIDEO))
    wire = Wire({"id": "a"}, {"id": "b"}, {"id": "whole"})
    made: tuple[str, ...] = ()
    while len(made) < publisher(wire).pieces(draft):
        made = (*made, publisher(wire).create(CHANNEL, draft, made))
    assert made == ("a", "b", "whole")
    assert wire.bodies == [
        {"image_url": "https://x/a.jpg", "alt_text": "A loaf", "is_carousel_item": True},
        {"video_url": "https://x/a.mp4", "is_carousel_item": True, "media_type": "VIDEO"},
        {"media_type": "CAROUSEL", "children": ["a", "b"], "caption": "both"},
    ]


def test_a_text_stays_whole_on_the_wire() -> None:
    text = 'Ünï 👋 " \\ \n #bread @baker'
    wire = Wire({"id": "c1"})
    publisher(wire).create(CHANNEL, Draft(PostKind.IMAGE, text, (PICTURE,)), ())
    assert wire.bodies[0]["caption"] == text


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("IN_PROGRESS", ContainerState.WORKING),
        ("FINISHED", ContainerState.READY),
        ("PUBLISHED", ContainerState.PUBLISHED),
        ("EXPIRED", ContainerState.EXPIRED),
    ],
)
def test_what_a_container_says(status: str, state: ContainerState) -> None:
    wire = Wire({"status_code": status, "id": "c1"})
    assert publisher(wire).look(CHANNEL, IMAGE, ("c1",)) == Container(state)
    (request,) = wire.requests
    assert (request.url.path, dict(request.url.params)) == ("/v24.0/c1", {"fields": "status_code,status"})


def test_a_container_in_error() -> None:
    wire = Wire({"status_code": "ERROR", "status": "Error: Media upload has failed with error code 2207026"})
    container = publisher(wire).look(CHANNEL, IMAGE, ("c1",))
    assert (container.state, container.may_succeed) == (ContainerState.FAILED, False)
    assert publisher(Wire({"status_code": "ERROR", "status": None})).look(CHANNEL, IMAGE, ("c1",)).may_succeed


@pytest.mark.parametrize("status", [None, "", "NEW", [], {}, 7, True])
def test_a_container_in_a_state_that_nobody_knows(status: Any) -> None:
    with pytest.raises(UnknownOutcome, match="unknown status"):
        publisher(Wire({"status_code": status})).look(CHANNEL, IMAGE, ("c1",))


def test_a_whole_carousel_is_asked_about_by_its_last_container() -> None:
    draft = Draft(PostKind.CAROUSEL, "both", (PICTURE, VIDEO))
    wire = Wire({"status_code": "FINISHED"})
    assert publisher(wire).look(CHANNEL, draft, ("a", "b", "whole")).state is ContainerState.READY
    assert wire.called == [("GET", "/v24.0/whole")]


def test_of_a_carousels_items_the_first_that_is_not_ready_speaks() -> None:
    draft = Draft(PostKind.CAROUSEL, "both", (PICTURE, VIDEO))
    wire = Wire({"status_code": "FINISHED"}, {"status_code": "IN_PROGRESS"})
    assert publisher(wire).look(CHANNEL, draft, ("a", "b")).state is ContainerState.WORKING
    assert wire.called == [("GET", "/v24.0/a"), ("GET", "/v24.0/b")]


def test_the_call_that_makes_it_live() -> None:
    wire = Wire({"id": 17900})
    assert publisher(wire).publish(CHANNEL, IMAGE, ("a", "b", "whole")) == "17900"
    assert wire.called == [("POST", "/v24.0/17841/media_publish")]
    assert wire.bodies == [{"creation_id": "whole"}]
    assert publisher(wire).is_told_by_container(IMAGE)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"id": None},
        {"id": ""},
        {"id": "1", "error": {"code": 190}},
        {"id": "1", "error": None},
        [],
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, content=b""),
        httpx.Response(201, json={"id": "1"}),
        httpx.Response(302, headers={"location": "https://elsewhere/"}),
        httpx.Response(500, json={"error": {"code": 9007}}),
        httpx.ReadTimeout("late"),
        httpx.RemoteProtocolError("cut"),
        httpx.WriteError("cut"),
    ],
)
def test_an_answer_that_does_not_say_that_it_is_live_leaves_it_open(answer: Any) -> None:
    wire = Wire(answer)
    with pytest.raises(UnknownOutcome):
        publisher(wire).publish(CHANNEL, IMAGE, ("c1",))
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "fault", [httpx.ConnectError("no"), httpx.ConnectTimeout("no"), httpx.PoolTimeout("no")]
)
def test_a_request_that_did_not_leave_published_nothing(fault: Exception) -> None:
    with pytest.raises(TransientError):
        publisher(Wire(fault)).publish(CHANNEL, IMAGE, ("c1",))


@pytest.mark.parametrize("token", ["", "tök", "a\nb"])
def test_a_damaged_token_is_not_sent(token: str) -> None:
    wire = Wire({"id": "1"})
    with pytest.raises(AuthenticationExpired):
        publisher(wire).publish(Channel(Platform.INSTAGRAM, "17841", token), IMAGE, ("c1",))
    assert wire.requests == []


def test_ids_cannot_leave_their_place_in_the_address() -> None:
    wire = Wire({"id": "1", "status_code": "FINISHED", "permalink": "https://x"})
    mine = publisher(wire)
    channel = Channel(Platform.INSTAGRAM, "../me?a=b", "token")
    mine.publish(channel, IMAGE, ("c",))
    mine.look(CHANNEL, IMAGE, ("a/b#c",))
    mine.permalink(CHANNEL, "x?y")
    assert [request.url.raw_path.split(b"?")[0] for request in wire.requests] == [
        b"/v24.0/..%2Fme%3Fa%3Db/media_publish",
        b"/v24.0/a%2Fb%23c",
        b"/v24.0/x%3Fy",
    ]


def refusal(code: int, subcode: int, status: int = 400) -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": code, "error_subcode": subcode, "message": "no"}})


def test_refusals_are_told_apart() -> None:
    with pytest.raises(NotReady):
        publisher(Wire(refusal(9007, 2207027))).publish(CHANNEL, IMAGE, ("c1",))
    with pytest.raises(Unreadable):
        publisher(Wire(refusal(24, 2207006))).publish(CHANNEL, IMAGE, ("c1",))
    with pytest.raises(UnknownOutcome):
        publisher(Wire(refusal(4, 2207051))).publish(CHANNEL, IMAGE, ("c1",))


# --- finding a post that is live ---


def row(
    number: int, caption: Any = "bread", at: Any = "2026-11-24T10:00:05+0000", **more: Any
) -> dict[str, Any]:
    return {"id": str(number), "caption": caption, "timestamp": at, **more}


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([], None),
        ([row(1)], "1"),
        ([row(2, "rolls"), row(1)], "1"),
        ([row(1), row(2)], None),  # which one of them is it?
        ([row(1, at="2026-11-24T09:58:59+0000")], None),  # an earlier one with the same words
        ([row(1, at="2026-11-24T09:59:01+0000")], "1"),  # clocks differ a little
        ([row(1, at="2026-11-24T11:00:05+0100")], "1"),
        ([row(1, at="2026-11-24T09:00:05-0100")], "1"),
        ([row(1, at="2026-11-24T10:00:05")], None),  # a time of nobody's zone
        ([row(1, at=None), row(2, at="yesterday"), row(3, at=7)], None),
        ([row(1, "bread ")], None),
        ([row(1, None)], None),
        ([row(1, ["bread"])], None),
        ([{"caption": "bread", "timestamp": "2026-11-24T10:00:05+0000"}], None),
        (["bread", None], None),
    ],
)
def test_find(rows: list[Any], found: str | None) -> None:
    wire = Wire({"data": rows, "paging": {"next": "https://elsewhere/"}})
    assert publisher(wire).find(CHANNEL, IMAGE, ("c1",), SINCE) == found
    (request,) = wire.requests
    assert request.url.path == "/v24.0/17841/media"
    assert dict(request.url.params) == {"fields": "id,caption,timestamp", "limit": "25"}


def test_a_post_without_words_is_found_by_its_time() -> None:
    draft = Draft(PostKind.IMAGE, "", (PICTURE,))
    bare = {"id": "1", "timestamp": "2026-11-24T10:00:05+0000"}
    assert publisher(Wire({"data": [bare]})).find(CHANNEL, draft, (), SINCE) == "1"
    assert publisher(Wire({"data": [row(2), bare]})).find(CHANNEL, draft, (), SINCE) == "1"


def test_a_story_has_no_words_to_be_known_by() -> None:
    wire = Wire({"data": [{"id": "1", "timestamp": "2026-11-24T10:00:05+0000"}]})
    assert publisher(wire).find(CHANNEL, Draft(PostKind.STORY, "", (PICTURE,)), (), SINCE) is None
    assert wire.called == []


def test_times() -> None:
    assert is_after("2026-11-24T10:00:00+0000", SINCE)
    assert not is_after("2026-11-24T10:00:00+0000", SINCE + timedelta(seconds=61))


# --- permalink, comments, quota ---


@pytest.mark.parametrize(
    ("answer", "link"),
    [
        ({"permalink": "https://www.instagram.com/p/a/"}, "https://www.instagram.com/p/a/"),
        ({"permalink": None}, None),
        ({}, None),
        ({"permalink": {"url": "https://x"}}, None),
    ],
)
def test_permalink(answer: Any, link: str | None) -> None:
    wire = Wire(answer)
    assert publisher(wire).permalink(CHANNEL, "17900") == link
    assert (wire.requests[0].url.path, dict(wire.requests[0].url.params)) == (
        "/v24.0/17900",
        {"fields": "permalink"},
    )


def test_a_first_comment() -> None:
    wire = Wire({"id": "k1"})
    assert publisher(wire).comment(CHANNEL, "17900", "which one?") == "k1"
    assert (wire.called, wire.bodies) == ([("POST", "/v24.0/17900/comments")], [{"message": "which one?"}])


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([], None),
        ([{"id": "k1", "text": "which one?", "from": {"id": "17841"}}], "k1"),
        ([{"id": "k1", "text": "which one?"}], "k1"),  # Meta does not always say who wrote it
        ([{"id": "k1", "text": "which one?", "from": {"id": "999"}}], None),  # somebody repeats our words
        ([{"id": "k1", "text": "which one? ", "from": {"id": "17841"}}], None),
        ([{"text": "which one?", "from": {"id": "17841"}}], ""),  # it is there, and that is what counts
    ],
)
def test_an_own_comment_is_found(rows: list[Any], found: str | None) -> None:
    wire = Wire({"data": rows})
    assert publisher(wire).find_comment(CHANNEL, "17900", "which one?") == found
    assert dict(wire.requests[0].url.params) == {"fields": "id,text,timestamp,from"}


@pytest.mark.parametrize(
    ("answer", "quota"),
    [
        (
            {"data": [{"quota_usage": 2, "config": {"quota_total": 100, "quota_duration": 86400}}]},
            Quota(2, 100),
        ),
        ({"data": []}, None),
        ({"data": [{"quota_usage": 2}]}, None),
        ({"data": [{"quota_usage": 2, "config": [100]}]}, None),
        ({"data": [{"quota_usage": "2", "config": {"quota_total": None}}]}, None),
    ],
)
def test_quota(answer: Any, quota: Quota | None) -> None:
    wire = Wire(answer)
    assert publisher(wire).quota(CHANNEL) == quota
    assert wire.requests[0].url.path == "/v24.0/17841/content_publishing_limit"


@pytest.mark.parametrize(
    "call",
    [
        lambda mine: mine.create(CHANNEL, IMAGE, ()),
        lambda mine: mine.look(CHANNEL, IMAGE, ("c",)),
        lambda mine: mine.publish(CHANNEL, IMAGE, ("c",)),
        lambda mine: mine.find(CHANNEL, IMAGE, ("c",), SINCE),
        lambda mine: mine.permalink(CHANNEL, "1"),
        lambda mine: mine.comment(CHANNEL, "1", "x"),
        lambda mine: mine.find_comment(CHANNEL, "1", "x"),
        lambda mine: mine.quota(CHANNEL),
    ],
)
def test_no_call_puts_token_or_proof_into_an_address_or_an_error(
    call: Callable[[InstagramPublisher], Any],
) -> None:
    wire = Wire(refusal(190, 463))
    with pytest.raises(AuthenticationExpired) as caught:
        call(publisher(wire))
    assert "IGAA-token" not in str(caught.value)
    for request in wire.requests:
        assert "token" not in str(request.url)
        assert "appsecret_proof" not in request.url.params
        assert request.headers["authorization"] == "Bearer IGAA-token"
