"""A slot of its own for the tick lanes, which work can never take.

The worker's consumer stops fetching while its pool is full, and with it every lane it consumes. So the tick
lanes are taken from it, and one thread consumes and runs them here, however long the work takes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import structlog
from celery import Celery, bootsteps
from celery.utils.time import maybe_iso8601
from kombu.mixins import ConsumerMixin

from socialsync_common.contracts import Lane

log = structlog.get_logger()

_STOP_SECONDS = 5


class TickSlot(bootsteps.StartStopStep):
    """Worker bootstep. ``-Q ingest.tick,ingest`` gives the tick lanes to this slot, the others to the pool."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        queues = worker.app.amqp.queues
        self._queues = [queues[lane] for lane in Lane if lane.is_tick and lane in queues.consume_from]
        for queue in self._queues:
            queues.deselect(queue.name)
        self._consumer: _TickConsumer | None = None
        self._thread: threading.Thread | None = None

    def start(self, worker: Any) -> None:
        if not self._queues:
            return
        self._consumer = _TickConsumer(worker.app, self._queues)
        self._thread = threading.Thread(target=self._consumer.run, name="tick-slot", daemon=True)
        self._thread.start()

    def stop(self, worker: Any) -> None:  # noqa: ARG002 - bootstep signature
        if self._consumer and self._thread:
            self._consumer.should_stop = True
            self._thread.join(_STOP_SECONDS)

    terminate = stop


class _TickConsumer(ConsumerMixin):
    def __init__(self, app: Celery, queues: list[Any]) -> None:
        self._app = app
        self._queues = queues
        self.connection = app.connection_for_read()

    def get_consumers(self, consumer_class: Any, channel: Any) -> list[Any]:  # noqa: ARG002 - mixin signature
        return [consumer_class(self._queues, callbacks=[self._on_tick], accept=["json"], prefetch_count=1)]

    @contextmanager
    def establish_connection(self) -> Iterator[Any]:
        """Try again every second: ticks are what recovery waits for."""
        with self.create_connection() as connection:
            connection.ensure_connection(
                self.on_connection_error, interval_start=0, interval_step=1, interval_max=1
            )
            yield connection

    def on_connection_error(self, exc: Exception, interval: float) -> None:
        log.warning("tick slot: broker away", error=type(exc).__name__, retry_in=interval)

    def _on_tick(self, body: Any, message: Any) -> None:
        message.ack()  # early: a tick that is lost comes again, one that stays in flight would count as work
        headers = message.headers
        expires = maybe_iso8601(headers.get("expires"))
        if expires is not None and expires < datetime.now(UTC):
            return
        args, kwargs, _ = body
        task = self._app.tasks.get(headers["task"])
        if task is None:
            log.error("tick slot: unknown task", task=headers["task"])
            return
        result = task.apply(args, kwargs, task_id=headers["id"])
        if result.failed():
            log.error("tick failed", task=headers["task"], error=repr(result.result))
