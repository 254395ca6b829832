"""How fast work comes and how long it takes, averaged from counters that only rise until Redis forgets them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, sqrt

AVERAGE_SECONDS = 15.0  # of arrivals
SERVICE_SECONDS = 60.0  # of what a task takes: that changes slowly, and few tasks tell little
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
    _average_rate: float = 0.0
    _before: tuple[int, float] | None = None  # arrivals of the look before, and the seconds that they took
    _completion_rate: float = 0.0
    _busy: float = 0.0

    def add(self, now: Counters) -> Rates:
        """With one more look. Counters that fell begin anew."""
        last = self.last
        if last is None or now.at <= last.at or now.completed < last.completed or now.busy_ms < last.busy_ms:
            return replace(self, last=now, arrivals=None, _before=None)
        seconds = now.at - last.at
        done = now.completed - last.completed
        arrivals = max(0, now.waiting - last.waiting + done)
        average_rate = _average(self._average_rate, arrivals / seconds, _weight(seconds, AVERAGE_SECONDS))
        weight = _weight(seconds, SERVICE_SECONDS)
        completion_rate = _average(self._completion_rate, done / seconds, weight)
        busy = _average(self._busy, (now.busy_ms - last.busy_ms) / 1000 / seconds, weight)
        known = completion_rate > _FORGOTTEN
        return Rates(
            last=now,
            arrivals=arrivals,
            arrival_rate=_believable(average_rate, (arrivals, seconds), self._before),
            service_time=busy / completion_rate if known else self.service_time,
            _average_rate=average_rate,
            _before=(arrivals, seconds),
            _completion_rate=completion_rate,
            _busy=busy,
        )


def _average(before: float, value: float, weight: float) -> float:
    return before + weight * (value - before)


def _weight(seconds: float, constant: float) -> float:
    return 1 - exp(-seconds / constant)


def _believable(average: float, look: tuple[int, float], before: tuple[int, float] | None) -> float:
    """The average, unless the last two looks cannot be chance: then as near to it as they allow.

    The root of a Poisson count has a standard deviation of 1/2, whatever the rate: twice that is allowed.
    """
    if before is None:
        return average
    root, seconds = sqrt(look[0] + before[0]), look[1] + before[1]
    return min(max(average, max(0.0, root - 1) ** 2 / seconds), (root + 1) ** 2 / seconds)
