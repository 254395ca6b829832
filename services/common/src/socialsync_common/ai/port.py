"""What a responder gets and gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from socialsync_common.contracts import Platform


@dataclass(frozen=True, slots=True)
class Attachment:
    """What came with a message: a picture's ``content``, a voice note's ``transcript``, or a ``note`` why neither."""

    type: str
    mime_type: str
    content: bytes | None = field(default=None, repr=False)
    transcript: str | None = field(default=None, repr=False)
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation, by the customer or the business."""

    role: Literal["customer", "business"]
    text: str = field(repr=False)
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplyRequest:
    """A conversation to answer: ``turns`` oldest first, those after the last business turn wait for an answer.
    ``knowledge`` are passages of the business's documents."""

    business_name: str
    instructions: str
    platform: Platform
    turns: tuple[Turn, ...]
    knowledge: tuple[str, ...] = ()

    @property
    def unanswered(self) -> tuple[Turn, ...]:
        """The customer's turns since the business last wrote, oldest first."""
        first = len(self.turns)
        while first and self.turns[first - 1].role == "customer":
            first -= 1
        return self.turns[first:]

    @property
    def question(self) -> str:
        """What the customer wrote or said since the business last wrote, joined by lines."""
        return "\n".join(
            part
            for turn in self.unanswered
            for part in (turn.text, *(one.transcript for one in turn.attachments))
            if part
        )


@dataclass(frozen=True, slots=True)
class ThreadTurn:
    """One comment of a thread: by the business, by the one whose comment is answered, or by somebody else."""

    role: Literal["business", "author", "other"]
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CommentRequest:
    """A comment to answer: ``text``, below the business's post with ``caption`` and ``pictures``.

    ``picture_note`` tells why pictures are missing. ``thread`` is what was written before the comment, oldest first.
    ``private``: the answer goes by private message, and may be longer.
    """

    business_name: str
    instructions: str = field(repr=False)
    platform: Platform
    caption: str = field(repr=False)
    pictures: tuple[Attachment, ...]
    picture_note: str | None
    thread: tuple[ThreadTurn, ...]
    text: str = field(repr=False)
    private: bool
    knowledge: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. ``handoff_reason``: a person should take the conversation from here.

    ``nothing_to_say``: a comment needs no answer. With either, the ``text`` about a comment is empty.
    """

    text: str = field(repr=False)
    model: str
    handoff_reason: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    nothing_to_say: bool = False


class Responder(Protocol):
    """Writes replies. Thread-safe."""

    name: str
    sees_pictures: bool
    hears_voice: bool

    def reply(self, request: ReplyRequest) -> Reply:
        """Raises TransientError (away, slow, limited, empty) or PermanentError (a setting is wrong)."""
        ...

    def comment(self, request: CommentRequest) -> Reply:
        """Errors as of ``reply``. See ``guard.unfit`` for what of its text may leave."""
        ...

    def transcribe(self, audio: bytes, mime_type: str) -> str:
        """The words of a voice note; PermanentError where ``hears_voice`` is not set."""
        ...
