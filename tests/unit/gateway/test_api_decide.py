"""When a person's answer may leave, and what a key stands for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from socialsync_common.contracts import Platform
from socialsync_gateway.api.decide import batch_of_key, is_repeat, refuse_answer, refuse_resolution

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ONE, TWO = UUID(int=1), UUID(int=2)


def refusal(**changes):
    situation = {
        "now": NOW,
        "platform": Platform.WHATSAPP,
        "account_status": "active",
        "reachable": True,
        "last_inbound_at": NOW - timedelta(hours=1),
    }
    refused = refuse_answer(**{**situation, **changes})
    return refused.kind if refused else None


def test_an_answer_within_the_window_may_leave():
    assert refusal() is None
    assert refusal(last_inbound_at=NOW + timedelta(minutes=1)) is None


@pytest.mark.parametrize(
    ("platform", "window"),
    [
        (Platform.WHATSAPP, timedelta(hours=24)),
        (Platform.INSTAGRAM, timedelta(days=7)),
        (Platform.MESSENGER, timedelta(days=7)),
    ],
)
def test_each_platform_has_its_window(platform, window):
    assert refusal(platform=platform, last_inbound_at=NOW - window) is None
    late = NOW - window - timedelta(seconds=1)
    assert refusal(platform=platform, last_inbound_at=late) == "window-closed"


def test_what_else_refuses_an_answer():
    assert refusal(last_inbound_at=None) == "window-closed"
    assert refusal(account_status="needs_reconnect") == "needs-reconnect"
    assert refusal(reachable=False) == "unreachable"


def test_the_refusal_names_the_window():
    refused = refuse_answer(
        now=NOW, platform=Platform.INSTAGRAM, account_status="active", reachable=True, last_inbound_at=None
    )
    assert refused
    assert "7 days" in refused.detail


def test_a_key_is_one_batch_of_its_tenant():
    assert batch_of_key(ONE, "key") == batch_of_key(ONE, "key")
    assert len({batch_of_key(ONE, "key"), batch_of_key(TWO, "key"), batch_of_key(ONE, "other")}) == 3


def test_a_repeat_is_the_same_text_to_the_same_conversation():
    sends = [{"conversation_id": ONE, "text": "a"}, {"conversation_id": ONE, "text": "b"}]
    assert is_repeat(sends, ONE, ["a", "b"])
    assert not is_repeat(sends, TWO, ["a", "b"])
    assert not is_repeat(sends, ONE, ["a"])
    assert not is_repeat([], ONE, ["a"])


@pytest.mark.parametrize(
    ("status", "outcome", "refused"),
    [
        ("unknown", "sent", False),
        ("unknown", "not_sent", False),
        ("sent", "sent", False),
        ("failed", "not_sent", False),
        ("sent", "not_sent", True),
        ("failed", "sent", True),
        ("pending", "sent", True),
        ("sending", "not_sent", True),
    ],
)
def test_only_an_unknown_outcome_is_settled(status, outcome, refused):
    assert bool(refuse_resolution(status, outcome)) is refused
