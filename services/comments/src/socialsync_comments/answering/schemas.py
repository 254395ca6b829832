"""A comment as a worker sees it, and what may come of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from socialsync_common.contracts import CommentReason, CommentStatus

LEASE_SECONDS = 20
"""A worker renews its leases three times in this time; a dead worker's comments are taken over after it."""

SendKind = Literal["public_reply", "private_reply", "hide", "like"]
ORDER: tuple[SendKind, ...] = ("hide", "private_reply", "public_reply", "like")
"""What is hidden needs no answer, and a public reply that announces a private one leaves after it."""
REPLIES = frozenset({"private_reply", "public_reply"})


@dataclass(frozen=True, slots=True)
class Comment:
    """One comment under this worker's lease. ``post_id`` None: on somebody else's post."""

    id: UUID
    tenant_id: UUID
    account_id: UUID
    post_id: UUID | None
    external_id: str
    parent_external_id: str | None
    kind: str
    author_id: str | None
    author_name: str | None
    text: str = field(repr=False)
    written_at: datetime
    version: int
    deleted_at: datetime | None
    hidden: bool
    status: CommentStatus
    reason: CommentReason | None
    detail: str | None
    failures: int
    lease: UUID | None = None

    @property
    def thread_id(self) -> str:
        """The platform's id of the comment that its thread begins with."""
        return self.parent_external_id or self.external_id


@dataclass(frozen=True, slots=True)
class Post:
    """The post that a comment is on, as far as deciding needs it."""

    external_id: str
    origin: str
    monitored: bool
    monitored_since: datetime | None


@dataclass(frozen=True, slots=True)
class ThreadComment:
    """Another comment of the same thread. ``ours``: it is an answer that SocialSync sent."""

    external_id: str
    author_id: str | None
    author_name: str | None
    text: str = field(repr=False)
    written_at: datetime
    ours: bool


@dataclass(frozen=True, slots=True)
class Send:
    """One thing said or done about a comment."""

    id: UUID
    kind: SendKind
    author: Literal["ai", "person"]
    text: str | None = field(repr=False)
    status: str
    attempt: int
    version: int
    called_at: datetime | None
    platform_id: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    """Answers of the last hour: of the account, on the post, to the author."""

    account: int
    post: int
    author: int


# --- plans for a new comment ---


@dataclass(frozen=True, slots=True)
class Leave:
    """Alone."""

    reason: CommentReason
    detail: str


@dataclass(frozen=True, slots=True)
class HandOver:
    """To a person."""

    reason: CommentReason
    detail: str


@dataclass(frozen=True, slots=True)
class Act:
    """Hide or like it."""

    kind: Literal["hide", "like"]
    reason: CommentReason
    detail: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Ask the model for an answer."""

    reason: CommentReason
    detail: str


Plan = Leave | HandOver | Act | Answer


# --- what becomes of a send ---


@dataclass(frozen=True, slots=True)
class Sent:
    platform_id: str | None


@dataclass(frozen=True, slots=True)
class Retry:
    """It did not happen: again in so many ``seconds``."""

    seconds: float
    reason: str
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have happened: look in so many ``seconds``."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not happen, and will not."""

    reason: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """It must not leave any more. ``again``: the comment is decided anew, by its ``text`` of now where that is new."""

    reason: CommentReason
    detail: str
    again: bool = False
    text: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Ours:
    """What SocialSync said in a thread: platform ids of its replies, and texts of those that may be on their way."""

    ids: frozenset[str] = frozenset()
    texts: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nobody can tell whether it happened: a person looks."""

    reason: str


Outcome = Sent | Retry | Unknown | Failed | Superseded | GiveUp
