"""Publishing on a Facebook Page: unpublished photos and uploaded videos, then one call that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from socialsync_common.contracts import PostKind
from socialsync_common.errors import TransientError, UnknownOutcome
from socialsync_common.platforms.graph import GraphClient, read_json
from socialsync_common.platforms.instagram import is_after, own_comment
from socialsync_common.platforms.publishing import (
    Channel,
    Container,
    ContainerState,
    Draft,
    Quota,
    ask,
    classify_publishing,
    id_of,
    link_of,
    rows_of,
    shown,
    text_of,
)

UPLOAD_HOST = "https://rupload.facebook.com"
_FEED_FIELDS = "id,message,created_time,attachments{target{id},subattachments{data{target{id}}}}"
_RECENT = "25"


class PagePublisher:
    """See ``Publisher``. A video's container is the video itself, which its upload does not show yet."""

    def __init__(self, graph: GraphClient) -> None:
        self._graph = graph

    def pieces(self, draft: Draft) -> int:
        return len(draft.media)

    def create(self, channel: Channel, draft: Draft, made: Sequence[str]) -> str:
        item = draft.media[len(made)]
        if not item.is_video:
            body: dict[str, Any] = {"url": item.url, "published": False}
            if item.alt_text:
                body["alt_text_custom"] = item.alt_text
            return text_of(self._post(channel, "photos", body), "id")
        begun = self._post(channel, _video_edge(draft), {"upload_phase": "start"})
        video_id = text_of(begun, "video_id")
        self._upload(channel, text_of(begun, "upload_url"), item.url)
        return video_id

    def _upload(self, channel: Channel, upload_url: str, file_url: str) -> None:
        """Tell Meta where the video is. The token goes to Meta's upload host only."""
        base = self._graph.stand_in_url or UPLOAD_HOST
        if not upload_url.startswith(f"{base}/"):
            raise UnknownOutcome("the Graph API named an upload address that is not Meta's")
        headers = {"Authorization": f"OAuth {channel.token}", "file_url": file_url}
        try:
            response = self._graph.http.post(upload_url, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TransientError(f"the upload was not answered: {type(error).__name__}") from None
        answer = read_json(response)
        refused = isinstance(answer, dict) and ("error" in answer or answer.get("success") is False)
        if response.status_code != 200 or refused:
            raise classify_publishing(response.status_code, answer)

    def is_told_by_container(self, draft: Draft) -> bool:
        return _is_video(draft)

    def look(self, channel: Channel, draft: Draft, made: Sequence[str]) -> Container:
        if not _is_video(draft):
            return Container(ContainerState.READY)
        answer = ask(self._graph, channel, "GET", _node(made[-1]), params={"fields": "status"})
        status = answer.get("status")
        return _video_container(status if isinstance(status, dict) else {})

    def publish(self, channel: Channel, draft: Draft, made: Sequence[str]) -> str:
        if _is_video(draft):
            body: dict[str, Any] = {"upload_phase": "finish", "video_id": made[-1]}
            if draft.kind is not PostKind.STORY:
                body |= {"video_state": "PUBLISHED", "description": draft.text}
            return text_of(self._post(channel, _video_edge(draft), body), "post_id")
        if draft.kind is PostKind.STORY:
            return text_of(self._post(channel, "photo_stories", {"photo_id": made[-1]}), "post_id")
        body = {"message": draft.text}
        if made:
            body["attached_media"] = [{"media_fbid": photo} for photo in made]
        return text_of(self._post(channel, "feed", body), "id")

    def find(self, channel: Channel, draft: Draft, made: Sequence[str], since: datetime) -> str | None:
        if draft.kind is PostKind.STORY:
            answer = self._get(channel, "stories", {"fields": "post_id,media_id,creation_time"})
            fits = [id_of(row, "post_id") for row in rows_of(answer) if str(row.get("media_id")) in made]
        else:
            answer = self._get(
                channel, "feed",
                {"fields": _FEED_FIELDS, "since": str(int(since.timestamp()) - 60), "limit": _RECENT},
            )  # fmt: skip
            fits = [id_of(row) for row in rows_of(answer) if _is_of(row, draft, made, since)]
        return fits[0] if len(fits) == 1 else None

    def permalink(self, channel: Channel, media_id: str) -> str | None:
        answer = ask(self._graph, channel, "GET", _node(media_id), params={"fields": "permalink_url"})
        return link_of(answer, "permalink_url")

    def comment(self, channel: Channel, media_id: str, text: str) -> str:
        answer = ask(self._graph, channel, "POST", f"{_node(media_id)}/comments", {"message": text})
        return text_of(answer, "id")

    def find_comment(self, channel: Channel, media_id: str, text: str) -> str | None:
        answer = ask(
            self._graph, channel, "GET", f"{_node(media_id)}/comments", params={"fields": "id,message,from"}
        )
        return own_comment(answer, channel, "message", text)

    def quota(self, channel: Channel) -> Quota | None:  # noqa: ARG002 - Pages have none
        return None

    def _post(self, channel: Channel, edge: str, body: dict[str, Any]) -> dict[str, Any]:
        return ask(self._graph, channel, "POST", f"{_node(channel.external_id)}/{edge}", body)

    def _get(self, channel: Channel, edge: str, params: dict[str, str]) -> dict[str, Any]:
        return ask(self._graph, channel, "GET", f"{_node(channel.external_id)}/{edge}", params=params)


def _is_video(draft: Draft) -> bool:
    return bool(draft.media) and draft.media[0].is_video


def _video_edge(draft: Draft) -> str:
    return "video_stories" if draft.kind is PostKind.STORY else "video_reels"


def _video_container(status: dict[str, Any]) -> Container:
    uploading, processing, publishing = (
        _phase(status, name) for name in ("uploading_phase", "processing_phase", "publishing_phase")
    )
    if publishing.get("status") == "complete":
        return Container(ContainerState.PUBLISHED)
    for phase in (uploading, processing, publishing):
        if phase.get("status") == "error":
            return Container(
                ContainerState.FAILED, f"Meta could not process the video: {_first_error(phase)}", may_succeed=True
            )  # fmt: skip
    word = status.get("video_status")
    if word == "expired":
        return Container(ContainerState.EXPIRED)
    if word == "error":
        return Container(ContainerState.FAILED, "Meta could not process the video", may_succeed=True)
    # some videos are processed before they are published, and some only then
    is_uploaded = (
        uploading.get("status") == "complete" and processing.get("status", "not_started") == "not_started"
    )
    is_ready = word == "ready" or processing.get("status") == "complete" or is_uploaded
    is_working = publishing.get("status") == "in_progress" or not is_ready
    return Container(ContainerState.WORKING if is_working else ContainerState.READY)


def _phase(status: dict[str, Any], name: str) -> dict[str, Any]:
    phase = status.get(name)
    return phase if isinstance(phase, dict) else {}


def _first_error(phase: dict[str, Any]) -> str:
    errors = phase.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else phase.get("error")
    return shown(first.get("message") if isinstance(first, dict) else "no reason given")


def _is_of(row: dict[str, Any], draft: Draft, made: Sequence[str], since: datetime) -> bool:
    """Whether a post of the feed is this draft: by its media where it has some, else by its text and time."""
    if made:
        return bool(_targets(row) & set(made))
    return row.get("message") == draft.text and is_after(row.get("created_time"), since)


def _targets(row: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    for attachment in rows_of(row.get("attachments")):
        for item in (attachment, *rows_of(attachment.get("subattachments"))):
            target = item.get("target")
            if isinstance(target, dict):
                found.add(str(target.get("id")))
    return found


def _node(object_id: str) -> str:
    return quote(object_id, safe="")
