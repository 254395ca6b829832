"""A post as it is watched, and what a run over its comments leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from socialsync_common.ai import Attachment


@dataclass(frozen=True, slots=True)
class Watched:
    """A post whose comments are read. ``taken_at``: when this run took it, by the database's clock."""

    id: UUID
    tenant_id: UUID
    account_id: UUID
    external_id: str
    origin: str
    published_at: datetime | None
    comments_count: int | None
    unseen: int
    cursor: str | None
    last_comment_at: datetime | None
    failures: int
    pictures_at: datetime | None
    created_at: datetime
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class Calls:
    """What is stored of an account's allowance. ``percent``: of what the platform allows; 100: refused."""

    percent: float | None
    read_at: datetime | None
    paused_until: datetime | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where reading goes on: among the post's comments, or in one ``thread``; without ``after`` at its beginning."""

    thread: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of the comments of one page: ``new`` ones, edited ones that are looked at ``again``; and how many
    of the post's comments are ``held`` then, as ``Activity`` counts them."""

    new: int
    again: int
    held: int


@dataclass(frozen=True, slots=True)
class Activity:
    """``held``: stored comments of a post that people see there. ``latest``: when the last one was written."""

    held: int
    latest: datetime | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run writes into the post's row. ``next_poll_at``: None where it is not read again."""

    next_poll_at: datetime | None
    comments_count: int | None
    unseen: int
    cursor: str | None
    last_comment_at: datetime | None
    failures: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Described:
    """What is stored of a post's looks. ``pictures``: by their position, from 1."""

    id: UUID
    external_id: str
    kind: str | None
    caption: str | None = field(repr=False)
    permalink: str | None
    details_at: datetime | None
    pictures_at: datetime | None
    pictures_note: str | None
    pictures: dict[int, Attachment] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Post:
    """A post as whoever answers sees it. ``picture_note``: why not all of its pictures are there."""

    id: UUID
    external_id: str
    kind: str | None
    caption: str = field(repr=False)
    permalink: str | None
    pictures: tuple[Attachment, ...]
    picture_note: str | None
