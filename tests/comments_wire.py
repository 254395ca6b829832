"""A stand-in for the wire below the Graph client for comments, and what the Graph API shows of comments."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx

from socialsync_common.contracts import Platform
from socialsync_common.platforms import GraphClient
from socialsync_common.platforms.comments import CommentPage, CommentsApi
from socialsync_common.platforms.instagram_comments import InstagramComments
from socialsync_common.platforms.page_comments import PageComments
from socialsync_common.platforms.publishing import Channel
from socialsync_common.settings import GraphSettings

IG = Channel(Platform.INSTAGRAM, "1784", "IGAA-token")
PAGE = Channel(Platform.MESSENGER, "1080", "EAA-token")
AT = datetime(2026, 11, 24, 10, tzinfo=UTC)
AT_TEXT = "2026-11-24T10:00:00+0000"


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
    def called(self) -> list[str]:
        return [f"{each.method} {each.url.path.removeprefix('/v24.0/')}" for each in self.requests]

    @property
    def asked(self) -> list[dict[str, str]]:
        return [dict(each.url.params) for each in self.requests]

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(each.content) for each in self.requests]


def graph(wire: Wire) -> GraphClient:
    return GraphClient(GraphSettings(), httpx.Client(transport=httpx.MockTransport(wire)))


def instagram(wire: Wire) -> InstagramComments:
    return InstagramComments(graph(wire))


def page(wire: Wire) -> PageComments:
    return PageComments(graph(wire))


def failed(status: int, code: Any = None, subcode: int | None = None, **headers: str) -> httpx.Response:
    error = {"message": "what somebody wrote", "code": code, "error_subcode": subcode}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json={"error": error}, headers=named)


def ig_row(comment_id: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": comment_id,
        "text": "How much?",
        "timestamp": AT_TEXT,
        "username": "ada",
        "from": {"id": "77", "username": "ada"},
        "hidden": False,
        **more,
    }


def fb_row(comment_id: Any, **more: Any) -> dict[str, Any]:
    author = {"id": "77", "name": "Ada L"}
    return {"id": comment_id, "message": "How much?", "created_time": AT_TEXT, "from": author, **more}


def edge(*rows: Any, after: str | None = None) -> dict[str, Any]:
    """An edge as the Graph API shows it: its last page has cursors, too."""
    cursors = {"before": "b", "after": after or "end"}
    return {"data": list(rows), "paging": {"cursors": cursors, **({"next": "https://x"} if after else {})}}


def ids(found: CommentPage) -> list[tuple[str, str | None]]:
    return [(each.id, each.parent_id) for each in found.comments]


WRITES: list[tuple[Callable[[Wire], CommentsApi], Channel, str]] = [
    *((instagram, IG, name) for name in ("reply", "reply_privately", "hide")),
    *((page, PAGE, name) for name in ("reply", "reply_privately", "hide", "like")),
]
READS: list[tuple[Callable[[Wire], CommentsApi], Channel, str]] = [
    (api, channel, name)
    for api, channel in ((instagram, IG), (page, PAGE))
    for name in ("details", "page", "replies", "state")
]


def do(api: CommentsApi, channel: Channel, name: str) -> Any:
    return getattr(api, name)(channel, "2", *(["Hello"] if name.startswith("reply") else []))
