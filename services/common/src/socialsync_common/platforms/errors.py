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

PAIR_RATE_CODE = 131056
_THROTTLED = frozenset({4, 17, 32, 341, 613, 80002, 80006, 80007, 130429, 131048, PAIR_RATE_CODE})
_BLOCKED = 368
_TEMPORARY = frozenset({1, 2})
_WINDOW_CODES = frozenset({131047})
_WINDOW_SUBCODES = frozenset({2534022, 2018278})
_MAX_RETRY_SECONDS = 3600.0
_BLOCKED_SECONDS = 1800.0
_THROTTLED_SECONDS = 15.0


def classify(status: int, body: Any, attempt: int = 1) -> SocialSyncError:
    """The error of a send that was answered ``status`` with ``body``; ``attempt`` counts from 1.

    TransientError: not accepted, and ``retry_after`` seconds later it may be. PermanentError (WindowClosed,
    AuthenticationExpired): not accepted, and it will not be. UnknownOutcome: it may have been accepted.
    """
    error = body.get("error") if isinstance(body, dict) else None
    error = error if isinstance(error, dict) else {}
    code, subcode = _integer(error.get("code")), _integer(error.get("error_subcode"))
    shown = f"Graph error {code if code is not None else 'without code'}{f'/{subcode}' if subcode else ''} (HTTP {status})"
    refused = _refusal(code, subcode, shown, attempt)
    if refused is not None:
        return refused
    if status == 429:
        return TransientError(f"{shown}: too many requests", retry_after=_backoff(attempt))
    if status >= 500 or code in _TEMPORARY or status < 400:
        return UnknownOutcome(f"{shown}: it may have been accepted")
    return PermanentError(f"{shown}: refused; see Meta's error reference for the code", code=code)


def _refusal(code: int | None, subcode: int | None, shown: str, attempt: int) -> SocialSyncError | None:
    """The codes that prove, whatever the HTTP status, that nothing was accepted."""
    if code == 190:
        return AuthenticationExpired(
            f"{shown}: the access token is no longer accepted: reconnect the account", code=code
        )
    if code in _WINDOW_CODES or subcode in _WINDOW_SUBCODES:
        return WindowClosed(
            f"{shown}: the 24-hour window is closed: the contact has to write first", code=code
        )
    if code == _BLOCKED:
        return TransientError(f"{shown}: blocked for sending too fast", retry_after=_BLOCKED_SECONDS)
    if code in _THROTTLED:
        seconds = min(4.0**attempt, _MAX_RETRY_SECONDS) if code == PAIR_RATE_CODE else _backoff(attempt)
        return TransientError(f"{shown}: rate limit", retry_after=seconds)
    if code == 10 or (code is not None and 200 <= code <= 299):
        return PermanentError(f"{shown}: permission missing: grant it and reconnect the account", code=code)
    return None


def _backoff(attempt: int) -> float:
    return min(_THROTTLED_SECONDS * 2.0 ** (attempt - 1), _MAX_RETRY_SECONDS)


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
