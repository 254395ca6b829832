"""Publishing on Instagram: containers, then one ``media_publish``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from socialsync_common.contracts import PostKind
from socialsync_common.errors import UnknownOutcome
from socialsync_common.platforms.graph import GraphClient
from socialsync_common.platforms.publishing import (
    Channel,
    Container,
    ContainerState,
    Draft,
    DraftMedia,
    Quota,
    ask,
    failed_container,
    id_of,
    link_of,
    rows_of,
    shown,
    text_of,
)

_STATES = {
    "IN_PROGRESS": ContainerState.WORKING,
    "FINISHED": ContainerState.READY,
    "PUBLISHED": ContainerState.PUBLISHED,
    "EXPIRED": ContainerState.EXPIRED,
}
_CLOCK_SKEW = timedelta(seconds=60)
_RECENT = "25"


class InstagramPublisher:
    """See ``Publisher``. A carousel's last container holds the others."""

    def __init__(self, graph: GraphClient) -> None:
        self._graph = graph

    def pieces(self, draft: Draft) -> int:
        return len(draft.media) + 1 if draft.kind is PostKind.CAROUSEL else 1

    def create(self, channel: Channel, draft: Draft, made: Sequence[str]) -> str:
        body: dict[str, Any]
        if draft.kind is not PostKind.CAROUSEL:
            body = self._single(draft)
        elif len(made) < len(draft.media):
            item = draft.media[len(made)]
            body = {**_source(item), "is_carousel_item": True}
            if item.is_video:
                body["media_type"] = "VIDEO"
        else:
            body = {"media_type": "CAROUSEL", "children": list(made), "caption": draft.text}
        return text_of(ask(self._graph, channel, "POST", f"{_node(channel.external_id)}/media", body), "id")

    def _single(self, draft: Draft) -> dict[str, Any]:
        item = draft.media[0]
        body = _source(item)
        if draft.kind is PostKind.STORY:
            return {**body, "media_type": "STORIES"}
        if item.is_video:
            body["media_type"] = "REELS"
        return {**body, "caption": draft.text}

    def is_told_by_container(self, draft: Draft) -> bool:  # noqa: ARG002 - of every kind
        return True

    def look(self, channel: Channel, draft: Draft, made: Sequence[str]) -> Container:
        last = made[-1:] if len(made) == self.pieces(draft) else made
        container = Container(ContainerState.READY)
        for container_id in last:
            answer = ask(
                self._graph, channel, "GET", _node(container_id), params={"fields": "status_code,status"}
            )
            code = answer.get("status_code")
            if code == "ERROR":
                return failed_container(str(answer.get("status") or ""))
            state = _STATES.get(str(code))
            if state is None:
                raise UnknownOutcome(f"container {container_id}: unknown status {shown(code)}")
            container = Container(state)
            if container.state is not ContainerState.READY:
                return container
        return container

    def publish(self, channel: Channel, draft: Draft, made: Sequence[str]) -> str:  # noqa: ARG002 - the port's
        path = f"{_node(channel.external_id)}/media_publish"
        return text_of(ask(self._graph, channel, "POST", path, {"creation_id": made[-1]}), "id")

    def find(self, channel: Channel, draft: Draft, made: Sequence[str], since: datetime) -> str | None:  # noqa: ARG002
        if draft.kind is PostKind.STORY:
            return None  # it has no text to be known by
        answer = ask(
            self._graph, channel, "GET", f"{_node(channel.external_id)}/media",
            params={"fields": "id,caption,timestamp", "limit": _RECENT},
        )  # fmt: skip
        fits = [
            id_of(row)
            for row in rows_of(answer)
            if (row.get("caption") or "") == draft.text and is_after(row.get("timestamp"), since)
        ]
        return fits[0] if len(fits) == 1 else None

    def permalink(self, channel: Channel, media_id: str) -> str | None:
        answer = ask(self._graph, channel, "GET", _node(media_id), params={"fields": "permalink"})
        return link_of(answer, "permalink")

    def comment(self, channel: Channel, media_id: str, text: str) -> str:
        answer = ask(self._graph, channel, "POST", f"{_node(media_id)}/comments", {"message": text})
        return text_of(answer, "id")

    def find_comment(self, channel: Channel, media_id: str, text: str) -> str | None:
        answer = ask(
            self._graph,
            channel,
            "GET",
            f"{_node(media_id)}/comments",
            # without the time it may answer 500
            params={"fields": "id,text,timestamp,from"},
        )
        return own_comment(answer, channel, "text", text)

    def quota(self, channel: Channel) -> Quota | None:
        path = f"{_node(channel.external_id)}/content_publishing_limit"
        for row in rows_of(ask(self._graph, channel, "GET", path, params={"fields": "quota_usage,config"})):
            config = row.get("config")
            used, total = (
                row.get("quota_usage"),
                config.get("quota_total") if isinstance(config, dict) else None,
            )
            if isinstance(used, int) and isinstance(total, int):
                return Quota(used, total)
        return None


def own_comment(answer: Any, channel: Channel, member: str, text: str) -> str | None:
    """The id of the comment with this text that the account itself wrote; empty where it is there and has none."""
    for row in rows_of(answer):
        author = row.get("from")
        is_own = not isinstance(author, dict) or author.get("id") in (None, channel.external_id)
        if row.get(member) == text and is_own:
            return id_of(row) or ""
    return None


def is_after(timestamp: Any, since: datetime) -> bool:
    """Whether Meta's time of something (``2026-11-24T10:00:00+0000``) is not before ``since``, clocks differing a little."""
    try:
        return datetime.fromisoformat(str(timestamp)) >= since - _CLOCK_SKEW
    except (ValueError, TypeError):  # TypeError: a time without its zone
        return False


def _source(item: DraftMedia) -> dict[str, Any]:
    body: dict[str, Any] = {"video_url" if item.is_video else "image_url": item.url}
    if item.alt_text and not item.is_video:
        body["alt_text"] = item.alt_text
    return body


def _node(object_id: str) -> str:
    return quote(object_id, safe="")
