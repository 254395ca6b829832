"""How Meta tells of comments: the changes, and the entries that bring them. Pure."""

from __future__ import annotations

from typing import Any, Literal

from socialsync_common.contracts import Platform
from socialsync_sandbox.bodies import Entry
from socialsync_sandbox.comments.state import Comment

Change = dict[str, Any]
Shape = Literal["id", "comment_id", "flat"]
Verb = Literal["add", "edited", "remove", "hide", "unhide"]


def written(comment: Comment, *, shape: Shape = "id", is_live: bool = False) -> Change:
    """A new comment."""
    if comment.thread.post.platform is Platform.MESSENGER:
        return changed(comment, "add")
    post = comment.thread.post
    product = {"reel": "REELS", "story": "STORY"}.get(post.kind, "FEED")
    value = {
        "from": {"id": comment.author.id, "username": comment.author.name},
        "media": {"id": post.media_id, "media_product_type": product},
        "comment_id" if shape == "comment_id" else "id": comment.id,
        "text": comment.text,
    }
    if comment.parent is not None:
        value["parent_id"] = comment.parent.id
    return {"field": "live_comments" if is_live else "comments", "value": value}


def changed(comment: Comment, verb: Verb) -> Change:
    """What happened to a comment on a Page's post; Instagram tells of nothing but new ones."""
    post = comment.thread.post
    return {
        "field": "feed",
        "value": {
            "item": "comment",
            "verb": verb,
            "comment_id": comment.id,
            "parent_id": comment.parent.id if comment.parent else post.media_id,
            "post_id": post.media_id,
            "created_time": int(comment.at),
            "message": comment.text,
            "from": {"id": comment.author.id, "name": comment.author.name},
        },
    }


def mention(comment_id: str | None, media_id: str) -> Change:
    """Somebody named the account: in a comment, or in a caption."""
    value = {"media_id": media_id, **({"comment_id": comment_id} if comment_id else {})}
    return {"field": "mentions", "value": value}


def entry(account: str, changes: list[Change], at: float) -> Entry:
    return {"id": account, "time": int(at), "changes": changes}


def flat(account: str, change: Change, at: float) -> Entry:
    """The third shape: the entry is itself the change."""
    return {"id": account, "time": int(at), **change}
