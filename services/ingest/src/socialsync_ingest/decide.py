"""Whether and how to answer: pure decisions, apart from all I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from socialsync_common.ai.intent import detect_language, wants_person
from socialsync_common.ai.texts import Language, fixed_text
from socialsync_common.contracts import SkipReason
from socialsync_common.platforms.limits import MESSAGING_WINDOW
from socialsync_ingest.schemas import Ask, Plan, Say, Situation, Skip, Wait

RECONNECT_SECONDS = 600
# a typist may push a finished reply back, but not for longer than this
SUPERSEDE_LIMIT = timedelta(seconds=45)
NO_RECIPIENT = "the contact has no identity that a reply could go to"
WINDOW_CLOSED = "the 24-hour window is closed: only a template or the contact's next message can open it"

_PICTURES = frozenset({"image", "sticker"})
_VOICE = frozenset({"audio", "voice"})


def plan_reply(situation: Situation) -> Plan:
    """What to do about the messages that wait."""
    waiting = situation.waiting
    if situation.handler == "person":
        return Skip(SkipReason.PERSON_ANSWERS)
    if situation.account_status != "active":
        return Wait(RECONNECT_SECONDS, "the account must be reconnected first")
    if situation.now - max(message.sent_at for message in waiting) > MESSAGING_WINDOW:
        return Skip(WINDOW_CLOSED, to_person=True)
    written = "\n".join(message.text for message in waiting if message.text)
    language = detect_language(written)
    if wants_person(written):
        return Say(fixed_text("handing_over", language), handoff_reason="the contact asked for a person")
    if all(message.kind == "unsupported" for message in waiting):
        return Say(fixed_text("unsupported", language))
    notice = _notice(situation, language)
    if notice and not written:
        return Say(notice)
    return Ask(notice)


def _notice(situation: Situation, language: Language) -> str | None:
    kinds = {str(part.get("type")) for message in situation.waiting for part in message.attachments or ()}
    if kinds & _PICTURES and not situation.capabilities.pictures:
        return fixed_text("cannot_see", language)
    if kinds & _VOICE and not situation.capabilities.voice:
        return fixed_text("cannot_hear", language)
    return None


def superseded_by(
    *,
    now: datetime,
    handler: str,
    handler_since: datetime | None,
    written_at: datetime,
    answered: Sequence[dict[str, Any]],
    newer_waiting: bool,
    last_inbound_at: datetime | None,
) -> tuple[str, bool] | None:
    """Why a reply must not leave, right before it would; and whether its messages then wait again.

    ``answered`` are the messages it answers (received_at, edited_at, revoked_at).
    """
    # a reply that itself hands over was written in the moment that the person got the conversation
    if handler == "person" and (handler_since is None or handler_since > written_at):
        return SkipReason.PERSON_ANSWERS, False
    if last_inbound_at is not None and now - last_inbound_at > MESSAGING_WINDOW:
        return WINDOW_CLOSED, False
    standing = [one for one in answered if one["revoked_at"] is None]
    if not standing:
        return "the contact revoked what it answers", False
    if len(standing) < len(answered):
        return "the contact revoked a part of what it answers", True
    if any(one["edited_at"] is not None and one["edited_at"] > written_at for one in standing):
        return "the contact edited what it answers", True
    oldest = min(one["received_at"] for one in standing)
    if newer_waiting and now - oldest < SUPERSEDE_LIMIT:
        return "the contact wrote on", True
    return None


def retry_delay(failures: int) -> float:
    """Seconds until the next attempt at an answer: doubling, a minute at most."""
    return float(min(60, 2 ** min(failures + 1, 6)))
