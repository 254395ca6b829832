"""Sliding windows and rate limits of the HPA's ``behavior``, as immutable values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, inf

from socialsync_operator.spec import Policy, Rules


@dataclass(frozen=True, slots=True)
class Window:
    """Past recommendations that may still be the highest (``sign`` 1) or the lowest (-1) of the last seconds."""

    sign: int
    entries: tuple[tuple[float, int], ...] = ()

    def add(self, now: float, value: int, seconds: float) -> Window:
        """With one more; what it outdoes, and what is too old, can never count again."""
        kept = [entry for entry in self.entries if now - entry[0] < seconds]
        while kept and self.sign * kept[-1][1] <= self.sign * value:
            kept.pop()
        return Window(self.sign, (*kept, (now, value)))

    @property
    def extreme(self) -> int:
        return self.entries[0][1]


@dataclass(frozen=True, slots=True)
class Change:
    """The replicas changed by ``delta`` at ``at`` (monotonic seconds)."""

    at: float
    delta: int


def ceiling(replicas: int, rules: Rules, changes: tuple[Change, ...], now: float) -> float:
    """The most replicas that the rules allow now."""
    return _limit(replicas, rules, changes, now, _raised, {"Max": max, "Min": min})


def floor(replicas: int, rules: Rules, changes: tuple[Change, ...], now: float) -> float:
    """The fewest replicas that the rules allow now."""
    return _limit(replicas, rules, changes, now, _lowered, {"Max": min, "Min": max})


def _limit(
    replicas: int,
    rules: Rules,
    changes: tuple[Change, ...],
    now: float,
    step: Callable[[int, Policy], float],
    select: dict[str, Callable[[list[float]], float]],
) -> float:
    if rules.select == "Disabled":
        return replicas
    if not rules.policies:
        return inf if step is _raised else 0
    proposals = []
    for policy in rules.policies:
        since = sum(change.delta for change in changes if now - change.at < policy.period)
        proposals.append(step(replicas - since, policy))
    return select[rules.select](proposals)


def _raised(start: int, policy: Policy) -> float:
    return start + policy.value if policy.type == "Pods" else ceil(start * (100 + policy.value) / 100)


def _lowered(start: int, policy: Policy) -> float:
    lowered = start - policy.value if policy.type == "Pods" else start * (100 - policy.value) // 100
    return max(0, lowered)
