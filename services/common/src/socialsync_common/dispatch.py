"""Sends tasks about what Postgres holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import redis
import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from socialsync_common.contracts import LANE_OF_TASK, TaskName

log = structlog.get_logger()


class Dispatch:
    """Thread-safe. Postgres holds what is to be done, so that a lost task only delays it: a sweep finds it."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def send(self, name: TaskName, arguments: Iterable[Mapping[str, Any]], priority: int = 0) -> None:
        """A task for each of ``arguments``, to its lane; a higher ``priority`` is emptied later."""
        every = list(arguments)
        if not every:
            return
        try:
            with self._app.producer_pool.acquire(block=True) as producer:
                for each in every:
                    self._app.send_task(
                        name,
                        kwargs=dict(each),
                        queue=LANE_OF_TASK[name],
                        producer=producer,
                        priority=priority,
                    )
        # RuntimeError: the worker is on its way out and has closed its connections
        except (OperationalError, redis.RedisError, OSError, RuntimeError) as error:
            log.warning("tasks not sent", task=name, count=len(every), error=type(error).__name__)
