"""What the reply logic works on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from socialsync_common.contracts import Identity


@dataclass(frozen=True, slots=True)
class Message:
    """A stored message of either direction. ``sent_at`` is the platform's time, ``received_at`` ours."""

    id: int
    platform_message_id: str
    direction: str
    author: str
    kind: str
    text: str | None
    attachments: list[dict[str, Any]] | None
    sent_at: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation and whom to send to."""

    id: UUID
    tenant_id: UUID
    account_id: UUID
    handler: str
    handler_since: datetime | None
    failures: int
    recipient: Identity | None


@dataclass(frozen=True, slots=True)
class Skip:
    """No reply. The messages stop waiting, for this reason; ``to_person`` shows the conversation to one."""

    reason: str
    to_person: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """No reply now: the messages keep waiting for ``seconds``."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Say:
    """A fixed text. ``handoff_reason`` hands the conversation over with it."""

    text: str
    handoff_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the responder; ``notice`` is said after its answer (a picture that nobody saw …)."""

    notice: str | None = None


Plan = Skip | Wait | Say | Ask


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the configured responder can take."""

    pictures: bool
    voice: bool


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the decision looks at."""

    now: datetime
    handler: str
    account_status: str
    waiting: list[Message] = field(default_factory=list)
    capabilities: Capabilities = Capabilities(pictures=False, voice=False)
