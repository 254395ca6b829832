"""How fast work comes and how long it takes, averaged from counters that only rise until Redis forgets them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp

AVERAGE_SECONDS = 15.0
_FORGOTTEN = 1e-3  # completions a second below which an average says nothing new


@dataclass(frozen=True, slots=True)
class Counters:
    """Of all workers of a queue together, at ``at`` (monotonic seconds); ``waiting`` is depth and in flight."""

    at: float
    waiting: int
    completed: int
    busy_ms: int


@dataclass(frozen=True, slots=True)
class Rates:
    """``arrival_rate`` in tasks a second and ``service_time`` in seconds; None until there is something to average.

    ``arrivals``: tasks that came between the last two looks.
    """

    last: Counters | None = None
    arrivals: int | None = None
    arrival_rate: float | None = None
    service_time: float | None = None
    _completion_rate: float = 0.0
    _busy: float = 0.0

    def add(self, now: Counters) -> Rates:
        """With one more look. Counters that fell begin anew."""
        last = self.last
        if last is None or now.at <= last.at or now.completed < last.completed or now.busy_ms < last.busy_ms:
            return replace(self, last=now, arrivals=None)
        seconds = now.at - last.at
        done = now.completed - last.completed
        arrivals = max(0, now.waiting - last.waiting + done)
        weight = 1 - exp(-seconds / AVERAGE_SECONDS)
        completion_rate = _average(self._completion_rate, done / seconds, weight)
        busy = _average(self._busy, (now.busy_ms - last.busy_ms) / 1000 / seconds, weight)
        known = completion_rate > _FORGOTTEN
        return Rates(
            last=now,
            arrivals=arrivals,
            arrival_rate=_average(self.arrival_rate or 0.0, arrivals / seconds, weight),
            service_time=busy / completion_rate if known else self.service_time,
            _completion_rate=completion_rate,
            _busy=busy,
        )


def _average(before: float, value: float, weight: float) -> float:
    return before + weight * (value - before)
