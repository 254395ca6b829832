"""Comments on a Facebook Page's posts: one stream, replies among them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from socialsync_common.contracts import PostKind
from socialsync_common.platforms.allowance import Usage
from socialsync_common.platforms.comments import (
    MAX_PICTURES,
    CommentCalls,
    CommentPage,
    CommentState,
    PostDetails,
    RemoteComment,
    count_of,
    cursor_of,
    following,
    name_of,
    node,
    object_of,
    replies_page,
    short_id,
    state_of,
    storable,
    time_of,
    words_of,
)
from socialsync_common.platforms.graph import GraphClient
from socialsync_common.platforms.publishing import Channel, link_of, rows_of, text_of

_BARE_COMMENT = "id,message,created_time,from,parent,is_hidden"
_COMMENT = "id,message,created_time,from{id,name},parent{id},is_hidden,attachment"
_STREAM = {"filter": "stream", "order": "reverse_chronological"}
_BARE_POST = "id,message,permalink_url,created_time,full_picture"
_PICTURE = "media_type,media{image{src}}"
_POST = f"{_BARE_POST},attachments{{{_PICTURE},subattachments{{{_PICTURE}}}}}"
_KINDS = {"photo": PostKind.IMAGE, "album": PostKind.CAROUSEL, "video": PostKind.VIDEO}


class PageComments:
    """See ``CommentsApi``."""

    can_like = True

    def __init__(self, graph: GraphClient) -> None:
        self._calls = CommentCalls(graph)

    def details(self, channel: Channel, post_id: str) -> PostDetails:
        post = self._calls.read(channel, node(post_id), _POST, _BARE_POST)
        permalink = link_of(post, "permalink_url")
        return PostDetails(
            kind=_kind(post, permalink),
            caption=words_of(post, "message"),
            permalink=permalink,
            published_at=time_of(post, "created_time"),
            comments_count=None,
            picture_urls=_pictures(post)[:MAX_PICTURES],
        )

    def page(self, channel: Channel, post_id: str, after: str | None = None) -> CommentPage:
        summary = {"summary": "total_count"} if after is None else {}
        edge = self._read_stream(channel, post_id, after, **summary)
        count = count_of(object_of(edge, "summary"), "total_count")
        return CommentPage(_comments(edge), count, cursor_of(edge))

    def replies(self, channel: Channel, comment_id: str, after: str | None = None) -> CommentPage:
        edge = self._read_stream(channel, comment_id, after)
        return replies_page(_comments(edge, comment_id), edge, comment_id)

    def _read_stream(
        self, channel: Channel, object_id: str, after: str | None, **more: str
    ) -> dict[str, Any]:
        params = {**_STREAM, **following(after), **more}
        return self._calls.read(channel, f"{node(object_id)}/comments", _COMMENT, _BARE_COMMENT, **params)

    def state(self, channel: Channel, comment_id: str) -> CommentState:
        row = self._calls.read(channel, node(comment_id), _COMMENT, _BARE_COMMENT)
        first = self.replies(channel, comment_id)
        state = state_of(_comment(row), first, partial(self.replies, channel, comment_id))
        return replace(state, replies=state.replies[::-1])

    def reply(self, channel: Channel, comment_id: str, text: str) -> str:
        answer = self._calls.write(channel, f"{node(comment_id)}/comments", {"message": text})
        return text_of(answer, "id")

    def reply_privately(self, channel: Channel, comment_id: str, text: str) -> str:
        body = {
            "recipient": {"comment_id": comment_id},
            "message": {"text": text},
            "messaging_type": "RESPONSE",
        }
        answer = self._calls.write(channel, f"{node(channel.external_id)}/messages", body)
        return text_of(answer, "message_id")

    def hide(self, channel: Channel, comment_id: str) -> None:
        self._calls.write(channel, node(comment_id), {"is_hidden": True})

    def like(self, channel: Channel, comment_id: str) -> None:
        self._calls.write(channel, f"{node(comment_id)}/likes")

    def usage(self, channel: Channel) -> Usage | None:
        return self._calls.usage(channel)


def _kind(post: dict[str, Any], permalink: str | None) -> str:
    """What the post is by its first attachment; a reel is known by its address alone."""
    if permalink and "/reel/" in permalink:
        return PostKind.REEL
    attachments = rows_of(post.get("attachments"))
    if attachments:
        return _KINDS.get(str(attachments[0].get("media_type")), "other")
    return "other" if link_of(post, "full_picture") else PostKind.TEXT


def _pictures(post: dict[str, Any]) -> tuple[str, ...]:
    """The parts of an album, else the attachments, else the picture that the feed shows."""
    attachments = rows_of(post.get("attachments"))
    parts = [part for each in attachments for part in rows_of(each.get("subattachments"))]
    for shown in (parts, attachments):
        sources = (link_of(object_of(object_of(each, "media"), "image"), "src") for each in shown)
        found = tuple(source for source in sources if source)
        if found:
            return found
    picture = link_of(post, "full_picture")
    return (picture,) if picture else ()


def _comments(edge: dict[str, Any], parent_id: str | None = None) -> tuple[RemoteComment, ...]:
    return tuple(comment for row in rows_of(edge) if (comment := _comment(row, parent_id)))


def _comment(row: dict[str, Any], parent_id: str | None = None) -> RemoteComment | None:
    comment_id = short_id(row)
    if comment_id is None:
        return None
    author = object_of(row, "from")
    return RemoteComment(
        id=comment_id,
        parent_id=short_id(object_of(row, "parent")) or parent_id,
        author_id=short_id(author),
        author_name=name_of(author, "name"),
        text=words_of(row, "message"),
        written_at=time_of(row, "created_time"),
        hidden=row.get("is_hidden") is True,
        attachment=storable(object_of(row, "attachment")) or None,
    )
