"""What each Graph answer proves: the whole fate of a send hangs on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socialsync_common.errors import (
    AuthenticationExpired,
    PermanentError,
    SocialSyncError,
    TransientError,
    UnknownOutcome,
    WindowClosed,
)
from socialsync_common.platforms.errors import BLOCKED_SECONDS, MAX_RETRY_SECONDS, backoff, classify

PAYLOADS = Path(__file__).parents[4] / "shared" / "payloads"


def body(code: Any, subcode: int | None = None, **more: Any) -> dict[str, Any]:
    error = {"message": "what the contact wrote", "type": "OAuthException", "code": code, "fbtrace_id": "t"}
    return {"error": {**error, **({"error_subcode": subcode} if subcode else {}), **more}}


@pytest.mark.parametrize("code", [4, 17, 341, 80002, 80007, 130429, 131056])
@pytest.mark.parametrize("status", [400, 403, 429])
def test_rate_limits(code: int, status: int) -> None:
    waits = []
    for attempt in (1, 2, 3, 6, 10_000):
        error = classify(status, body(code), attempt)
        assert type(error) is TransientError
        waits.append(error.retry_after)
    assert waits == [4, 16, 64, MAX_RETRY_SECONDS, MAX_RETRY_SECONDS]


@pytest.mark.parametrize("answer", [None, {}, body(613), body(80006), [], "slow down"])
def test_status_429(answer: Any) -> None:
    error = classify(429, answer)
    assert type(error) is TransientError
    assert error.retry_after == 4


@pytest.mark.parametrize("code", [368, 131048])
def test_blocked_waits_long(code: int) -> None:
    error = classify(400, body(code, 1390008), attempt=1)
    assert type(error) is TransientError
    assert error.retry_after == BLOCKED_SECONDS >= 600


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (400, body(131047)),
        (400, body(10, 2534022)),
        (403, body(10, 2534022)),
        (400, body(10, 2018278)),
        (403, body(200, 2018278)),
    ],
)
def test_window_closed(status: int, answer: Any) -> None:
    error = classify(status, answer)
    assert type(error) is WindowClosed
    assert "write first" in str(error)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (401, body(190)),
        (400, body(190, 463)),
        (400, body("190")),
        (401, body(0)),
        (401, None),
        (400, body(102)),
    ],
)
def test_token_no_longer_accepted(status: int, answer: Any) -> None:
    error = classify(status, answer)
    assert type(error) is AuthenticationExpired
    assert "reconnect" in str(error)


@pytest.mark.parametrize(
    ("status", "answer", "advice"),
    [
        (400, body(100), "the account's id and its token"),
        (404, body(100, 33), "the account's id and its token"),
        (403, body(10), "permission"),
        (403, body(200), "permission"),
        (400, body(299), "permission"),
        (400, body(131026), "cannot receive"),
        (400, body(131031), "locked"),
        (400, body(131042), "billing"),
        (400, body(551), "cannot be reached"),
        (400, body(9007, 2207027, is_transient=False), "error reference"),
        (400, body(999_999, is_transient=True), "error reference"),
        (403, None, "proxy"),
        (404, "<html>", "META_GRAPH_URL"),
        (418, {"error": "teapot"}, "META_GRAPH_URL"),
    ],
)
def test_refused_for_good(status: int, answer: Any, advice: str) -> None:
    error = classify(status, answer)
    assert type(error) is PermanentError
    assert advice in str(error)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        *((status, answer) for status in (500, 502, 503, 504) for answer in (None, {}, body(2), body(1))),
        # a limit or a refusal that comes as a server fault proves nothing
        (500, body(4)),
        (503, body(130429)),
        (500, body(190)),
        (500, body(100)),
        (400, body(1)),
        (400, body(2, is_transient=True)),
        (400, body(131000)),
        (429, body(2)),
        (408, None),
        # accepted, it seems, but without an id
        (200, None),
        (200, {}),
        (200, {"messages": []}),
        (200, body(4)),
        (302, None),
    ],
)
def test_unknown(status: int, answer: Any) -> None:
    assert type(classify(status, answer)) is UnknownOutcome


def test_messages_name_the_code_and_nothing_that_was_said() -> None:
    shown = str(classify(400, body(131026, 77, error_data={"details": "secret"})))
    assert "131026/77" in shown
    assert "HTTP 400" in shown
    assert "contact wrote" not in shown
    assert "secret" not in shown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    status=st.integers(100, 599),
    answer=JSON | st.builds(body, JSON) | st.fixed_dictionaries({"error": JSON}),
    attempt=st.integers(-5, 10**9),
)
def test_any_answer_gets_a_verdict(status: int, answer: Any, attempt: int) -> None:
    error = classify(status, answer, attempt)
    assert isinstance(error, SocialSyncError)
    # never another attempt, nor a verdict for good, where it may have been accepted
    if not 400 <= status < 500:
        assert type(error) is UnknownOutcome
    if isinstance(error, TransientError):
        assert error.retry_after is not None
        assert 0 < error.retry_after <= MAX_RETRY_SECONDS


def test_backoff() -> None:
    assert [backoff(n) for n in (0, 1, 2, 5, 6, 99)] == [4, 4, 16, 1024, 3600, 3600]


@pytest.mark.skipif(not PAYLOADS.is_dir(), reason="no recorded answers beside the repository")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("resp_wa_131047_sync", WindowClosed),
        ("resp_wa_131056", TransientError),
        ("resp_ig_9007_not_ready", PermanentError),
        ("resp_ig_container_error", UnknownOutcome),
    ],
)
def test_recorded_answers(name: str, kind: type[SocialSyncError]) -> None:
    recorded = json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
    assert type(classify(recorded["http_status"], recorded["body"])) is kind
