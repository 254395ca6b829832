"""A queue, its workers and whoever scales them, as a discrete-event simulation with known arrivals.

The cluster: tasks wait in one line, pods of so many slots take them in turn (a Celery worker that is free asks for
the next), a pod takes ``start_seconds`` from being asked for to its first task, and one that is told to go ends what
it runs. All pods count, from asked for to gone.

Who scales it: ``Ours`` is the operator's own ``decide`` and ``Rates`` with its cordons. ``Keda`` is a model of the
redis-lists scaler and the HPA behind it, by their documented defaults. ``Planned`` follows a plan made beforehand.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil, inf, log
from typing import Protocol

from socialsync_operator.decide import Memory, decide
from socialsync_operator.observation import Observation
from socialsync_operator.rates import Counters, Rates
from socialsync_operator.spec import Policy, Rules, Scaling
from socialsync_operator.windows import Change, Window, ceiling, floor

Task = tuple[float, float]  # when it comes, how long it takes
SCALING = Scaling(min=1, max=40, target_latency=5, target_per_replica=10)
START_SECONDS = 5.0  # of a pod
SPREAD = 0.6  # sigma of the lognormal service times
REPORT_SECONDS = 1.1  # a worker's heartbeat: each second, and what its own loop adds
DRAIN_SECONDS = 3600.0  # after the last arrival, for what still waits


@dataclass(frozen=True, slots=True)
class Scenario:
    """``rate`` (tasks a second) and ``service`` (mean seconds) are functions of the time."""

    name: str
    seconds: float
    rate: Callable[[float], float]
    service: Callable[[float], float]
    slots: int = 4
    start_seconds: float = START_SECONDS
    scaling: Scaling = SCALING

    def tasks(self, seed: int) -> list[Task]:
        """Poisson arrivals by thinning, lognormal service times of the mean of their moment."""
        chance = random.Random(f"{self.name} {seed}")
        top = max(self.rate(float(second)) for second in range(int(self.seconds) + 1)) * 1.01
        found, now = [], 0.0
        while (now := now + chance.expovariate(top)) < self.seconds:
            if chance.random() * top < self.rate(now):
                found.append((now, chance.lognormvariate(log(self.service(now)) - SPREAD**2 / 2, SPREAD)))
        return found


# The cluster -----------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Pod:
    ready: bool = False
    running: int = 0
    cordoned: bool = False
    leaving: bool = False
    listed: bool = False  # among those that ask for work
    since: float = 0.0  # when ``running`` last changed
    busy: float = 0.0  # slot-seconds, and tasks done, since its last report
    done: int = 0


@dataclass(slots=True)
class Cluster:
    """``replicas`` are those asked for; a pod that still ends its tasks is no replica, but it counts its seconds."""

    tasks: Sequence[Task]
    slots: int
    start_seconds: float
    now: float = 0.0
    pods: list[Pod] = field(default_factory=list)
    waiting: deque[Task] = field(default_factory=deque)
    waits: list[float] = field(default_factory=list)
    in_flight: int = 0
    completed: int = 0  # by the workers' reports, as is busy_seconds
    busy_seconds: float = 0.0
    pod_seconds: float = 0.0
    events: int = 0
    busy_killed: int = 0
    _ending: int = 0
    _arrived: int = 0
    _asking: deque[Pod] = field(default_factory=deque)
    _agenda: list[tuple[float, int, Callable[[Pod], None], Pod]] = field(default_factory=list)
    _entries: int = 0

    @property
    def replicas(self) -> int:
        return len(self.pods)

    @property
    def ready(self) -> int:
        return sum(pod.ready for pod in self.pods)

    @property
    def oldest_age(self) -> float:
        return self.now - self.waiting[0][0] if self.waiting else 0.0

    @property
    def over(self) -> bool:
        return self._arrived == len(self.tasks) and not self.waiting and not self.in_flight

    def begin_with(self, pods: int) -> None:
        """Pods that are ready from the start."""
        for _ in range(pods):
            self.pods.append(Pod())
            self._begin(self.pods[-1])

    def advance(self, until: float) -> None:
        """Everything that happens before ``until``."""
        while True:
            arrival = self.tasks[self._arrived][0] if self._arrived < len(self.tasks) else inf
            event = self._agenda[0][0] if self._agenda else inf
            if min(arrival, event) >= until:
                break
            if arrival <= event:
                self._pass_to(arrival)
                self.waiting.append(self.tasks[self._arrived])
                self._arrived += 1
            else:
                at, _, happens, pod = heappop(self._agenda)
                self._pass_to(at)
                happens(pod)
            self._dispatch()
        self._pass_to(until)

    def scale(self, replicas: int, *, idle_first: bool) -> None:
        """Kubernetes takes pods that are not ready first, then (without costs) the newest."""
        if replicas == self.replicas:
            return
        self.events += 1
        while self.replicas < replicas:
            pod = Pod()
            self.pods.append(pod)
            self._schedule(self.start_seconds, self._begin, pod)
        if self.replicas > replicas:
            order = self.by_preference() if idle_first else self._newest_first()
            for pod in order[: self.replicas - replicas]:
                self._remove(pod)

    def cordon(self, pods: Iterable[Pod]) -> None:
        """Exactly these take no more tasks."""
        chosen = set(map(id, pods))
        for pod in self.pods:
            pod.cordoned = id(pod) in chosen
            self._list(pod)
        self._dispatch()

    def by_preference(self) -> list[Pod]:
        """Who is to go first: who has not started, who is cordoned, who has least to lose, who is new."""
        return sorted(self._newest_first(), key=lambda pod: (pod.ready, not pod.cordoned, pod.running))

    def _newest_first(self) -> list[Pod]:
        return [pod for ready in (False, True) for pod in reversed(self.pods) if pod.ready == ready]

    def _pass_to(self, now: float) -> None:
        seconds = now - self.now
        self.pod_seconds += seconds * (len(self.pods) + self._ending)
        self.now = now

    def _schedule(self, seconds: float, happens: Callable[[Pod], None], pod: Pod) -> None:
        self._entries += 1
        heappush(self._agenda, (self.now + seconds, self._entries, happens, pod))

    def _begin(self, pod: Pod) -> None:
        pod.ready = True
        pod.since = self.now
        self._list(pod)
        self._schedule(REPORT_SECONDS, self._report, pod)

    def _report(self, pod: Pod) -> None:
        """What it has done since its last report, as a worker's heartbeat tells it."""
        if pod.leaving and not pod.running:
            return
        self._count(pod, 0)
        self.busy_seconds += pod.busy
        self.completed += pod.done
        pod.busy, pod.done = 0.0, 0
        self._schedule(REPORT_SECONDS, self._report, pod)

    def _count(self, pod: Pod, change: int) -> None:
        pod.busy += (self.now - pod.since) * pod.running
        pod.since = self.now
        pod.running += change
        self.in_flight += change

    def _end(self, pod: Pod) -> None:
        self._count(pod, -1)
        pod.done += 1
        self._list(pod)
        if pod.leaving and pod.running == 0:
            self._ending -= 1

    def _list(self, pod: Pod) -> None:
        if not pod.listed and self._asks(pod):
            pod.listed = True
            self._asking.append(pod)

    def _asks(self, pod: Pod) -> bool:
        return pod.ready and pod.running < self.slots and not (pod.cordoned or pod.leaving)

    def _dispatch(self) -> None:
        while self.waiting and self._asking:
            pod = self._asking.popleft()
            pod.listed = False
            if self._asks(pod):
                came, takes = self.waiting.popleft()
                self.waits.append(self.now - came)
                self._count(pod, 1)
                self._schedule(takes, self._end, pod)
                self._list(pod)

    def _remove(self, pod: Pod) -> None:
        self.pods.remove(pod)
        pod.leaving = True
        if pod.running:
            self._ending += 1
            self.busy_killed += 1


# Who scales it ---------------------------------------------------------------------------------------


class Scaler(Protocol):
    """Called once a second."""

    def look(self, cluster: Cluster) -> None: ...


class Ours:
    """As ``reconcile`` does it: decide, cordon those that are to go, decide again by how many may go."""

    def __init__(self, scaling: Scaling, slots: int) -> None:
        self._scaling = scaling
        self._slots = slots
        self._memory = Memory()
        self._rates = Rates()

    def look(self, cluster: Cluster) -> None:
        work = len(cluster.waiting) + cluster.in_flight
        busy_ms = round(1000 * cluster.busy_seconds)
        self._rates = self._rates.add(Counters(cluster.now, work, cluster.completed, busy_ms))
        decision, memory = decide(self._scaling, self._observe(cluster), self._memory, cluster.now)
        chosen: list[Pod] = []
        if decision.wanted < cluster.replicas:
            chosen = cluster.by_preference()[: cluster.replicas - decision.wanted]
            # a worker confirms its cordon with its next report: it counts from the next look on
            removable = sum(not pod.ready or (pod.cordoned and pod.running == 0) for pod in chosen)
            seen = self._observe(cluster, removable)
            decision, memory = decide(self._scaling, seen, self._memory, cluster.now)
        cluster.cordon(chosen)
        self._memory = memory
        cluster.scale(decision.replicas, idle_first=True)

    def _observe(self, cluster: Cluster, removable: int = 0) -> Observation:
        return Observation(
            replicas=cluster.replicas,
            ready=cluster.ready,
            depth=len(cluster.waiting),
            in_flight=cluster.in_flight,
            oldest_age=cluster.oldest_age,
            idle=cluster.in_flight == 0,
            arrivals=self._rates.arrivals,
            arrival_rate=self._rates.arrival_rate,
            service_time=self._rates.service_time,
            slots=self._slots,
            removable=removable,
        )


class Keda:
    """redis-lists and the HPA behind it, all by default. The list's length is all that they see.

    Every 30 s KEDA looks whether it is empty: from none to one (or the least) at the first message, to none when it
    was empty for 300 s. Every 15 s the HPA asks for one replica per 5 messages: up at most by 100 % or 4 pods in
    15 s, down to the highest of the last 300 s, with a tolerance of 10 %. It picks no victims.
    """

    LENGTH, POLL, SYNC, COOLDOWN, TOLERANCE = 5, 30, 15, 300, 0.1
    UP = Rules(0, "Max", (Policy("Percent", 100, 15), Policy("Pods", 4, 15)))
    DOWN = Rules(300, "Max", (Policy("Percent", 100, 15),))

    def __init__(self, scaling: Scaling) -> None:
        self._min, self._max = scaling.min, scaling.max
        self._active_at = 0.0
        self._highest = Window(1)
        self._changes: tuple[Change, ...] = ()

    def look(self, cluster: Cluster) -> None:
        second = round(cluster.now)
        before = cluster.replicas
        if second % self.POLL == 0:
            self._poll(cluster)
        if second % self.SYNC == 0 and cluster.replicas > 0:
            self._sync(cluster)
        if cluster.replicas != before:
            self._changes = (*self._changes[-20:], Change(cluster.now, cluster.replicas - before))

    def _poll(self, cluster: Cluster) -> None:
        if cluster.waiting:
            self._active_at = cluster.now
            if cluster.replicas == 0:
                cluster.scale(max(1, self._min), idle_first=False)
        elif cluster.replicas > 0 and self._min == 0 and cluster.now - self._active_at >= self.COOLDOWN:
            cluster.scale(0, idle_first=False)

    def _sync(self, cluster: Cluster) -> None:
        now, current = cluster.now, cluster.replicas
        usage = len(cluster.waiting) / (self.LENGTH * current)
        asked = current if abs(usage - 1) <= self.TOLERANCE else ceil(len(cluster.waiting) / self.LENGTH)
        asked = min(max(asked, self._min, 1), self._max)
        self._highest = self._highest.add(now, asked, self.DOWN.window)
        if asked > current:
            asked = min(asked, int(max(current, ceiling(current, self.UP, self._changes, now))))
        else:
            asked = min(current, self._highest.extreme)
            asked = max(asked, int(min(current, floor(current, self.DOWN, self._changes, now))))
        cluster.scale(asked, idle_first=False)


class Planned:
    """Has as many replicas ready each second as the plan says, and so asks for them earlier."""

    def __init__(self, plan: Sequence[int], start_seconds: float) -> None:
        self._plan = plan
        self._ahead = ceil(start_seconds) + 1

    def look(self, cluster: Cluster) -> None:
        second = round(cluster.now)
        ahead = self._plan[second : second + self._ahead] or self._plan[-1:]
        cluster.scale(max(ahead), idle_first=True)


@dataclass(slots=True)
class Run:
    """``replicas`` and ``depth`` are of each second; replica-seconds end with the scenario, waits with the last task."""

    waits: list[float]
    replica_seconds: float
    events: int
    busy_killed: int
    replicas: list[int]
    depth: list[int]


def simulate(scenario: Scenario, tasks: Sequence[Task], scaler: Scaler, start: int) -> Run:
    """``start`` pods are ready when it begins."""
    cluster = Cluster(tasks, scenario.slots, scenario.start_seconds)
    cluster.begin_with(start)
    replicas, depth = [], []
    for second in range(int(scenario.seconds)):
        cluster.advance(second)
        scaler.look(cluster)
        replicas.append(cluster.replicas)
        depth.append(len(cluster.waiting))
    cluster.advance(scenario.seconds)
    used, events, killed = cluster.pod_seconds, cluster.events, cluster.busy_killed
    while not cluster.over and cluster.now < scenario.seconds + DRAIN_SECONDS:
        cluster.advance(round(cluster.now) + 1)
        scaler.look(cluster)
    late = [cluster.now - came for came, _ in cluster.waiting]
    return Run(cluster.waits + late, used, events, killed, replicas, depth)
