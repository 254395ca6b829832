"""What detection is given, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from socialsync_common.contracts import CommentReason


class Outcome(StrEnum):
    """What becomes of a comment."""

    ANSWER = "answer"
    LEAVE = "leave"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Said:
    """One comment of a thread; ``author``: who also wrote the comment that is judged."""

    who: Literal["us", "author", "other"]
    text: str


@dataclass(frozen=True, slots=True)
class Heard:
    """A comment to judge, with the thread before it: the top-level comment first, then its replies."""

    text: str
    author_name: str | None
    is_reply: bool
    thread: tuple[Said, ...]
    own_names: frozenset[str]
    """The account's @names and its name, lower case."""


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    reason: CommentReason
    detail: str
    """The reason in words that a business owner understands."""
