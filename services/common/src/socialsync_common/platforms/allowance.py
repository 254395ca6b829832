"""How much of the platform's allowance an account's calls have used up, as its answers tell."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

BRAKE_PERCENT = 98.0
"""From here on only one call a minute is made, to learn whether there is room again: 100 is refused, and punished."""

_BRAKE_SECONDS = 60.0
_HEADER_CHARACTERS = 100_000
_LARGEST_FIGURE = 1e6
_DAY = 86_400.0
_MEASURES = ("call_count", "total_cputime", "total_time")


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of its allowance an account has used up. ``percent``: 100 is refused. ``regain_seconds``: 0 where
    nothing is refused."""

    percent: float
    regain_seconds: float


class Allowances:
    """The latest use that each account's answers told of. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._latest: dict[str, tuple[Usage, float]] = {}

    def note(self, account_id: str, usage: Usage) -> None:
        with self._lock:
            self._latest[account_id] = (usage, self._clock())

    def latest(self, account_id: str) -> Usage | None:
        with self._lock:
            known = self._latest.get(account_id)
        return known[0] if known else None

    def brake(self, account_id: str) -> float:
        """Seconds to wait before the account's next call; 0: it may be made."""
        with self._lock:
            known = self._latest.get(account_id)
            if known is None or known[0].percent < BRAKE_PERCENT:
                return 0.0
            usage, at = known
            pause = max(usage.regain_seconds, _BRAKE_SECONDS)
            left = at + pause - self._clock()
            if left <= 0:
                # this call asks for all that wait
                self._latest[account_id] = (Usage(usage.percent, 0.0), self._clock())
            return max(left, 0.0)


def usage_of(headers: Mapping[str, str], account_id: str) -> Usage | None:
    """The largest use of an allowance that an answer tells of; None where it tells of none."""
    entries = _entries(_parsed(headers.get("x-business-use-case-usage")), account_id)
    app = _parsed(headers.get("x-app-usage"))
    if isinstance(app, dict):
        entries.append(app)
    if not entries:
        return None
    return Usage(
        percent=max(_number(entry.get(measure)) for entry in entries for measure in _MEASURES),
        regain_seconds=max(
            min(60 * _number(entry.get("estimated_time_to_regain_access")), _DAY) for entry in entries
        ),
    )


def _parsed(header: str | None) -> Any:
    try:
        return json.loads(header[:_HEADER_CHARACTERS]) if header else None
    except (ValueError, RecursionError):
        return None


def _entries(by_account: Any, account_id: str) -> list[dict[str, Any]]:
    """The account's; all where it is not named: Meta may know it by another id here."""
    if not isinstance(by_account, dict):
        return []
    lists = [by_account[account_id]] if account_id in by_account else list(by_account.values())
    return [entry for each in lists if isinstance(each, list) for entry in each if isinstance(entry, dict)]


def _number(value: Any) -> float:
    """A figure of a header; 0 for what is none."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or (isinstance(value, float) and not math.isfinite(value)):
        return 0.0
    return float(min(max(value, 0), _LARGEST_FIGURE))
