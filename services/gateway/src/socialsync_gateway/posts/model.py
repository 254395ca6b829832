"""What decisions about posts look at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from socialsync_common.contracts import Platform, PostKind

Decision = Literal["published", "publish", "abandon"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one part of a request, and what to do about it."""

    where: tuple[str | int, ...]
    detail: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something cannot be done now; ``kind`` names it for programs."""

    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file as a request names it: it may be unknown."""

    id: str
    alt_text: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A post as somebody wants it to be; ``accounts`` are ids, which may be unknown."""

    kind: PostKind
    text: str
    first_comment: str | None
    media: tuple[Attachment, ...]
    accounts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class File:
    """A picture or video that was uploaded."""

    id: UUID
    kind: Literal["image", "video"]
    mime_type: str
    size: int
    width: int
    height: int
    duration_seconds: float | None


@dataclass(frozen=True, slots=True)
class Channel:
    """A connected account."""

    id: UUID
    name: str
    platform: Platform
    status: str
    quota_used: int | None
    quota_total: int | None
    quota_read_at: datetime | None


@dataclass(frozen=True, slots=True)
class Target:
    """How far the post has come on one account."""

    id: UUID
    account_id: UUID
    account_name: str
    status: str
    phase: str | None

    @property
    def is_open(self) -> bool:
        """Whether it can still be changed: from the publish call on it may be live."""
        return self.status == "queued" and self.phase != "publish_called"
