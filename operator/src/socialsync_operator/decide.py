"""How many replicas a queue needs. Pure: the same spec, observation, memory and time give the same decision.

In order: pause, missing metrics, need (flow, age), tolerance, stabilization, policies, in flight, bounds, zero,
busy workers. Each step only tightens what the one before allowed. Times are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import ceil, inf, isfinite

from socialsync_operator.observation import Observation
from socialsync_operator.spec import Scaling
from socialsync_operator.windows import Change, Window, ceiling, floor

UTILIZATION = 0.9  # of the slots: the rest is for what the averages hide
AGE_GROWTH = 2.0  # at most, from one look to the next
CALM = 0.5  # of the target latency: down only below it
PANIC = 2.0  # times what there is
ZERO_READS = 3
_MOST = 1_000_000
_ROUNDING = 1e-9


class Reason(StrEnum):
    """What the number rests on."""

    FLOW = "TargetLatency"
    PER_REPLICA = "TargetPerReplica"
    AGE = "OldestMessage"
    IDLE = "NothingWaits"
    METRICS_MISSING = "MetricsMissing"
    FALLBACK = "Fallback"
    PAUSED = "Paused"


class Limit(StrEnum):
    """What kept the number from being the needed one."""

    TOLERANCE = "Tolerance"
    CALM = "OldestMessageAge"
    PANIC = "Panic"
    UP_WINDOW = "ScaleUpStabilization"
    DOWN_WINDOW = "ScaleDownStabilization"
    UP_POLICY = "ScaleUpPolicy"
    DOWN_POLICY = "ScaleDownPolicy"
    IN_FLIGHT = "InFlight"
    MAX = "MaxReplicas"
    MIN = "MinReplicas"
    COOLDOWN = "Cooldown"
    BUSY = "BusyWorkers"


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision leaves to the next. An empty one is a restart: nothing goes down for a full window."""

    replicas: int | None = None
    decided: int | None = None
    highest: Window = field(default_factory=lambda: Window(1))
    lowest: Window = field(default_factory=lambda: Window(-1))
    changes: tuple[Change, ...] = ()
    failures: int = 0
    panic_until: float = -inf
    held_until: float = -inf
    idle_since: float | None = None
    idle_reads: int = 0
    busy_since: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """``replicas`` to have now; ``wanted`` once busy workers have finished.

    ``candidates`` are the numbers on the way, in order; a name that is absent played no part.
    """

    replicas: int
    wanted: int
    reason: Reason
    limits: tuple[Limit, ...] = ()
    candidates: dict[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def limit(self) -> Limit | None:
        """The one that had the last word."""
        return self.limits[-1] if self.limits else None


def decide(scaling: Scaling, seen: Observation, memory: Memory, now: float) -> tuple[Decision, Memory]:
    """Decide once; the memory that is returned belongs to the next call."""
    memory = _notice(scaling, memory, seen.replicas, now)
    if scaling.paused:
        decision = Decision(seen.replicas, seen.replicas, Reason.PAUSED)
        memory = replace(memory, idle_since=None, idle_reads=0, busy_since=None)
    elif seen.missing:
        decision, memory = _without_metrics(scaling, seen, memory, now)
    else:
        decision, memory = _with_metrics(scaling, seen, replace(memory, failures=0), now)
    return decision, replace(memory, decided=decision.replicas)


def _notice(scaling: Scaling, memory: Memory, replicas: int, now: float) -> Memory:
    """Take the replicas that are there for the truth; a change that is not ours restarts the windows."""
    if replicas == memory.replicas:
        return memory
    known, ours = memory.replicas, memory.decided
    longest = max(
        (policy.period for rules in (scaling.up, scaling.down) for policy in rules.policies), default=0
    )
    changes = tuple(change for change in memory.changes if now - change.at < longest)
    if known is not None:
        changes = (*changes, Change(now, replicas - known))
    if known is not None and replicas == ours:
        return replace(memory, replicas=replicas, changes=changes)
    hold = now + max(longest, scaling.up.window, scaling.down.window)
    return Memory(replicas=replicas, changes=changes, failures=memory.failures, held_until=hold)


def _without_metrics(
    scaling: Scaling, seen: Observation, memory: Memory, now: float
) -> tuple[Decision, Memory]:
    """Never down; up only to what was asked for in that case."""
    failures = memory.failures + 1
    fallback = scaling.fallback
    fails = fallback is not None and failures >= fallback.threshold
    replicas = max(seen.replicas, scaling.min)
    if fallback is not None and fails and fallback.raises:
        free = seen.replicas == 0 and scaling.up.select != "Disabled"
        most = inf if free else ceiling(seen.replicas, scaling.up, memory.changes, now)
        replicas = max(replicas, int(min(fallback.replicas, scaling.max, most)))
    decision = Decision(
        replicas,
        replicas,
        Reason.FALLBACK if fails else Reason.METRICS_MISSING,
        candidates={"current": seen.replicas},
        missing=seen.missing,
    )
    return decision, replace(memory, failures=failures, idle_since=None, idle_reads=0, busy_since=None)


@dataclass(slots=True)
class _Draft:
    """The number on its way through the rules, and what each of them made of it."""

    replicas: int
    candidates: dict[str, int]
    limits: list[Limit] = field(default_factory=list)

    def set(self, name: str, replicas: float, limit: Limit) -> None:
        value = int(min(replicas, _MOST))
        if value != self.replicas:
            self.limits.append(limit)
        self.replicas = self.candidates[name] = value


def _with_metrics(scaling: Scaling, seen: Observation, memory: Memory, now: float) -> tuple[Decision, Memory]:
    reason, candidates = need(scaling, seen)
    draft = _Draft(max(candidates.values(), default=0), {"current": seen.replicas, **candidates})
    draft.candidates["need"] = draft.replicas
    if seen.replicas == 0:
        # one hop to what is needed: windows and policies are for changes of what runs
        if scaling.up.select == "Disabled":
            draft.set("policy", 0, Limit.UP_POLICY)
        memory = replace(memory, highest=memory.highest.add(now, draft.replicas, scaling.down.window))
    else:
        _tolerate(scaling, seen, draft)
        memory = _stabilize(scaling, seen, memory, draft, now)
        _limit_rate(scaling, seen, memory, draft, now)
        _keep_running(seen, draft)
    _bound(scaling, draft)
    memory = _guard_zero(scaling, seen, memory, draft, now)
    wanted = draft.replicas
    memory = _spare_busy(scaling, seen, memory, draft, now)
    return Decision(draft.replicas, wanted, reason, tuple(draft.limits), draft.candidates), memory


def need(scaling: Scaling, seen: Observation) -> tuple[Reason, dict[str, int]]:
    """What each consideration asks for by itself. More work never lowers any of them."""
    depth, in_flight, age = seen.depth or 0, seen.in_flight or 0, seen.oldest_age or 0.0
    slots = seen.slots if seen.slots and seen.slots > 0 else None
    asked: dict[Reason, int] = {}
    if slots and _usable(seen.service_time) and _usable(seen.arrival_rate):
        # Little's law for what comes; and all slots together must begin what waits within the target
        busy = max(seen.arrival_rate, depth / scaling.target_latency) * seen.service_time  # type: ignore[type-var, operator]
        asked[Reason.FLOW] = _ceil(busy / (slots * UTILIZATION))
    else:
        asked[Reason.PER_REPLICA] = _ceil((depth + in_flight) / scaling.target_per_replica)
    if depth + in_flight > 0:
        asked = {reason: max(1, replicas) for reason, replicas in asked.items()}
    elif max(asked.values()) <= 1:
        # averages never quite forget: whether the last one goes is for the cooldown to say
        asked = dict.fromkeys(asked, 0)
    if depth > 0 and age > scaling.target_latency:
        # whatever the averages say, it takes too long
        asked[Reason.AGE] = _ceil(seen.ready * min(age / scaling.target_latency, AGE_GROWTH))
    reason = max(asked, key=lambda each: asked[each])
    if asked[reason] == 0:
        reason = Reason.IDLE
    return reason, {name.value: value for name, value in asked.items()}


def _tolerate(scaling: Scaling, seen: Observation, draft: _Draft) -> None:
    current, age = seen.replicas, seen.oldest_age or 0.0
    tolerance = (scaling.up if draft.replicas > current else scaling.down).tolerance
    if age <= scaling.target_latency and abs(draft.replicas - current) <= tolerance * current + _ROUNDING:
        draft.set("tolerated", current, Limit.TOLERANCE)
    if draft.replicas < current and age >= CALM * scaling.target_latency:
        draft.set("calm", current, Limit.CALM)


def _stabilize(scaling: Scaling, seen: Observation, memory: Memory, draft: _Draft, now: float) -> Memory:
    """Up to the lowest of the up window, down to the highest of the down window; in a panic only up, at once."""
    current, asked = seen.replicas, draft.replicas
    highest = memory.highest.add(now, asked, scaling.down.window)
    lowest = memory.lowest.add(now, asked, scaling.up.window)
    panic_until = memory.panic_until
    if asked >= PANIC * current:
        panic_until = now + max(scaling.down.window, scaling.up.window)
        if lowest.extreme < asked:
            lowest = Window(-1, ((now, asked),))
    if asked > current:
        draft.set("stabilized", max(current, lowest.extreme), Limit.UP_WINDOW)
    elif asked < current and now < panic_until:
        draft.set("stabilized", current, Limit.PANIC)
    elif asked < current and now < memory.held_until:
        draft.set("stabilized", current, Limit.DOWN_WINDOW)
    elif asked < current:
        draft.set("stabilized", min(current, highest.extreme), Limit.DOWN_WINDOW)
    return replace(memory, highest=highest, lowest=lowest, panic_until=panic_until)


def _limit_rate(scaling: Scaling, seen: Observation, memory: Memory, draft: _Draft, now: float) -> None:
    current = seen.replicas
    if draft.replicas > current:
        most = max(current, ceiling(current, scaling.up, memory.changes, now))
        draft.set("policy", min(draft.replicas, most), Limit.UP_POLICY)
    elif draft.replicas < current:
        least = min(current, floor(current, scaling.down, memory.changes, now))
        draft.set("policy", max(draft.replicas, least), Limit.DOWN_POLICY)


def _keep_running(seen: Observation, draft: _Draft) -> None:
    """Not below what holds the tasks that run now. No need of its own: a window would hold each moment's peak."""
    if draft.replicas < seen.replicas and seen.slots and seen.slots > 0:
        least = min(seen.replicas, _ceil((seen.in_flight or 0) / seen.slots))
        draft.set("running", max(draft.replicas, least), Limit.IN_FLIGHT)


def _bound(scaling: Scaling, draft: _Draft) -> None:
    if draft.replicas > scaling.max:
        draft.set("bounded", scaling.max, Limit.MAX)
    elif draft.replicas < scaling.min:
        draft.set("bounded", scaling.min, Limit.MIN)


def _guard_zero(scaling: Scaling, seen: Observation, memory: Memory, draft: _Draft, now: float) -> Memory:
    """Zero only after nothing waited, ran, was scheduled or came, at every look, for the whole cooldown."""
    idle = seen.depth == 0 and seen.in_flight == 0 and seen.arrivals == 0 and seen.idle is True
    since = (now if memory.idle_since is None else memory.idle_since) if idle else None
    reads = memory.idle_reads + 1 if idle else 0
    enough = since is not None and now - since >= scaling.cooldown and reads >= ZERO_READS
    if seen.replicas > 0 and draft.replicas == 0 and scaling.max > 0 and not enough:
        draft.set("idle", 1, Limit.COOLDOWN)
    return replace(memory, idle_since=since, idle_reads=reads)


def _spare_busy(scaling: Scaling, seen: Observation, memory: Memory, draft: _Draft, now: float) -> Memory:
    """Only as many fewer as have nothing to do; for so long, then the pods' grace period must do."""
    if draft.replicas >= seen.replicas:
        return replace(memory, busy_since=None)
    since = now if memory.busy_since is None else memory.busy_since
    if now - since < scaling.max_busy_hold:
        removable = max(0, seen.removable)
        draft.candidates["removable"] = removable
        draft.set("spared", max(draft.replicas, seen.replicas - removable), Limit.BUSY)
    return replace(memory, busy_since=since)


def _usable(value: float | None) -> bool:
    return value is not None and isfinite(value) and value >= 0


def _ceil(value: float) -> int:
    return ceil(min(value, _MOST)) if value > 0 else 0
