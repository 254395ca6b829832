"""A Celery worker's heartbeat, which a worker that no longer consumes cannot send, and its obedience to a cordon.

The consumer's own loop must pass every second; a thread beside it reports to Redis as long as it does. So a worker
that is alive but stuck falls silent, and the operator restarts it.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import redis
import structlog
from celery import bootsteps
from celery.worker import state

from socialsync_common.health import HealthServer, overdue
from socialsync_common.outage import Outage
from socialsync_common.settings import BrokerSettings, WorkerSettings, load
from socialsync_common.workers import REPORT_SECONDS, STALE_SECONDS, WorkerRegistry, WorkerReport

LOOP_SECONDS = 0.5
SAMPLE_SECONDS = 0.1
STUCK_SECONDS = 60
_REDIS_SECONDS = 2

log = structlog.get_logger()


class Heartbeat(bootsteps.StartStopStep):
    """Consumer bootstep: started with each connection to the broker, stopped when it is lost."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        settings = load(WorkerSettings)
        self._queue = settings.socialsync_queue or consumer.app.main.removeprefix("socialsync_")
        self._worker = settings.pod_name or consumer.hostname
        self._consumer = consumer
        self._lanes = [lane for lane in consumer.app.amqp.queues.consume_from if not lane.endswith(".tick")]
        self._connected = False
        self._looped = time.monotonic()
        self._timer: Any = None
        self._cordoned = False  # as the operator wants it
        self._obeyed = False
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        if settings.health_port is not None:
            HealthServer(settings.health_port, {"/livez": self.stuck, "/readyz": self.not_ready}).start()

    def start(self, consumer: Any) -> None:
        self._looped = time.monotonic()
        self._connected = True
        self._timer = consumer.timer.call_repeatedly(LOOP_SECONDS, self._pass)
        if self._thread is None:
            self._thread = threading.Thread(target=self._report, name="heartbeat", daemon=True)
            self._thread.start()

    def stop(self, consumer: Any) -> None:  # noqa: ARG002 - bootstep signature
        self._connected = False
        if self._timer:
            self._timer.cancel()

    def shutdown(self, consumer: Any) -> None:
        self.stop(consumer)
        self._ending.set()
        if self._thread:
            # it has a last word to say: without it the operator would count on this worker for a while
            self._thread.join(_REDIS_SECONDS)

    def stuck(self) -> str | None:
        """Liveness. A broker that is away is no fault of the worker's: restarting would not bring it back."""
        age = time.monotonic() - self._looped
        return overdue("the consumer", age, STUCK_SECONDS) if self._connected else None

    def not_ready(self) -> str | None:
        """Readiness: started once. Never for being busy: Kubernetes takes pods that are not ready first."""
        return None if self._thread else "not connected to the broker yet"

    def _pass(self) -> None:
        """In the consumer's own loop."""
        self._looped = time.monotonic()
        if self._cordoned == self._obeyed:
            return
        change = self._consumer.cancel_task_queue if self._cordoned else self._consumer.add_task_queue
        for lane in self._lanes:
            change(lane)
        self._obeyed = self._cordoned
        log.info("worker.cordoned" if self._obeyed else "worker.uncordoned", queue=self._queue)

    def _report(self) -> None:
        client = redis.Redis.from_url(
            load(BrokerSettings).redis_url,
            socket_timeout=_REDIS_SECONDS,
            socket_connect_timeout=_REDIS_SECONDS,
        )
        registry = WorkerRegistry(client, self._queue)
        outage = Outage("heartbeat")
        counted, busy, due, sampled = 0, 0.0, 0.0, time.monotonic()
        while not self._ending.wait(SAMPLE_SECONDS):
            now = time.monotonic()
            busy += len(state.active_requests) * (now - sampled)
            sampled = now
            if now < due or not self._connected or now - self._looped > STALE_SECONDS:
                continue
            due = now + REPORT_SECONDS
            completed = max(state.all_total_count[0] - len(state.active_requests), counted)
            try:
                self._cordoned = registry.report(
                    self._worker, self._state(), completed - counted, round(busy * 1000)
                )
            except redis.RedisError as error:
                outage.began(error)
            else:
                outage.ended()
                counted, busy = completed, 0.0
        try:
            registry.leave(self._worker)
        except redis.RedisError:
            return  # it is forgotten by itself

    def _state(self) -> WorkerReport:
        # looked at first: a task that came just before the cordon must be among those that are counted after
        cordoned = self._obeyed
        active = _members(state.active_requests)
        starts = [request.time_start for request in active if request.time_start]
        return WorkerReport(
            slots=self._consumer.pool.num_processes,
            active=len(active),
            reserved=len(state.reserved_requests) + len(state.scheduled_requests),
            accepted=state.all_total_count[0],
            oldest_seconds=round(max(0.0, time.time() - min(starts))) if starts else 0,
            cordoned=cordoned,
        )


def _members(requests: Any) -> list[Any]:
    """A set that other threads change at will."""
    while True:
        try:
            return list(requests)
        except RuntimeError:
            continue
