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
    transcript: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation, by the customer or the business."""

    role: Literal["customer", "business"]
    text: str
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
    def question(self) -> str:
        """What the customer wrote since the business last did, joined by lines."""
        waiting: list[str] = []
        for turn in reversed(self.turns):
            if turn.role == "business":
                break
            transcripts = [part.transcript for part in turn.attachments if part.transcript]
            waiting.append("\n".join([turn.text, *transcripts]))
        return "\n".join(reversed(waiting))


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. ``handoff_reason``: a person should take the conversation from here."""

    text: str
    model: str
    handoff_reason: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0


class Responder(Protocol):
    """Writes replies. Thread-safe."""

    name: str
    sees_pictures: bool
    hears_voice: bool

    def reply(self, request: ReplyRequest) -> Reply:
        """Raises TransientError (away, slow, limited) or PermanentError (a setting is wrong)."""
        ...

    def transcribe(self, audio: bytes, mime_type: str) -> str:
        """The words of a voice note. Only where ``hears_voice``."""
        ...
