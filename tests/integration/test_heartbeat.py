"""A real worker's word to the operator: its reports, its probes, its obedience to a cordon, and its silences."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from uuid import uuid4

import httpx
import psycopg
import pytest
import redis
from celery import Celery
from redis.backoff import NoBackoff
from redis.retry import Retry

from socialsync_cli.processes import free_port
from socialsync_common.celery_app import create_celery
from socialsync_common.contracts import TaskName
from socialsync_common.heartbeat import STUCK_SECONDS, Heartbeat
from socialsync_common.settings import BrokerSettings
from socialsync_common.workers import CORDON_SECONDS, STALE_SECONDS, WorkerRegistry, WorkerReport
from socialsync_operator.backlog import Backlog, BacklogReader
from socialsync_operator.spec import Queue, Scaling
from stack import Process, Stack, running_stack, until
from support import server_folder

pytestmark = pytest.mark.integration

SLOTS = 4
POD = "pod-1"
QUEUE = Queue(
    namespace="shop",
    name="ingest",
    uid="u1",
    generation=1,
    deleting=False,
    finalizers=(),
    lanes=("ingest.tick", "ingest"),
    polling=1,
    dry_run=False,
    scaling=Scaling(min=0, max=10, target_latency=5, target_per_replica=10),
    worker=None,
    target="workers",
)


@dataclass
class Worker:
    """One worker process, as the operator and the kubelet see it."""

    stack: Stack
    process: Process
    port: int
    client: redis.Redis
    app: Celery

    @property
    def alive(self) -> bool:
        return self.process.popen is not None and self.process.popen.poll() is None

    def backlog(self) -> Backlog:
        (backlog,) = BacklogReader(self.client).read([QUEUE]).values()
        return backlog if isinstance(backlog, Backlog) else Backlog(0, 0, 0, None, 0, 0)

    def report(self) -> WorkerReport | None:
        return self.backlog().reports.get(POD)

    def until(self, seconds: float = 10, **facts: int) -> WorkerReport:
        """Wait for a report that says this."""

        def says_so() -> WorkerReport | None:
            report = self.report()
            return report if report and all(getattr(report, name) == facts[name] for name in facts) else None

        return until(says_so, seconds, f"a report with {facts}\n{self.stack.logs()}")  # type: ignore[return-value]

    def wait_for_reports(self, number: int = 2) -> WorkerReport:
        """So much time passes that the worker has reported so often."""
        for _ in range(number):
            before = self.client.zscore("workers:ingest:seen", POD)
            until(lambda at=before: self.client.zscore("workers:ingest:seen", POD) != at, 5, "another report")
        report = self.report()
        assert report is not None
        return report

    def probe(self, path: str) -> int:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=1).status_code

    def send(self, count: int, **options: int) -> None:
        for _ in range(count):
            self.app.send_task(TaskName.DELIVER, [str(uuid4())], **options)

    def cordon(self, *workers: str) -> None:
        WorkerRegistry(self.client, "ingest").cordon(workers)

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """Tasks that are taken meanwhile run until the end of it."""
        with psycopg.connect(self.stack.owner_url) as connection:
            connection.execute("LOCK TABLE conversations IN ACCESS EXCLUSIVE MODE")
            yield
            connection.rollback()


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with server_folder() as folder, running_stack(folder) as stack:
        yield stack


@contextmanager
def started(stack: Stack, pool: str) -> Iterator[Worker]:
    """As the operator deploys it, so SIGTERM is a soft shutdown."""
    port = free_port()
    process = stack.add(
        "worker",
        ["celery", "-A", "socialsync_ingest", "worker", "-Q", "ingest.tick,ingest", "--pool", pool,
         "--concurrency", str(SLOTS), "--without-gossip", "--without-mingle", "--without-heartbeat"],
        SOCIALSYNC_QUEUE="ingest", POD_NAME=POD, HEALTH_PORT=str(port),
        REMAP_SIGTERM="SIGQUIT", SOFT_SHUTDOWN_SECONDS="3",
    )  # fmt: skip
    with (
        redis.Redis.from_url(stack.redis.url, retry=Retry(NoBackoff(), 0)) as client,
        create_celery("ingest", BrokerSettings(celery_broker_url=stack.redis.url)) as app,
    ):
        worker = Worker(stack, process, port, client, app)
        worker.until(30, slots=SLOTS, active=0)
        yield worker
        process.stop()


@pytest.fixture(scope="module")
def process(stack: Stack) -> Iterator[Worker]:
    with started(stack, "threads") as worker:
        yield worker


@pytest.fixture
def worker(process: Worker) -> Worker:
    """The same process for all tests, idle and at work."""
    process.cordon()
    process.until(active=0, reserved=0, cordoned=False)
    return process


def test_it_reports_its_slots_and_answers_probes(worker: Worker) -> None:
    report = worker.report()
    assert report is not None
    assert (report.slots, report.active, report.reserved, report.cordoned) == (SLOTS, 0, 0, False)
    assert report.idle
    assert (worker.probe("/livez"), worker.probe("/readyz")) == (200, 200)


def test_completed_tasks_are_counted_and_ticks_are_not(worker: Worker) -> None:
    before, accepted = worker.backlog().completed, worker.wait_for_reports(1).accepted
    worker.app.send_task(TaskName.SWEEP)
    until(lambda: worker.client.llen("celery:ingest.tick") == 0, 10, "the tick is taken")
    worker.send(20)
    until(lambda: worker.backlog().completed >= before + 20, 10, "20 tasks are counted")
    report = worker.wait_for_reports()
    assert worker.backlog().completed == before + 20
    assert report.accepted == accepted + 20
    assert worker.backlog().in_flight == 0


def test_a_full_worker_says_so_and_is_alive_and_ready_all_the_same(worker: Worker) -> None:
    before, began = worker.backlog(), time.monotonic()
    with worker.held_up():
        worker.send(SLOTS + 2)
        report = worker.until(active=SLOTS, reserved=SLOTS)
        taken = time.monotonic()
        assert not report.idle
        backlog = worker.backlog()
        assert (backlog.tasks, backlog.in_flight) == (2, SLOTS)
        worker.until(oldest_seconds=2)
        assert (worker.probe("/livez"), worker.probe("/readyz")) == (200, 200)
        held = time.monotonic() - taken
    worker.until(active=0, reserved=0)
    until(lambda: worker.backlog().completed == before.completed + SLOTS + 2, 10, "all are counted")
    busy = (worker.backlog().busy_ms - before.busy_ms) / 1000
    # by a sample each tenth of a second
    assert SLOTS * held * 0.8 <= busy <= SLOTS * (time.monotonic() - began)


def test_a_task_that_waits_in_the_worker_for_its_time_keeps_it_from_being_idle(worker: Worker) -> None:
    completed = worker.backlog().completed
    worker.send(1, countdown=3)
    report = worker.until(reserved=1)
    assert report.active == 0
    assert not report.idle
    worker.until(reserved=0)
    until(lambda: worker.backlog().completed == completed + 1, 5, "it ran")


def test_a_cordoned_worker_finishes_what_it_has_and_takes_nothing(worker: Worker) -> None:
    with worker.held_up():
        worker.send(SLOTS + 6)
        worker.until(active=SLOTS)
        worker.cordon(POD)
        report = worker.until(5, cordoned=True)
        assert report.active == SLOTS
    report = worker.until(active=0, cordoned=True)
    accepted = report.accepted
    report = worker.wait_for_reports()
    assert (report.idle, report.cordoned, report.accepted) == (True, True, accepted)
    backlog = worker.backlog()
    assert (backlog.tasks, backlog.in_flight) == (6, 0)
    assert (worker.probe("/livez"), worker.probe("/readyz")) == (200, 200)

    worker.cordon("pod-2")  # exactly these, so no longer this one
    until(lambda: worker.backlog().tasks == 0, 4, "the rest is taken")
    worker.until(active=0, cordoned=False)


def test_a_cordoned_worker_still_runs_ticks(worker: Worker) -> None:
    worker.cordon(POD)
    worker.until(5, cordoned=True)
    worker.app.send_task(TaskName.SWEEP)
    until(lambda: worker.client.llen("celery:ingest.tick") == 0, 10, "the tick is taken")
    assert worker.report() is not None
    worker.cordon()


def test_a_cordon_lapses_by_itself(worker: Worker) -> None:
    worker.cordon(POD)
    worker.until(5, cordoned=True)
    key = "workers:ingest:cordoned"
    until_ms, (seconds, micros) = worker.client.zscore(key, POD), worker.client.time()
    assert 0 < until_ms - (seconds * 1000 + micros / 1000) <= CORDON_SECONDS * 1000
    worker.send(1)
    worker.client.zincrby(key, -(CORDON_SECONDS - 6) * 1000, POD)  # as if it had been said long ago
    assert worker.wait_for_reports(1).cordoned
    assert worker.backlog().tasks == 1
    until(lambda: worker.backlog().tasks == 0, 10, "the task is taken")
    worker.until(cordoned=False)


def test_a_worker_that_stands_still_falls_silent(worker: Worker) -> None:
    worker.process.signal(signal.SIGSTOP)
    try:
        with pytest.raises(httpx.TimeoutException):
            worker.probe("/livez")
        assert worker.report() is not None
        worker.client.zincrby(
            "workers:ingest:seen", -(STALE_SECONDS - 3) * 1000, POD
        )  # as if it were long ago
        until(lambda: worker.report() is None, 5, "its report is stale")
    finally:
        worker.process.signal(signal.SIGCONT)
    worker.until(slots=SLOTS)
    until(lambda: worker.probe("/livez") == 200, 5, "it answers again")


def test_a_broker_that_is_away_makes_no_worker_unhealthy_and_is_come_back_to(worker: Worker) -> None:
    worker.cordon(POD)
    worker.until(5, cordoned=True)
    worker.stack.redis.kill()
    until(lambda: "Cannot connect to redis" in worker.process.log.read_text(), 10, "it has noticed")
    assert (worker.probe("/livez"), worker.probe("/readyz")) == (200, 200)
    worker.stack.redis.start()  # empty: the cordon is forgotten too
    worker.until(30, slots=SLOTS, cordoned=False)
    assert (worker.probe("/livez"), worker.probe("/readyz")) == (200, 200)
    worker.send(SLOTS)
    until(lambda: worker.backlog().completed == SLOTS, 10, "work is taken again")


def test_only_a_connected_consumer_that_does_not_pass_is_stuck(worker: Worker) -> None:
    """However long the broker is away."""
    heartbeat = Heartbeat(SimpleNamespace(app=worker.app, hostname="worker@host"))
    assert heartbeat.not_ready() == "not connected to the broker yet"
    heartbeat._looped -= STUCK_SECONDS + 1
    assert heartbeat.stuck() is None
    heartbeat._connected = True
    assert heartbeat.stuck() == f"the consumer has not passed for {STUCK_SECONDS + 1} s"
    heartbeat.stop(None)
    assert heartbeat.stuck() is None


# last: these end the worker


def stop(worker: Worker) -> None:
    """As the kubelet does; what it said must be gone by the time it is."""
    os.kill(worker.process.pid, signal.SIGTERM)
    assert worker.process.popen is not None
    worker.process.popen.wait(20)
    assert not worker.client.hexists("workers:ingest", POD)
    assert worker.client.zscore("workers:ingest:seen", POD) is None


def test_a_worker_that_is_told_to_stop_takes_its_report_along(worker: Worker) -> None:
    stop(worker)


def test_a_worker_with_a_process_for_each_slot_does_the_same(stack: Stack, process: Worker) -> None:
    assert not process.alive
    with started(stack, "prefork") as worker:
        completed = worker.backlog().completed
        worker.send(SLOTS)
        until(lambda: worker.backlog().completed == completed + SLOTS, 10, "tasks are counted")
        assert (worker.probe("/livez"), worker.probe("/readyz")) == (200, 200)
        stop(worker)
