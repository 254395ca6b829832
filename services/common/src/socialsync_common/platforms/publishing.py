"""Publishing: what Instagram and Pages have in common, and what their answers prove.

A post is prepared in containers that nobody sees (pictures and videos that Meta fetches), and one call makes it
live. Making containers may be repeated freely; that one call may not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from socialsync_common.contracts import Platform, PostKind
from socialsync_common.errors import PermanentError, SocialSyncError, TransientError, UnknownOutcome
from socialsync_common.platforms.errors import classify, codes
from socialsync_common.platforms.graph import GraphClient, read_json


class NotReady(TransientError):
    """The container is not processed yet."""


class Duplicate(PermanentError):
    """The Page's newest post is the same as this one."""


class Unreadable(PermanentError):
    """The platform does not show the container any more."""


class ContainerState(StrEnum):
    WORKING = "working"
    READY = "ready"
    PUBLISHED = "published"
    FAILED = "failed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Container:
    """What the platform says of a prepared post. ``may_succeed``: a failed one is worth another try."""

    state: ContainerState
    reason: str = ""
    may_succeed: bool = False


@dataclass(frozen=True, slots=True)
class Channel:
    """The account that publishes, as the platform knows it."""

    platform: Platform
    external_id: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DraftMedia:
    url: str
    is_video: bool
    alt_text: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    kind: PostKind
    text: str = field(repr=False)
    media: tuple[DraftMedia, ...] = ()


@dataclass(frozen=True, slots=True)
class Quota:
    """Posts of the last 24 hours as the platform counts them."""

    used: int
    total: int


class Publisher(Protocol):
    """One platform. All raise TransientError, PermanentError or UnknownOutcome as ``ask`` does.

    ``made`` are the ids of the containers so far, in the order of their making.
    """

    def pieces(self, draft: Draft) -> int:
        """How many containers the draft needs."""

    def create(self, channel: Channel, draft: Draft, made: Sequence[str]) -> str:
        """Make the next one; returns its id."""

    def is_told_by_container(self, draft: Draft) -> bool:
        """Whether ``look`` knows if the post is live; else ``find`` has to."""

    def look(self, channel: Channel, draft: Draft, made: Sequence[str]) -> Container:
        """How far they are: the first that is not ready speaks for all."""

    def publish(self, channel: Channel, draft: Draft, made: Sequence[str]) -> str:
        """The call that makes it live; returns the post's id."""

    def find(self, channel: Channel, draft: Draft, made: Sequence[str], since: datetime) -> str | None:
        """The id of the live post that this draft became since then, where exactly one can be it."""

    def permalink(self, channel: Channel, media_id: str) -> str | None:
        """Where people see it."""

    def comment(self, channel: Channel, media_id: str, text: str) -> str:
        """Comment on it; returns the comment's id."""

    def find_comment(self, channel: Channel, media_id: str, text: str) -> str | None:
        """The id of our own comment with this text."""

    def quota(self, channel: Channel) -> Quota | None:
        """None where the platform has none."""


# What the media server, or Meta's way to it, may get over: fetch failed, upload failed, create failed, try again later
_PASSING = frozenset({2207001, 2207003, 2207020, 2207032, 2207052, 2207053, 2207065})
_SUBCODE = re.compile(r"\b22\d{5}\b")
_FETCH_CODES = frozenset({9004, 324})
_FORMAT_CODES = frozenset({352, 36000, 36001, 36003, 36004})
# the call was refused for something else, or because an earlier one made the post live
_MAY_BE_LIVE = frozenset({2207051, 1363129})
_REQUEST_TIMEOUT = 408
_SHOWN_CHARACTERS = 300


def ask(
    graph: GraphClient,
    channel: Channel,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    params: dict[str, str] | None = None,
) -> dict[str, Any]:
    """One call; returns the answer.

    Raises:
        TransientError (NotReady), PermanentError (Duplicate, Unreadable, AuthenticationExpired): it did not happen.
        UnknownOutcome: it may have.
    """
    response = graph.request(channel.platform, method, path, channel.token, body=body, params=params)
    answer = read_json(response)
    if response.status_code == 200 and isinstance(answer, dict) and "error" not in answer:
        return answer
    raise classify_publishing(response.status_code, answer)


def classify_publishing(status: int, body: Any) -> SocialSyncError:
    """The error of a publishing call that was answered like this."""
    code, subcode = codes(body)
    which = f"Graph error {code}/{subcode}" if subcode else f"Graph error {code}"
    said = _said(body)
    refused = 400 <= status < 500 and status != _REQUEST_TIMEOUT
    if not refused or subcode in _MAY_BE_LIVE:
        # where status and code contradict each other, doubt wins
        return UnknownOutcome(f"{which} (HTTP {status}): it may have been published")
    if code == 9007:
        return NotReady(f"{which}: not processed yet")
    if code in _FETCH_CODES:
        return TransientError(
            f"{which}: Meta could not fetch the media: check that PUBLIC_URL is reachable from the internet"
        )
    if code in _FORMAT_CODES:
        return PermanentError(f"{which}: the media's format was refused{said}: replace it", code=code)
    if code == 9:
        return TransientError(f"{which}: the account has used up its posts of 24 hours")
    if code == 506:
        return Duplicate(f"{which}: the Page's newest post is the same: change the text", code=code)
    if code == 24 or (code == 100 and subcode == 33):
        return Unreadable(f"{which}: the platform does not know the prepared post any more", code=code)
    return classify(status, body)


def failed_container(status_text: str) -> Container:
    """What Instagram's words about a container in ERROR mean."""
    found = _SUBCODE.search(status_text)
    return Container(
        ContainerState.FAILED,
        f"Meta could not process the media: {shown(status_text) or 'no reason given'}",
        may_succeed=found is None or int(found.group()) in _PASSING,
    )


def text_of(answer: dict[str, Any], name: str) -> str:
    """A member that must be there. Raises UnknownOutcome where it is not: the call was accepted."""
    value = id_of(answer, name)
    if value is None:
        raise UnknownOutcome(f"the Graph API accepted the call and gave no {name}")
    return value


def id_of(row: dict[str, Any], name: str = "id") -> str | None:
    """An id, or whatever else consists of printable ASCII; None where there is none."""
    value = row.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    fits = isinstance(value, str) and value and value.isascii() and value.isprintable()
    return str(value) if fits else None


def link_of(answer: dict[str, Any], name: str) -> str | None:
    """A web address; None where there is none that could be shown."""
    value = answer.get(name)
    fits = isinstance(value, str) and value.startswith(("https://", "http://")) and value.isprintable()
    return str(value) if fits else None


def shown(text: Any) -> str:
    """The platform's words as they can be stored and shown."""
    return "".join(each if each.isprintable() else " " for each in str(text)[:_SHOWN_CHARACTERS]).strip()


def rows_of(answer: Any) -> list[dict[str, Any]]:
    """The objects of ``data``, whatever else is in there."""
    rows = answer.get("data") if isinstance(answer, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _said(body: Any) -> str:
    """Meta's words for people, where it has some."""
    error = body.get("error") if isinstance(body, dict) else None
    words = error.get("error_user_msg") if isinstance(error, dict) else None
    return f" ({shown(words)})" if isinstance(words, str) and words else ""
