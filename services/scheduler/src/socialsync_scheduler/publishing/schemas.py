"""A target as a worker sees it, and what may be done next with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from socialsync_common.contracts import PostKind

LEASE_SECONDS = 20
"""A worker renews its leases three times in this time; a dead worker's targets are taken over after it."""


@dataclass(frozen=True, slots=True)
class Target:
    """One post on one account. ``media``: rows {id, mime_type, kind, alt_text} in their order."""

    id: UUID
    tenant_id: UUID
    post_id: UUID
    account_id: UUID
    kind: PostKind
    text: str = field(repr=False)
    first_comment: str | None = field(repr=False)
    media: tuple[dict[str, Any], ...]
    due_at: datetime
    status: str
    phase: str | None
    container_ids: tuple[str, ...]
    container_at: datetime | None
    attempt: int
    publishes: int
    publish_called_at: datetime | None
    media_id: str | None
    permalink: str | None
    comment_status: str | None
    comment_attempt: int
    lease: UUID | None = None
    """Of this claim, and of no other: what was claimed again, by this very worker too, is not changed under it."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing is left to do."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again at ``until``; ``reason`` is shown to people."""

    until: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Create:
    """Make the next container."""


@dataclass(frozen=True, slots=True)
class Poll:
    """Ask whether the containers are ready."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Publish at ``at``, and not before."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Reconcile:
    """It may be live: find out."""


@dataclass(frozen=True, slots=True)
class Finish:
    """It is live: read its permalink, write the first comment."""


@dataclass(frozen=True, slots=True)
class Confirm:
    """It is live."""


@dataclass(frozen=True, slots=True)
class Again:
    """It is proven not to be live: try once more at ``at``; ``fresh`` makes new containers first."""

    at: datetime
    reason: str
    fresh: bool = False
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Fail:
    """It is proven not to be live, and will not be."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A person has to look: it was missed, or nobody can know whether it is live."""

    reason: str
    missed: bool = False


Step = Closed | Wait | Create | Poll | Launch | Reconcile | Finish | Ask
Verdict = Closed | Wait | Confirm | Again | Fail | Ask | Launch
