"""The loop over all queues. It reads by itself, level by level, and needs no watch: an event only wakes it early."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import redis
import structlog

from socialsync_common.election import Elector
from socialsync_common.health import overdue
from socialsync_common.kubernetes_api import ApiError, ApiUnavailable, Json
from socialsync_common.outage import Outage
from socialsync_operator import metrics
from socialsync_operator.backlog import BacklogReader
from socialsync_operator.cluster import Cluster
from socialsync_operator.reconcile import QueueState, Reconciler, Turn
from socialsync_operator.spec import Queue, SpecError, parse_queue

STUCK_SECONDS = 60
THREADS = 16
AUTOSCALERS_SECONDS = 15.0
_PAUSE_SECONDS = 1.0

log = structlog.get_logger()


class Controller:
    """Every replica runs one, so that a standby knows each queue's past; only the elected one writes."""

    def __init__(
        self,
        cluster: Cluster,
        reader: BacklogReader,
        reconciler: Reconciler,
        elector: Elector,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._reader = reader
        self._reconciler = reconciler
        self._elector = elector
        self._clock = clock
        self._states: dict[str, QueueState] = {}
        self._autoscalers: dict[str, str] = {}
        self._autoscalers_at = float("-inf")
        self._outage = Outage("kubernetes")
        self._woken: set[str] = set()
        self._wake = threading.Event()
        self._stopping = False
        self._passed = clock()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="turn")
        self._thread = threading.Thread(target=self._run, name="controller")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the turns that were begun have ended."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self._pool.shutdown()

    def wake(self, queue: str) -> None:
        """Something happened to this queue or its Deployment: look now."""
        self._woken.add(queue)
        self._wake.set()

    def stuck(self) -> str | None:
        """Liveness: the loop passes, whoever is away."""
        return overdue("the loop", self._clock() - self._passed, STUCK_SECONDS)

    def _run(self) -> None:
        while not self._stopping:
            started = self._clock()
            self._wake.clear()
            try:
                self.step()
            except (ApiError, ApiUnavailable) as error:
                self._outage.began(error)
            except Exception:
                log.exception("controller.failed")  # a fault of one pass must not end the loop
            else:
                self._outage.ended()
            self._passed = self._clock()
            self._wake.wait(max(0.05, _PAUSE_SECONDS - (self._passed - started)))

    def step(self) -> None:
        """One pass over the queues that are due.

        Raises:
            ApiError, ApiUnavailable: the cluster cannot be read; nothing was changed.
        """
        now, acts = self._clock(), self._acts()
        resources = self._cluster.queues()
        deployments = self._cluster.deployments()
        if now - self._autoscalers_at >= AUTOSCALERS_SECONDS:
            self._autoscalers, self._autoscalers_at = self._cluster.autoscalers(), now
        due = self._due(resources, now)
        backlogs = self._reader.read([queue for queue, _ in due])
        turns = [
            Turn(
                queue=queue,
                resource=resource,
                deployment=deployments.get(queue.deployment),
                autoscaler=self._autoscalers.get(queue.deployment),
                backlog=backlogs[queue.name],
                now=now,
                acts=acts,
            )
            for queue, resource in due
        ]
        list(self._pool.map(self._take, turns))
        seconds = self._clock() - now
        metrics.TURN.record(seconds)
        log.debug("controller.passed", queues=len(turns), seconds=round(seconds, 3))

    def _acts(self) -> Callable[[], bool]:
        """Only for the term in which the cluster was read."""
        term = self._elector.term()
        return lambda: term is not None and self._elector.holds(term)

    def _due(self, resources: list[Json], now: float) -> list[tuple[Queue, Json]]:
        woken, self._woken = self._woken, set()
        due = []
        for resource in resources:
            try:
                queue = parse_queue(resource)
            except SpecError as error:
                log.error("spec.unreadable", queue=resource["metadata"]["name"], error=str(error))
                continue
            state = self._states.setdefault(queue.uid, QueueState())
            if now >= state.due_at or queue.name in woken:
                # a pass that is a little early is no reason to skip it
                state.due_at = now + queue.polling * 0.9
                due.append((queue, resource))
        known = {resource["metadata"]["uid"] for resource in resources}
        for gone in self._states.keys() - known:
            del self._states[gone]
        return due

    def _take(self, turn: Turn) -> None:
        try:
            self._reconciler.take(turn, self._states[turn.queue.uid])
        except (ApiError, ApiUnavailable) as error:
            log.warning("turn.failed", queue=turn.queue.name, error=str(error))
        except redis.RedisError as error:
            log.warning("turn.failed", queue=turn.queue.name, error=type(error).__name__)
        except Exception:
            log.exception("turn.failed", queue=turn.queue.name)
