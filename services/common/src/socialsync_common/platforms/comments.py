"""Comments: what Instagram and Pages have in common, and what their answers prove.

Reading may be repeated freely, so a read whose outcome is unknown has simply failed. An answer may not: it is public.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote

import httpx

from socialsync_common.errors import (
    PermanentError,
    SocialSyncError,
    TransientError,
    UnknownOutcome,
    WindowClosed,
)
from socialsync_common.platforms.allowance import Allowances, Usage, usage_of
from socialsync_common.platforms.errors import classify, codes, is_rate_limit
from socialsync_common.platforms.graph import GraphClient, read_json
from socialsync_common.platforms.publishing import Channel, id_of


class Throttled(TransientError):
    """The platform's allowance is used up: ``retry_after`` tells when there is some again."""


class ServerFault(TransientError):
    """The platform failed over a read. It does so over some sets of fields, so that asking for less may help."""


class Gone(PermanentError):
    """The comment or post is deleted, or not shown to this account."""


class AlreadyReplied(PermanentError):
    """The comment has its private reply: there is one for each."""


@dataclass(frozen=True, slots=True)
class PostDetails:
    """``kind``: a ``PostKind``'s value, or "other". ``picture_urls``: at most ``MAX_PICTURES``; a video's is its
    thumbnail."""

    kind: str
    caption: str = field(repr=False)
    permalink: str | None
    published_at: datetime | None
    comments_count: int | None
    picture_urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoteComment:
    """A comment as the platform shows it. ``parent_id``: None at the top level; ``attachment``: of any shape."""

    id: str
    parent_id: str | None
    author_id: str | None
    author_name: str | None = field(repr=False)
    text: str = field(repr=False)
    written_at: datetime | None
    hidden: bool
    attachment: dict[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class CommentPage:
    """Some comments of a post, or some replies of a comment, in the platform's order.

    Instagram shows the newest top-level comments first, each followed by its replies, oldest first; a Page the newest
    first, replies among them. ``count``: the post's, told on its first page only, and not always.
    ``unfinished_threads``: comments that may have replies beyond those shown, and beyond ``after``.
    """

    comments: tuple[RemoteComment, ...]
    count: int | None = None
    after: str | None = None
    unfinished_threads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CommentState:
    """A comment and its replies, oldest first. ``complete``: these are all."""

    comment: RemoteComment
    replies: tuple[RemoteComment, ...]
    complete: bool


class CommentsApi(Protocol):
    """One platform. Thread-safe.

    Reads raise TransientError (Throttled), and PermanentError (Gone, AuthenticationExpired). Writes raise the same
    where they did not happen, and UnknownOutcome where they may have.
    """

    @property
    def can_like(self) -> bool:
        """Whether the platform lets an app like a comment."""

    def details(self, channel: Channel, post_id: str) -> PostDetails:
        """What the post shows."""

    def page(self, channel: Channel, post_id: str, after: str | None = None) -> CommentPage:
        """The post's comments, newest first; ``after`` is the page before's."""

    def replies(self, channel: Channel, comment_id: str, after: str | None = None) -> CommentPage:
        """The replies of a top-level comment."""

    def state(self, channel: Channel, comment_id: str) -> CommentState:
        """The comment as it is now. What answers a reply on Instagram is among the replies of its parent."""

    def reply(self, channel: Channel, comment_id: str, text: str) -> str:
        """Answer where all can read it; returns the reply's id."""

    def reply_privately(self, channel: Channel, comment_id: str, text: str) -> str:
        """Answer by a message, once for each comment; returns the message's id. Raises AlreadyReplied, too."""

    def hide(self, channel: Channel, comment_id: str) -> None:
        """Show it to nobody but its author and the author's friends."""

    def like(self, channel: Channel, comment_id: str) -> None:
        """Like it as the account."""

    def usage(self, channel: Channel) -> Usage | None:
        """What the account's latest answer told; None where none did."""


MAX_PICTURES = 4
PAGE_SIZE = "50"
_STATE_PAGES = 10
_TEXT_CHARACTERS = 20_000
_NAME_CHARACTERS = 300
_ID_CHARACTERS = 200
_ATTACHMENT_DEPTH = 8
_DAY = 86_400.0
# until the platform has some allowance again, where it does not tell
_REGAIN_SECONDS = 300.0
_GONE_CODES = frozenset({24, 803})
_TOO_OLD_SUBCODE = 2534022
_ALREADY_REPLIED = 10900
_REQUEST_TIMEOUT = 408
# NUL is refused by Postgres; half a pair is no character, and no codec takes it
_NUL = "\0"
_SURROGATES = re.compile("[\ud800-\udfff]")


class CommentCalls:
    """One platform's calls about comments, and the allowance that their answers tell of. Thread-safe."""

    def __init__(self, graph: GraphClient) -> None:
        self._graph = graph
        self._allowances = Allowances()

    def read(self, channel: Channel, path: str, *fields: str, **params: str) -> dict[str, Any]:
        """Read an object or an edge. ``fields``: what to ask for, and what to ask for where the platform fails over it.

        Raises:
            TransientError (Throttled, ServerFault), PermanentError (Gone, AuthenticationExpired).
        """
        wanted, *plainer = fields
        try:
            return self._ask(channel, "GET", path, None, {"fields": wanted, **params})
        except ServerFault:
            if not plainer:
                raise
            return self.read(channel, path, *plainer, **params)
        except UnknownOutcome as error:
            raise TransientError(str(error)) from None

    def write(
        self,
        channel: Channel,
        path: str,
        body: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Say or change something.

        Raises:
            TransientError (Throttled), PermanentError (Gone, AlreadyReplied, AuthenticationExpired): it did not happen.
            UnknownOutcome: it may have.
        """
        answer = self._ask(channel, "POST", path, body, params)
        if answer.get("success") is False:
            raise UnknownOutcome("the Graph API accepted the call, and does not say that it was done")
        return answer

    def usage(self, channel: Channel) -> Usage | None:
        return self._allowances.latest(channel.external_id)

    def _ask(
        self,
        channel: Channel,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        params: dict[str, str] | None,
    ) -> dict[str, Any]:
        wait = self._allowances.brake(channel.external_id)
        if wait:
            raise Throttled("the account's allowance of calls is all but used up", retry_after=wait)
        response = self._graph.request(
            channel.platform, method, path, channel.token, body=body, params=params
        )
        usage = usage_of(response.headers, channel.external_id)
        if usage is not None:
            self._allowances.note(channel.external_id, usage)
        answer = read_json(response)
        if response.status_code == 200 and isinstance(answer, dict) and "error" not in answer:
            return answer
        if method == "GET" and response.status_code >= 500:
            code, _ = codes(answer)
            raise ServerFault(f"Graph error {code or 'without a code'} (HTTP {response.status_code})")
        raise classify_comments(response, answer, usage)


def classify_comments(response: httpx.Response, body: Any, usage: Usage | None) -> SocialSyncError:
    """The error of a call about comments that was answered like this."""
    status = response.status_code
    code, subcode = codes(body)
    which = f"Graph error {code}/{subcode}" if subcode else f"Graph error {code}"
    if not 400 <= status < 500 or status == _REQUEST_TIMEOUT:
        return classify(status, body)
    if is_rate_limit(status, code):
        return Throttled(f"{which}: rate limit", retry_after=_regain(response, usage))
    if code in _GONE_CODES or (code == 100 and subcode == 33):
        return Gone(f"{which}: deleted, or not shown to this account", code=code)
    if code == _ALREADY_REPLIED:
        return AlreadyReplied(f"{which}: the comment was already answered privately", code=code)
    if code == 10 and subcode == _TOO_OLD_SUBCODE:
        return WindowClosed(f"{which}: a comment can be answered privately for seven days", code=code)
    return classify(status, body)


def state_of(
    comment: RemoteComment | None, first: CommentPage, read_on: Callable[[str], CommentPage]
) -> CommentState:
    """The state of a comment whose first replies are read. The replies stay in the platform's order."""
    if comment is None:
        raise TransientError("the Graph API showed the comment without its id")
    replies, page = first.comments, first
    for _ in range(_STATE_PAGES - 1):
        if page.after is None:
            break
        page = read_on(page.after)
        replies += page.comments
    return CommentState(comment, replies, complete=page.after is None and not page.unfinished_threads)


def replies_page(comments: tuple[RemoteComment, ...], edge: dict[str, Any], comment_id: str) -> CommentPage:
    """What an edge of a comment's replies shows."""
    after = cursor_of(edge)
    lost = goes_on(edge) and after is None
    return CommentPage(comments, after=after, unfinished_threads=(comment_id,) if lost else ())


def node(object_id: str) -> str:
    """An id as a part of a path. Dots are quoted, too: a part of dots alone would climb."""
    return quote(object_id, safe="", errors="replace").replace(".", "%2E")


def short_id(row: dict[str, Any], name: str = "id") -> str | None:
    """An id that an index can hold; None where there is none."""
    found = id_of(row, name)
    return found if found and len(found) <= _ID_CHARACTERS else None


def words_of(row: dict[str, Any], name: str, characters: int = _TEXT_CHARACTERS) -> str:
    """A text as it can be stored and encoded; empty where there is none."""
    value = row.get(name)
    return _clean(value[:characters]) if isinstance(value, str) else ""


def name_of(row: dict[str, Any], name: str) -> str | None:
    return words_of(row, name, _NAME_CHARACTERS).strip() or None


def count_of(row: dict[str, Any], name: str) -> int | None:
    value = row.get(name)
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    return value if fits else None


def time_of(row: dict[str, Any], name: str) -> datetime | None:
    """Meta's time of something (``2026-11-24T10:00:00+0000``) in UTC; None for one without its zone."""
    value = row.get(name)
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        return found.astimezone(UTC) if found and found.tzinfo else None
    except (ValueError, OverflowError):  # OverflowError: at the ends of time
        return None


def object_of(row: dict[str, Any], name: str) -> dict[str, Any]:
    value = row.get(name)
    return value if isinstance(value, dict) else {}


def storable(value: Any, depth: int = _ATTACHMENT_DEPTH) -> Any:
    """A value as jsonb takes it, without what lies too deep."""
    if isinstance(value, str):
        return _clean(value[:_TEXT_CHARACTERS])
    if isinstance(value, dict):
        return {_clean(key): storable(each, depth - 1) for key, each in value.items()} if depth else None
    if isinstance(value, list):
        return [storable(each, depth - 1) for each in value] if depth else None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def goes_on(edge: dict[str, Any]) -> bool:
    """Whether the edge has more than it shows. The last page has cursors, too, but no ``next``."""
    return bool(object_of(edge, "paging").get("next"))


def cursor_of(edge: dict[str, Any]) -> str | None:
    """Where the next page begins; None after the last one."""
    return id_of(object_of(object_of(edge, "paging"), "cursors"), "after") if goes_on(edge) else None


def following(after: str | None) -> dict[str, str]:
    """The parameters of a page."""
    return {"limit": PAGE_SIZE, **({"after": after} if after else {})}


def _clean(text: str) -> str:
    return _SURROGATES.sub("\ufffd", text.replace(_NUL, ""))


def _regain(response: httpx.Response, usage: Usage | None) -> float:
    """Seconds until the platform answers again."""
    told = response.headers.get("retry-after", "")
    after = float(told) if told.isascii() and told.isdigit() and len(told) < 10 else 0.0
    return min(max(after, usage.regain_seconds if usage else 0.0), _DAY) or _REGAIN_SECONDS
