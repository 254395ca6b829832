"""Whether a person's answer may leave, and what an idempotency key stands for: pure decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from socialsync_common.contracts import Platform, SkipReason
from socialsync_common.db import Row
from socialsync_common.platforms.limits import MESSAGING_WINDOW

HUMAN_AGENT_WINDOW = timedelta(days=7)

TAKEN_OVER = SkipReason.PERSON_TOOK_OVER
# why messages of a conversation that a person has were left without a reply
HELD_REASONS = (SkipReason.PERSON_ANSWERS, TAKEN_OVER)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something cannot be done now; ``kind`` names it for programs."""

    kind: str
    detail: str


def refuse_answer(
    *,
    now: datetime,
    platform: Platform,
    account_status: str,
    reachable: bool,
    last_inbound_at: datetime | None,
) -> Refusal | None:
    """Why a person's answer could not reach the contact, or None."""
    if account_status != "active":
        return Refusal("needs-reconnect", "The account must be reconnected before anything can be sent.")
    if not reachable:
        return Refusal("unreachable", "The contact goes on in another conversation: answer there.")
    window = answer_window(platform)
    if last_inbound_at is None or now - last_inbound_at > window:
        hours = int(window.total_seconds() // 3600)
        span = f"{hours} hours" if hours <= 48 else f"{hours // 24} days"
        return Refusal(
            "window-closed", f"The contact last wrote more than {span} ago: they have to write first."
        )
    return None


def answer_window(platform: Platform) -> timedelta:
    """How long after the contact's last message a person may write: Meta's HUMAN_AGENT tag gives them longer."""
    return MESSAGING_WINDOW if platform is Platform.WHATSAPP else HUMAN_AGENT_WINDOW


def batch_of_key(tenant: UUID, idempotency_key: str) -> UUID:
    """The same key of the same tenant is the same batch, which the outbox holds once."""
    return uuid5(tenant, f"idempotency:{idempotency_key}")


def is_repeat(sends: Sequence[Row], conversation: UUID, parts: Sequence[str]) -> bool:
    """Whether a batch that is there already is this same answer to this same conversation."""
    return [send["text"] for send in sends] == list(parts) and all(
        send["conversation_id"] == conversation for send in sends
    )


def refuse_resolution(status: str, outcome: str) -> Refusal | None:
    """A send is settled once; saying the same again is fine."""
    if status == "unknown" or status == {"sent": "sent", "not_sent": "failed"}[outcome]:
        return None
    return Refusal("not-unknown", f"Only a send of unknown outcome can be settled; this one is {status}.")
