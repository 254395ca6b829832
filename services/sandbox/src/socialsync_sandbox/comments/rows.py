"""Comments as the Graph API shows them. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from socialsync_common.contracts import Platform
from socialsync_sandbox import graph_errors
from socialsync_sandbox.comments.state import Comment
from socialsync_sandbox.fields import Field, find, names
from socialsync_sandbox.publishing.state import meta_time

PAGE = 50

Row = dict[str, Any]
Fields = tuple[Field, ...]
Members = dict[str, Callable[[Comment], Any]]

# a member that is None is left out
_INSTAGRAM: Members = {
    "id": lambda comment: comment.id,
    "text": lambda comment: comment.text,
    "timestamp": lambda comment: meta_time(comment.at),
    "username": lambda comment: comment.author.name,
    "from": lambda comment: {"id": comment.author.id, "username": comment.author.name},
    "hidden": lambda comment: comment.is_hidden,
    "parent_id": lambda comment: comment.parent.id if comment.parent else None,
}
_PAGE: Members = {
    "id": lambda comment: comment.id,
    "message": lambda comment: comment.text,
    "created_time": lambda comment: meta_time(comment.at),
    "from": lambda comment: {"id": comment.author.id, "name": comment.author.name},
    "is_hidden": lambda comment: comment.is_hidden,
    "parent": lambda comment: {"id": comment.parent.id} if comment.parent else None,
}
_MEMBERS = {Platform.INSTAGRAM: _INSTAGRAM, Platform.MESSENGER: _PAGE}


@dataclass(slots=True, frozen=True)
class Reader:
    """``base``: the API's address with its version, with which the next page's begins."""

    platform: Platform
    base: str

    def row(self, comment: Comment, fields: Fields) -> Row:
        """A comment; without ``fields``, all that it has but its replies."""
        members = _MEMBERS[self.platform]
        wanted = [each.name for each in fields if each.name in members] if fields else members
        values = ((name, members[name](comment)) for name in wanted)
        found = {"id": comment.id, **{name: value for name, value in values if value is not None}}
        replies = find(fields, "replies")
        if replies and len(comment.replies) and self.platform is Platform.INSTAGRAM:
            shown = comment.replies.oldest(bounded(replies.limit))
            found["replies"] = self.edge(f"{comment.id}/replies", shown, replies.fields)
        return found

    def edge(self, path: str, found: tuple[list[Comment], bool], fields: Fields) -> Row:
        """Some comments; ``found`` tells whether there are more."""
        comments, goes_on = found
        if not comments:
            return {"data": []}
        after = _cursor(comments[-1])
        paging: Row = {"cursors": {"before": _cursor(comments[0]), "after": after}}
        if goes_on:
            paging["next"] = f"{self.base}/{path}?after={after}"
        return {"data": [self.row(comment, fields) for comment in comments], "paging": paging}


def bounded(limit: int | None) -> int:
    return PAGE if limit is None else min(max(limit, 1), PAGE)


def id_at(cursor: str) -> str:
    """Of the comment after which the next page begins. Raises GraphError."""
    try:
        return base64.urlsafe_b64decode(cursor).decode()
    except (binascii.Error, ValueError):
        raise graph_errors.bad_parameter("Invalid cursor") from None


def refuse_whims(fields: Fields) -> None:
    """Instagram's: it fails over comments without their timestamp, and over likes. Raises GraphError."""
    wanted = names(fields)
    if fields and ("timestamp" not in wanted or "like_count" in wanted):
        raise graph_errors.unknown_error()
    if replies := find(fields, "replies"):
        refuse_whims(replies.fields)


def _cursor(comment: Comment) -> str:
    return base64.urlsafe_b64encode(comment.id.encode()).decode()
