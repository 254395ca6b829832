"""Beat's replicas elected through a Lease and fenced in Redis: killed, paused, cut off, their clocks set wrong.

Faults strike right after a tick. ``BEAT_ROUNDS`` sets the number of rolling restarts. One JSON line at the end has
the figures; a gap is the longest time between two ticks that arrived, of which 0.5 s is the period.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from celery import Celery

from control_plane import ControlPlane
from cut_proxy import CutProxy
from skewed_clock import COMPILER, SkewedClock, build_library
from socialsync_cli.embedded import EmbeddedRedis
from socialsync_cli.processes import spawn, stop
from socialsync_common.contracts import Lane
from socialsync_common.lease import LeaseLock
from socialsync_scheduler.schedule import ENTRIES, Entry
from socialsync_scheduler.scheduler import FencedScheduler
from stack import until

pytestmark = [pytest.mark.drill, pytest.mark.integration]

ROUNDS = int(os.environ.get("BEAT_ROUNDS", "8"))
COMMAND = (sys.executable, "-m", "celery", "-q", "-A", "socialsync_scheduler.beat", "beat")
LEASE = "socialsync-beat"
TERM = LeaseLock.timing.term
CRASH_SECONDS = 6.0
GRACEFUL_SECONDS = 1.5  # a second, and one period
HOUR = 3600
WATCHED = ENTRIES[:2]  # those of the lane whose arrivals are taken
SCAN = WATCHED[0]
BY_TASK = {str(entry.task): entry for entry in WATCHED}
Json = dict[str, Any]


@dataclass(frozen=True)
class Tick:
    """One message as it arrived. ``claimed`` is when its slot was claimed, by what it says of its expiry."""

    entry: Entry
    task_id: str
    sender: int  # a process id
    claimed: float
    arrived: float  # both in Unix seconds

    @property
    def slot(self) -> int:
        """Its id must be that of a slot near its claim."""
        near = int(self.claimed / self.entry.every)
        return next(slot for slot in range(near - 1, near + 2) if self.entry.task_id(slot) == self.task_id)


class Arrivals:
    """Takes every tick off the queue as it comes, as a worker would."""

    def __init__(self, url: str) -> None:
        self._ticks: list[Tick] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._take, args=(url,), name="arrivals")
        self._thread.start()

    def of(self, entry: Entry) -> list[Tick]:
        return [tick for tick in list(self._ticks) if tick.entry is entry]

    def stop(self) -> None:
        self._stopping = True
        self._thread.join()

    def _take(self, url: str) -> None:
        with redis.Redis.from_url(url, decode_responses=True) as client:
            while not self._stopping:
                if taken := client.brpop([f"celery:{Lane.INGEST_TICK}"], timeout=1):
                    self._ticks.append(_arrived(json.loads(taken[1])["headers"]))


def _arrived(headers: Json) -> Tick:
    entry = BY_TASK[headers["task"]]
    claimed = datetime.fromisoformat(headers["expires"]).timestamp() - entry.expires
    sender = int(headers["origin"].partition("@")[0].removeprefix("gen"))
    return Tick(entry, headers["id"], sender, claimed, arrived=time.time())


@dataclass(frozen=True)
class Replica:
    """One ``celery beat``, with cables and a wall clock of its own."""

    name: str
    api: CutProxy
    broker: CutProxy
    clock: SkewedClock
    log: Path
    process: subprocess.Popen[bytes]

    def events(self, name: str) -> list[Json]:
        """Its log lines of this name; fails if it ended in an error."""
        assert (self.process.poll() or 0) <= 0, self.log.read_text()
        lines = (json.loads(line) for line in self.log.read_text().split("\n")[:-1] if line.startswith("{"))
        return [line for line in lines if line["event"] == name]

    def leads(self) -> bool:
        begun, ended = (len(self.events(f"election.{name}")) for name in ("leading", "stood_down"))
        return self.process.poll() is None and begun > ended


@dataclass
class Drill:
    """Replicas in one namespace, allowed what their Role allows."""

    plane: ControlPlane
    namespace: str
    redis: EmbeddedRedis
    folder: Path
    clocks: Path
    ending: ExitStack

    def __post_init__(self) -> None:
        kubectl = partial(self.plane.kubectl, "-n", self.namespace)
        kubectl("create", "serviceaccount", "beat")
        resource, account = "--resource=leases.coordination.k8s.io", f"--serviceaccount={self.namespace}:beat"
        kubectl("create", "role", "create", "--verb=create", resource)  # cannot be limited to a name
        kubectl("create", "role", "keep", "--verb=get,update", resource, f"--resource-name={LEASE}")
        for role in ("create", "keep"):
            kubectl("create", "rolebinding", role, f"--role={role}", account)
        self.delete_lease = partial(kubectl, "delete", "lease", LEASE, "--wait=false")
        self.api = self.plane.api
        self.replicas: list[Replica] = []
        self.arrivals = Arrivals(self.redis.url)
        self.ending.callback(self.arrivals.stop)

    def start(self) -> Replica:
        """One more."""
        name = f"beat-{len(self.replicas)}"
        api = self.ending.enter_context(CutProxy(self.plane.port))
        broker = self.ending.enter_context(CutProxy(self.redis.port))
        clock = SkewedClock(self.clocks, self.folder / f"{name}.skew")
        kubeconfig = self.plane.service_account_kubeconfig(
            self.namespace, "beat", f"https://127.0.0.1:{api.port}"
        )
        environment = {
            **(os.environ | clock.environment),
            "POD_NAME": name,
            "POD_NAMESPACE": self.namespace,
            "LEASE_NAME": LEASE,
            "CELERY_BROKER_URL": f"redis://127.0.0.1:{broker.port}/0",
            "KUBECONFIG": str(kubeconfig),
        }
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = spawn(COMMAND, output=output, env=environment, cwd=self.folder)
        replica = Replica(name, api, broker, clock, log, process)
        self.ending.callback(stop, process, (signal.SIGKILL, 10))
        self.replicas.append(replica)
        return replica

    def warm(self) -> tuple[Replica, Replica]:
        """Start two; returns the one that ticks, and the other, once both have asked the API."""
        pair = [self.start(), self.start()]
        until(lambda: all(replica.api.answered.is_set() for replica in pair), 30, "both campaign")
        leader = self.leader()
        self.tick(3)
        return leader, next(each for each in pair if each is not leader)

    def leader(self) -> Replica:
        """Who holds the Lease, once exactly one replica believes to lead, and that one holds it."""

        def sole_leader() -> Replica | None:
            leaders = [replica for replica in self.replicas if replica.leads()]
            holders = [str(spec.get("holderIdentity")).partition(":")[0] for spec in self._leases()]
            agreed = [replica.name for replica in leaders] == holders
            return leaders[0] if agreed and leaders else None

        return cast("Replica", until(sole_leader, 15, "exactly one leads"))

    def renewed_at(self, skew: int) -> bool:
        """Whether the time of the last renewal, as its holder says, is so many seconds off."""
        renewed = datetime.fromisoformat(self._leases()[0]["renewTime"]).timestamp()
        return abs(renewed - time.time() - skew) < HOUR / 2

    def _leases(self) -> list[Json]:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases"
        return [lease["spec"] for lease in self.api.get(path)["items"]]

    def tick(self, count: int = 1) -> int:
        """Wait for so many ticks more; returns the number of the last."""
        number = len(self.arrivals.of(SCAN)) + count - 1
        until(lambda: len(self.arrivals.of(SCAN)) > number, 15, "ticks", every=0.005)
        return number

    @property
    def doubled(self) -> int:
        """Of all entries; nobody may send a slot that another has sent."""
        ids = [tick.task_id for entry in WATCHED for tick in self.arrivals.of(entry)]
        return len(ids) - len(set(ids))

    def sent_by(self, replica: Replica) -> list[Tick]:
        return [tick for tick in self.arrivals.of(SCAN) if tick.sender == replica.process.pid]

    def gap_since(self, number: int) -> float:
        """The longest, once one leads again; each tick came once, in order, and when it was claimed."""
        self.tick(3)
        self.leader()
        assert self.doubled == 0
        for entry in WATCHED:
            ticks = self.arrivals.of(entry)
            assert max(abs(tick.arrived - tick.claimed) for tick in ticks) < 1
            assert all(before.slot < after.slot for before, after in pairwise(ticks))
        ticks = self.arrivals.of(SCAN)[number:]
        return max(after.arrived - before.arrived for before, after in pairwise(ticks))


@pytest.fixture(scope="module")
def clocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None:
        pytest.skip("no C compiler, which the replicas' clocks need")
    return build_library(tmp_path_factory.mktemp("clocks"))


@pytest.fixture
def drill(
    plane: ControlPlane,
    namespace: str,
    redis_server: EmbeddedRedis,
    redis_client: redis.Redis,
    tmp_path: Path,
    clocks: Path,
    figures: Json,
) -> Iterator[Drill]:
    with ExitStack() as ending:
        drill = Drill(plane, namespace, redis_server, tmp_path, clocks, ending)
        yield drill
    figures["doubled"] = figures.get("doubled", 0) + drill.doubled


def test_a_signal_may_strike_anywhere(redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Amid the construction it leaves no thread that nobody would stop, and where its exception is lost no loop."""
    monkeypatch.setenv("CELERY_BROKER_URL", redis_server.url)
    before = threading.active_count()
    scheduler = FencedScheduler(Celery())
    assert threading.active_count() == before
    scheduler.close()
    with pytest.raises(SystemExit):
        scheduler.tick()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_a_leader_that_ends(drill: Drill, figures: Json, number: signal.Signals) -> None:
    leader, other = drill.warm()
    last = drill.tick()
    leader.process.send_signal(number)
    gap = drill.gap_since(last)
    crash = number is signal.SIGKILL
    assert leader.process.wait(5) == (-number if crash else 0)
    assert drill.leader() is other
    figures[f"{number.name.lower()}_gap_s"] = round(gap, 2)
    assert gap < (CRASH_SECONDS if crash else GRACEFUL_SECONDS)


def test_a_leader_paused_for_ten_seconds(drill: Drill, figures: Json) -> None:
    leader, other = drill.warm()
    paused = drill.tick()
    leader.process.send_signal(signal.SIGSTOP)
    resumed = time.time() + 10
    until(lambda: time.time() >= resumed, 11, "ten seconds")
    leader.process.send_signal(signal.SIGCONT)
    until(lambda: leader.events("election.stood_down"), 5, "it stands down")
    gap = drill.gap_since(paused)
    assert not [tick for tick in drill.sent_by(leader) if tick.arrived >= resumed]
    assert drill.leader() is other
    figures["sigstop_gap_s"] = round(gap, 2)
    assert gap < CRASH_SECONDS


def test_a_leader_cut_off_from_the_api(drill: Drill, figures: Json) -> None:
    leader, other = drill.warm()
    last = drill.tick()
    leader.api.cut()
    cut = time.time()
    until(other.leads, 10, "another leads")
    assert drill.sent_by(leader)[-1].arrived - cut < TERM + 0.1
    gap = drill.gap_since(last)
    leader.api.heal()
    until(lambda: leader.events("outage.over"), 5, "it reaches the API")
    gap = max(gap, drill.gap_since(last))
    assert drill.leader() is other
    figures["api_cut_gap_s"] = round(gap, 2)
    assert gap < CRASH_SECONDS


@pytest.mark.parametrize("refuse", [False, True], ids=["hangs", "refuses"])
def test_a_leader_cut_off_from_redis(drill: Drill, figures: Json, refuse: bool) -> None:
    leader, other = drill.warm()
    last = drill.tick()
    leader.broker.cut(refuse=refuse)
    gap = drill.gap_since(last)
    assert drill.leader() is other
    assert [line["reason"] for line in leader.events("election.stood_down")] == ["abstains"]

    leader.broker.heal()
    until(lambda: leader.events("outage.over"), 5, "it reaches Redis")
    told = drill.tick()
    other.process.send_signal(signal.SIGTERM)
    assert drill.gap_since(told) < GRACEFUL_SECONDS
    assert drill.leader() is leader
    figures["redis_refused_gap_s" if refuse else "redis_cut_gap_s"] = round(gap, 2)
    assert gap < CRASH_SECONDS


def test_redis_away_from_both(drill: Drill, figures: Json) -> None:
    """The Lease is nobody's meanwhile, and somebody's soon after."""
    pair = drill.warm()
    for replica in pair:
        replica.broker.cut()
    until(lambda: all(replica.events("election.stood_down") for replica in pair), 15, "both tried")
    for replica in pair:
        replica.broker.heal()
    back, number = time.time(), len(drill.arrivals.of(SCAN))
    drill.gap_since(number)
    gap = drill.arrivals.of(SCAN)[number].arrived - back
    figures["redis_back_gap_s"] = round(gap, 2)
    assert gap < 2


def test_a_deleted_lease(drill: Drill, figures: Json) -> None:
    leader, _ = drill.warm()
    last = drill.tick()
    drill.delete_lease()
    until(partial(leader.events, "election.stood_down"), 5, "it notices")
    gap = drill.gap_since(last)
    figures["lease_deleted_gap_s"] = round(gap, 2)
    assert gap < GRACEFUL_SECONDS


def test_clocks_an_hour_off(drill: Drill, figures: Json) -> None:
    leader, other = drill.warm()
    first = drill.tick()
    for ours, theirs in ((HOUR, 0), (-HOUR, 0), (HOUR, HOUR), (-HOUR, -HOUR), (HOUR, -HOUR), (-HOUR, HOUR)):
        leader.clock.jump_to(ours)
        other.clock.jump_to(theirs)
        until(partial(drill.renewed_at, ours), 5, "it renews by its clock")
        drill.tick(2)  # the other could take over now
    gap = drill.gap_since(first)
    assert len(drill.sent_by(other)) == 0
    assert not leader.events("election.stood_down")

    killed = drill.tick()
    leader.process.send_signal(signal.SIGKILL)
    failover = drill.gap_since(killed)
    assert drill.leader() is other
    figures.update(clock_gap_s=round(gap, 2), clock_sigkill_gap_s=round(failover, 2))
    assert gap < GRACEFUL_SECONDS
    assert failover < CRASH_SECONDS


@pytest.mark.timeout(60 + 10 * ROUNDS)
def test_rolling_restarts(drill: Drill, figures: Json) -> None:
    """Each round stops the leader while a surplus replica stands by, and starts the next surplus one."""
    drill.warm()
    surplus = drill.start()
    first = drill.tick()
    for _ in range(ROUNDS):
        until(surplus.api.answered.is_set, 30, "the replacement campaigns")
        leader = drill.leader()
        leader.process.send_signal(signal.SIGTERM)
        surplus = drill.start()
        assert leader.process.wait(10) == 0
        assert leader.events("election.released")
    gap = drill.gap_since(first)
    figures["rolling"] = {"rounds": ROUNDS, "longest_gap_s": round(gap, 2)}
    assert gap < GRACEFUL_SECONDS
