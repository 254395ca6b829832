"""Comments on Instagram: two levels, of which the second is shown with the first."""

from __future__ import annotations

from functools import partial
from typing import Any

from socialsync_common.contracts import PostKind
from socialsync_common.errors import PermanentError
from socialsync_common.platforms.allowance import Usage
from socialsync_common.platforms.comments import (
    MAX_PICTURES,
    PAGE_SIZE,
    CommentCalls,
    CommentPage,
    CommentState,
    PostDetails,
    RemoteComment,
    ServerFault,
    count_of,
    cursor_of,
    following,
    goes_on,
    name_of,
    node,
    object_of,
    replies_page,
    short_id,
    state_of,
    time_of,
    words_of,
)
from socialsync_common.platforms.graph import GraphClient
from socialsync_common.platforms.publishing import Channel, link_of, rows_of, text_of

# without `timestamp`, or with `like_count`, Instagram fails
_REPLY = "id,text,timestamp,username,from,hidden"
_COMMENT = f"{_REPLY},parent_id"
_REPLIES = f"replies.limit({PAGE_SIZE}){{{_COMMENT}}}"
_POST = "id,media_type,media_product_type,caption,permalink,timestamp,comments_count,media_url,thumbnail_url"
_KINDS = {
    "STORY": PostKind.STORY,
    "REELS": PostKind.REEL,
    "CAROUSEL_ALBUM": PostKind.CAROUSEL,
    "VIDEO": PostKind.VIDEO,
    "IMAGE": PostKind.IMAGE,
}


class InstagramComments:
    """See ``CommentsApi``."""

    can_like = False

    def __init__(self, graph: GraphClient) -> None:
        self._calls = CommentCalls(graph)

    def details(self, channel: Channel, post_id: str) -> PostDetails:
        children = "children{media_type,media_url,thumbnail_url}"
        post = self._calls.read(channel, node(post_id), f"{_POST},{children}", _POST)
        shown = rows_of(post.get("children")) or [post]
        return PostDetails(
            kind=_kind(post),
            caption=words_of(post, "caption"),
            permalink=link_of(post, "permalink"),
            published_at=time_of(post, "timestamp"),
            comments_count=count_of(post, "comments_count"),
            picture_urls=tuple(url for each in shown if (url := _picture(each)))[:MAX_PICTURES],
        )

    def page(self, channel: Channel, post_id: str, after: str | None = None) -> CommentPage:
        try:
            return self._full_page(channel, post_id, after)
        except ServerFault:
            return self._bare_page(channel, post_id, after)

    def _full_page(self, channel: Channel, post_id: str, after: str | None) -> CommentPage:
        comment = f"{_COMMENT},{_REPLIES}"
        if after is None:
            fields = f"comments_count,comments.limit({PAGE_SIZE}){{{comment}}}"
            post = self._calls.read(channel, node(post_id), fields)
            return _page(object_of(post, "comments"), count_of(post, "comments_count"))
        return _page(self._calls.read(channel, f"{node(post_id)}/comments", comment, **following(after)))

    def _bare_page(self, channel: Channel, post_id: str, after: str | None) -> CommentPage:
        """The comments alone: which of them have replies is not told."""
        edge = self._calls.read(channel, f"{node(post_id)}/comments", _COMMENT, **following(after))
        comments = _comments(edge)
        threads = tuple(comment.id for comment in comments if comment.parent_id is None)
        return CommentPage(comments, after=cursor_of(edge), unfinished_threads=threads)

    def replies(self, channel: Channel, comment_id: str, after: str | None = None) -> CommentPage:
        path = f"{node(comment_id)}/replies"
        edge = self._calls.read(channel, path, _COMMENT, _REPLY, **following(after))
        return replies_page(_comments(edge, comment_id), edge, comment_id)

    def state(self, channel: Channel, comment_id: str) -> CommentState:
        try:
            row = self._calls.read(channel, node(comment_id), f"{_COMMENT},{_REPLIES}")
        except ServerFault:
            row = self._calls.read(channel, node(comment_id), _COMMENT)
            first = self.replies(channel, comment_id)
        else:
            edge = object_of(row, "replies")
            first = replies_page(_comments(edge, comment_id), edge, comment_id)
        return state_of(_comment(row), first, partial(self.replies, channel, comment_id))

    def reply(self, channel: Channel, comment_id: str, text: str) -> str:
        answer = self._calls.write(channel, f"{node(comment_id)}/replies", {"message": text})
        return text_of(answer, "id")

    def reply_privately(self, channel: Channel, comment_id: str, text: str) -> str:
        body = {"recipient": {"comment_id": comment_id}, "message": {"text": text}}
        answer = self._calls.write(channel, f"{node(channel.external_id)}/messages", body)
        return text_of(answer, "message_id")

    def hide(self, channel: Channel, comment_id: str) -> None:
        self._calls.write(channel, node(comment_id), params={"hide": "true"})

    def like(self, channel: Channel, comment_id: str) -> None:  # noqa: ARG002 - the port's
        raise PermanentError("Instagram lets no app like a comment")

    def usage(self, channel: Channel) -> Usage | None:
        return self._calls.usage(channel)


def _kind(post: dict[str, Any]) -> str:
    """A story or a reel by where it is shown, everything else by what it is."""
    for member in ("media_product_type", "media_type"):
        kind = _KINDS.get(str(post.get(member)))
        if kind is not None:
            return kind
    return "other"


def _picture(media: dict[str, Any]) -> str | None:
    """Where its picture is. A video's ``media_url`` is the video, and a reel's is not shown."""
    thumbnail = link_of(media, "thumbnail_url")
    return thumbnail or (link_of(media, "media_url") if media.get("media_type") == "IMAGE" else None)


def _page(edge: dict[str, Any], count: int | None = None) -> CommentPage:
    """A page of comments with their replies."""
    comments: list[RemoteComment] = []
    unfinished: list[str] = []
    for row in rows_of(edge):
        comment = _comment(row)
        if comment is None:
            continue
        replies = object_of(row, "replies")
        comments += (comment, *_comments(replies, comment.id))
        if goes_on(replies):
            unfinished.append(comment.id)
    return CommentPage(tuple(comments), count, cursor_of(edge), tuple(unfinished))


def _comments(edge: dict[str, Any], parent_id: str | None = None) -> tuple[RemoteComment, ...]:
    return tuple(comment for row in rows_of(edge) if (comment := _comment(row, parent_id)))


def _comment(row: dict[str, Any], parent_id: str | None = None) -> RemoteComment | None:
    comment_id = short_id(row)
    if comment_id is None:
        return None
    author = object_of(row, "from")
    return RemoteComment(
        id=comment_id,
        parent_id=short_id(row, "parent_id") or parent_id,
        author_id=short_id(author),
        author_name=name_of(row, "username") or name_of(author, "username"),
        text=words_of(row, "text"),
        written_at=time_of(row, "timestamp"),
        hidden=row.get("hidden") is True,
    )
