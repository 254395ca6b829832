"""What a Graph answer proves. Only proof of non-acceptance may lead to another attempt."""

from __future__ import annotations

from typing import Any

from socialsync_common.errors import (
    AuthenticationExpired,
    PermanentError,
    SocialSyncError,
    TransientError,
    UnknownOutcome,
    WindowClosed,
)

MAX_RETRY_SECONDS = 3600.0
BLOCKED_SECONDS = 1800.0

# application, account, Page, number and pair limits
_THROTTLED = frozenset({4, 17, 32, 341, 613, 80001, 80002, 80006, 80007, 130429, 131056})
# 368: sent too fast or too much alike; 131048: too many contacts reported the number as spam
_BLOCKED = frozenset({368, 131048})
# faults on Meta's side that say nothing about the message
_TEMPORARY = frozenset({1, 2, 131000, 131016})
_TOKEN = frozenset({102, 190})
_WINDOW_CODES = frozenset({131047})
_WINDOW_SUBCODES = frozenset({2018278, 2534022})
_REQUEST_TIMEOUT = 408
_ADVICE = {
    100: "a parameter was refused: check that the account's id and its token belong together",
    131008: "a parameter is missing: check META_GRAPH_VERSION",
    131009: "a parameter was refused: check META_GRAPH_VERSION",
    551: "this contact cannot be reached at the moment",
    10903: "this contact cannot be answered privately",
    131021: "an account cannot write to itself",
    131026: "this contact cannot receive it: not on WhatsApp, or with an old version of it",
    131030: "a test number writes to listed numbers only: add the contact's number to its list",
    131031: "the account is locked: see its quality in WhatsApp Manager",
    131042: "there is a payment problem: check the account's billing in WhatsApp Manager",
    131045: "the number is not registered: register it again",
    131049: "Meta holds it back to protect the contact from too many messages",
    133010: "the number is not registered: register it again",
}


def backoff(attempt: int) -> float:
    """Seconds to wait after ``attempt`` (from 1): 4, 16, 64 … as Meta asks for, at most an hour."""
    return float(min(4.0 ** min(max(attempt, 1), 16), MAX_RETRY_SECONDS))


def classify(status: int, body: Any, attempt: int = 1) -> SocialSyncError:
    """The error of a send that was answered HTTP ``status`` with ``body`` (parsed JSON; None where unreadable),
    and gave no message id. ``attempt`` counts from 1.

    TransientError: not accepted, and ``retry_after`` seconds later it may be. PermanentError (WindowClosed,
    AuthenticationExpired): not accepted, and it will not be. UnknownOutcome: it may have been accepted; where
    status and code contradict each other, doubt wins.
    """
    code, subcode = codes(body)
    shown = f"Graph error {_shown(code, subcode)} (HTTP {status})"
    refused = 400 <= status < 500 and status != _REQUEST_TIMEOUT
    if not refused or code in _TEMPORARY:
        return UnknownOutcome(
            f"{shown}: it may have been accepted; wait for its status, or look in the conversation"
        )
    if code in _WINDOW_CODES or (subcode in _WINDOW_SUBCODES and code not in _TOKEN):
        return WindowClosed(
            f"{shown}: the 24-hour window is closed: the contact has to write first", code=code
        )
    if code in _TOKEN or (status == 401 and code in (None, 0)):
        return AuthenticationExpired(
            f"{shown}: the access token is no longer accepted: reconnect the account", code=code
        )
    if code in _BLOCKED:
        return TransientError(f"{shown}: blocked for a while for its sends", retry_after=BLOCKED_SECONDS)
    if is_rate_limit(status, code):
        return TransientError(f"{shown}: rate limit", retry_after=backoff(attempt))
    return PermanentError(f"{shown}: {_advice(code)}", code=code)


def is_rate_limit(status: int, code: int | None) -> bool:
    """Whether a refusal like this says that too much was asked for, and nothing about what was asked."""
    return code in _THROTTLED or status == 429


def codes(body: Any) -> tuple[int | None, int | None]:
    """An error answer's code and subcode; None each where it has none."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return None, None
    return _integer(error.get("code")), _integer(error.get("error_subcode"))


def _integer(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _shown(code: int | None, subcode: int | None) -> str:
    if code is None:
        return "without a code"
    return f"{code}/{subcode}" if subcode else str(code)


def _advice(code: int | None) -> str:
    if code is None:
        return "refused: check META_GRAPH_URL, and any proxy between here and the Graph API"
    if code in (3, 10) or 200 <= code <= 299:
        return "a permission is missing: grant it to the app, then reconnect the account"
    return _ADVICE.get(code, "refused: see Meta's error reference for the code")
