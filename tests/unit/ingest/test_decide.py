"""Whether and how to answer: every branch, as tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socialsync_common.ai.texts import fixed_text
from socialsync_common.contracts import SkipReason
from socialsync_ingest.decide import (
    RECONNECT_SECONDS,
    SUPERSEDE_LIMIT,
    WINDOW_CLOSED,
    plan_reply,
    retry_delay,
    superseded_by,
)
from socialsync_ingest.schemas import Ask, Capabilities, Message, Plan, Say, Situation, Skip, Wait

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(hours=24)
BLIND = Capabilities(pictures=False, voice=False)
ALL = Capabilities(pictures=True, voice=True)


def message(text: str | None = None, *parts: str, kind: str = "text", age: timedelta = SECOND) -> Message:
    sent = NOW - age
    return Message(
        id=1,
        platform_message_id="wamid.1",
        direction="in",
        author="contact",
        kind=kind,
        text=text,
        attachments=[{"type": part} for part in parts] or None,
        sent_at=sent,
        received_at=sent,
    )


def plan(*waiting: Message, handler: str = "ai", status: str = "active", can: Capabilities = BLIND) -> Plan:
    return plan_reply(Situation(NOW, handler, status, list(waiting), can))


HELLO = message("Do you open on Sundays?")
BONJOUR = message("Bonjour, vous ouvrez quand ?")
PERSON = message("I want to speak to a person")
OLD = message("Hello?", age=DAY + SECOND)
UNREADABLE = message(kind="unsupported")
WAIT = Wait(RECONNECT_SECONDS, "the account must be reconnected first")
CLOSED = Skip(WINDOW_CLOSED, to_person=True)


@pytest.mark.parametrize(
    ("waiting", "situation", "expected"),
    [
        ([HELLO], {}, Ask()),
        # a person has the conversation: before anything else
        ([HELLO], {"handler": "person"}, Skip(SkipReason.PERSON_ANSWERS)),
        ([PERSON], {"handler": "person", "status": "needs_reconnect"}, Skip(SkipReason.PERSON_ANSWERS)),
        ([OLD], {"handler": "person"}, Skip(SkipReason.PERSON_ANSWERS)),
        # nothing can be sent for now
        ([HELLO], {"status": "needs_reconnect"}, WAIT),
        ([OLD], {"status": "needs_reconnect"}, WAIT),
        # the window counts from the latest message, in the platform's time
        ([OLD], {}, CLOSED),
        ([message("I want a human", age=DAY + SECOND)], {}, CLOSED),
        ([message("Hello?", age=DAY)], {}, Ask()),
        ([OLD, HELLO], {}, Ask()),
        ([message("Hello?", age=-timedelta(minutes=5))], {}, Ask()),
    ],
)
def test_whether(waiting: list[Message], situation: dict[str, Any], expected: Plan) -> None:
    assert plan(*waiting, **situation) == expected


@pytest.mark.parametrize(
    ("waiting", "language"),
    [
        ([PERSON], "en"),
        ([HELLO, message("a human please")], "en"),
        ([message("Je voudrais parler à quelqu'un")], "fr"),
        ([BONJOUR, message("une personne svp")], "fr"),
        ([message("une personne svp", "image")], "fr"),
        ([UNREADABLE, PERSON], "en"),
    ],
)
def test_who_asks_for_a_person_gets_one(waiting: list[Message], language: Any) -> None:
    expected = Say(fixed_text("handing_over", language), handoff_reason="the contact asked for a person")
    assert plan(*waiting) == plan(*waiting, can=ALL) == expected


@pytest.mark.parametrize(
    ("waiting", "can", "expected"),
    [
        # nothing that anyone could read
        ([UNREADABLE], ALL, Say(fixed_text("unsupported", "en"))),
        ([UNREADABLE, UNREADABLE], BLIND, Say(fixed_text("unsupported", "en"))),
        ([UNREADABLE, HELLO], BLIND, Ask()),
        # pictures and voice notes alone
        ([message(None, "image", kind="image")], BLIND, Say(fixed_text("cannot_see", "en"))),
        ([message(None, "sticker", kind="sticker")], BLIND, Say(fixed_text("cannot_see", "en"))),
        ([message(None, "audio", kind="audio")], BLIND, Say(fixed_text("cannot_hear", "en"))),
        ([message(None, "voice", kind="audio")], BLIND, Say(fixed_text("cannot_hear", "en"))),
        ([message(None, "image", "audio", kind="image")], BLIND, Say(fixed_text("cannot_see", "en"))),
        ([message("", "image", kind="image")], BLIND, Say(fixed_text("cannot_see", "en"))),
        # with words beside them, the words are answered and the rest is admitted
        ([message("What is this?", "image", kind="image")], BLIND, Ask(fixed_text("cannot_see", "en"))),
        ([BONJOUR, message(None, "audio", kind="audio")], BLIND, Ask(fixed_text("cannot_hear", "fr"))),
        # a responder that sees or hears needs no excuse
        ([message(None, "image", kind="image")], Capabilities(pictures=True, voice=False), Ask()),
        ([message(None, "audio", kind="audio")], Capabilities(pictures=False, voice=True), Ask()),
        (
            [message(None, "image", "audio", kind="image")],
            Capabilities(pictures=True, voice=False),
            Say(fixed_text("cannot_hear", "en")),
        ),
        ([message("And this?", "image", "voice", kind="image")], ALL, Ask()),
        # other kinds are the model's to answer
        ([message(None, "document", kind="document")], BLIND, Ask()),
        ([message(None, kind="location")], BLIND, Ask()),
    ],
)
def test_how(waiting: list[Message], can: Capabilities, expected: Plan) -> None:
    assert plan(*waiting, can=can) == expected


WRITTEN = NOW - 5 * SECOND


def answered(
    received: timedelta = 10 * SECOND, *, edited: datetime | None = None, revoked: bool = False
) -> dict[str, Any]:
    return {"received_at": NOW - received, "edited_at": edited, "revoked_at": NOW if revoked else None}


def verdict(**changes: Any) -> tuple[str, bool] | None:
    facts: dict[str, Any] = {
        "now": NOW,
        "handler": "ai",
        "handler_since": None,
        "written_at": WRITTEN,
        "answered": [answered()],
        "newer_waiting": False,
        "last_inbound_at": NOW - 10 * SECOND,
    }
    return superseded_by(**{**facts, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        # the reply that hands over was written before or as the person got the conversation
        {"handler": "person", "handler_since": WRITTEN},
        {"handler": "person", "handler_since": WRITTEN - SECOND},
        # given back to the AI meanwhile
        {"handler": "ai", "handler_since": NOW},
        {"last_inbound_at": NOW - DAY},
        {"last_inbound_at": None},
        # the edit is what it answers
        {"answered": [answered(edited=WRITTEN)]},
        {"answered": [answered(edited=WRITTEN - SECOND)]},
        # someone who writes on and on gets a reply in the end
        {"newer_waiting": True, "answered": [answered(SUPERSEDE_LIMIT)]},
        {"newer_waiting": True, "answered": [answered(), answered(SUPERSEDE_LIMIT)]},
    ],
)
def test_a_reply_that_may_leave(changes: dict[str, Any]) -> None:
    assert verdict(**changes) is None


@pytest.mark.parametrize(
    ("changes", "reason", "again"),
    [
        ({"handler": "person"}, SkipReason.PERSON_ANSWERS, False),
        ({"handler": "person", "handler_since": WRITTEN + SECOND}, SkipReason.PERSON_ANSWERS, False),
        ({"last_inbound_at": NOW - DAY - SECOND}, WINDOW_CLOSED, False),
        ({"answered": [answered(revoked=True)]}, "the contact revoked what it answers", False),
        ({"answered": []}, "the contact revoked what it answers", False),
        (
            {"answered": [answered(revoked=True), answered(revoked=True)], "newer_waiting": True},
            "the contact revoked what it answers",
            False,
        ),
        (
            {"answered": [answered(), answered(revoked=True)]},
            "the contact revoked a part of what it answers",
            True,
        ),
        ({"answered": [answered(edited=WRITTEN + SECOND)]}, "the contact edited what it answers", True),
        (
            {"answered": [answered(), answered(edited=WRITTEN + SECOND)]},
            "the contact edited what it answers",
            True,
        ),
        ({"newer_waiting": True}, "the contact wrote on", True),
        (
            {"newer_waiting": True, "answered": [answered(SUPERSEDE_LIMIT - SECOND)]},
            "the contact wrote on",
            True,
        ),
        # what ends it comes before what repeats it
        (
            {"handler": "person", "newer_waiting": True, "answered": [answered(revoked=True)]},
            SkipReason.PERSON_ANSWERS,
            False,
        ),
        ({"last_inbound_at": NOW - 2 * DAY, "newer_waiting": True}, WINDOW_CLOSED, False),
    ],
)
def test_a_reply_that_must_not_leave(changes: dict[str, Any], reason: str, again: bool) -> None:
    assert verdict(**changes) == (reason, again)


@given(
    ages=st.lists(st.integers(0, 200), min_size=1, max_size=5),
    revoked=st.booleans(),
    edited=st.booleans(),
    newer=st.booleans(),
)
def test_only_what_still_stands_waits_again(
    ages: list[int], revoked: bool, edited: bool, newer: bool
) -> None:
    rows = [answered(age * SECOND, edited=NOW if edited else None, revoked=revoked) for age in ages]
    decided = verdict(answered=rows, newer_waiting=newer)
    if decided is not None:
        assert decided[1] == (not revoked)
    else:
        assert not revoked
        assert not edited
        assert not newer or max(ages) * SECOND >= SUPERSEDE_LIMIT


def test_retry_delay_doubles_up_to_a_minute() -> None:
    assert [retry_delay(failures) for failures in (0, 1, 2, 3, 4, 5, 6, 10_000)] == [
        2,
        4,
        8,
        16,
        32,
        60,
        60,
        60,
    ]
