"""How many calls an account may make, and what the answers' headers say of it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import orjson

from socialsync_common.contracts import Platform

_TYPES = {Platform.INSTAGRAM: "instagram", Platform.MESSENGER: "pages"}


@dataclass(slots=True)
class Allowance:
    """``calls``: when those of the window were made."""

    calls_per_window: int
    window_seconds: float
    calls: deque[float] = field(default_factory=deque)


@dataclass(slots=True, frozen=True)
class Usage:
    """``regain_minutes``: until the next call is taken."""

    percent: float = 0.0
    regain_minutes: int = 0

    def headers(self, platform: Platform, account: str) -> dict[str, str]:
        percent = int(self.percent)
        figures = {"call_count": percent, "total_cputime": percent // 6, "total_time": percent // 4}
        case = {
            "type": _TYPES[platform],
            **figures,
            "estimated_time_to_regain_access": self.regain_minutes,
        }
        return {
            "x-app-usage": orjson.dumps(figures).decode(),
            "x-business-use-case-usage": orjson.dumps({account: [case]}).decode(),
        }


_NONE = Usage()


class Usages:
    """The accounts' allowances; who has none may call without end."""

    def __init__(self) -> None:
        self._allowances: dict[str, Allowance] = {}
        self.peak_percent = 0.0

    def allow(self, account: str, calls_per_window: int, window_seconds: float) -> None:
        """From now on, with none of it used."""
        self._allowances[account] = Allowance(calls_per_window, window_seconds)

    def spend(self, account: str, now: float) -> Usage:
        """One call. A refused one, above 100 percent, is not counted against the window."""
        allowance = self._allowances.get(account)
        if allowance is None:
            return _NONE
        calls = allowance.calls
        while calls and calls[0] <= now - allowance.window_seconds:
            calls.popleft()
        percent = 100 * (len(calls) + 1) / allowance.calls_per_window
        self.peak_percent = max(self.peak_percent, percent)
        if percent <= 100:
            calls.append(now)
            return Usage(percent)
        return Usage(percent, math.ceil((calls[0] + allowance.window_seconds - now) / 60))
