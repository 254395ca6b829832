"""Celery's scheduler, replaced: sleep to the border of a slot, claim it, send. Nothing is kept on disk."""

from __future__ import annotations

import os
import socket
import time
from functools import cached_property
from typing import Any
from uuid import uuid4

import redis
import structlog
from celery import Celery
from celery.beat import Scheduler
from kombu import Connection
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

from socialsync_common.settings import BrokerSettings, load
from socialsync_scheduler.elector import RedisElector
from socialsync_scheduler.fencing import Fence, Outcome
from socialsync_scheduler.outage import Outage
from socialsync_scheduler.schedule import ENTRIES, Entry, Timetable

REQUEST_SECONDS = 0.7
STANDBY_SECONDS = 0.05
RETRY_SECONDS = 0.1

# Two seconds at most, and never a second try: a send whose answer was lost may have arrived.
_SEND_OPTIONS = {
    "socket_timeout": REQUEST_SECONDS,
    "socket_connect_timeout": REQUEST_SECONDS,
    "retry_on_timeout": False,
    "max_retries": 0,
}

log = structlog.get_logger()


class FencedScheduler(Scheduler):
    """Every replica runs one; only the elected one sends, and each slot of an entry at most once.

    A slot that nobody claimed in time is never made up for. A claim is not given back: should the send
    after it fail, this slot stays empty.
    """

    def __init__(self, app: Celery, lazy: bool = False, **options: Any) -> None:
        super().__init__(app, lazy=lazy, **options)
        if not lazy:  # lazy: Celery only wants to print the banner
            self._start(load(BrokerSettings).redis_url)

    def setup_schedule(self) -> None:
        """The entries are code; Celery's own are not wanted."""

    def _start(self, redis_url: str) -> None:
        identity = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._timetable = Timetable(ENTRIES)
        self._fence = Fence(_client(redis_url))
        self._outage = Outage("sending")
        self._elector = RedisElector(_client(redis_url), identity)
        self._elector.start()

    def tick(self, *_: Any, **__: Any) -> float:
        """Send what is due; returns the seconds to sleep."""
        if not self._elector.alive:
            raise RuntimeError("the elector has died")
        epoch = self._elector.epoch()
        if epoch is None:
            return STANDBY_SECONDS
        for entry in self._timetable.due(time.monotonic()):
            wait = self._run(entry, epoch)
            self._timetable.postpone(entry, time.monotonic() + wait)
        return min(self._timetable.wait(time.monotonic()), float(self.max_interval))

    def _run(self, entry: Entry, epoch: int) -> float:
        """Claim the present slot and send its tick; returns the seconds until the entry is due again."""
        try:
            claim = self._fence.claim(entry, epoch)
            answered = time.monotonic()
            if claim.outcome is Outcome.FENCED:
                self._elector.check()
                return RETRY_SECONDS
            # the process may have been stopped for long since the claim
            if claim.outcome is Outcome.WON and self._elector.epoch() == epoch:
                self._send(entry, claim.slot)
        except (redis.RedisError, OperationalError, OSError) as error:
            self._outage.began(error)
            super().close()  # drops the broker connection: the next send opens another
            return RETRY_SECONDS
        self._outage.ended()
        return claim.remaining - (time.monotonic() - answered)

    def _send(self, entry: Entry, slot: int) -> None:
        self.app.send_task(
            entry.task,
            task_id=entry.task_id(slot),
            producer=self.producer,
            expires=entry.expires,
            ignore_result=True,
            delivery_mode="transient",
            retry=False,
        )

    @cached_property
    def connection(self) -> Connection:
        return self.app.connection_for_write(transport_options=_SEND_OPTIONS)

    def _ensure_connected(self) -> Connection:
        # Celery's own would try for ever; this one connects with the first send
        return self.connection

    def should_sync(self) -> bool:
        return False

    def close(self) -> None:
        """Called from a signal handler amid whatever the loop does, and again when the loop has ended."""
        self._elector.stop()


def _client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(
        redis_url,
        decode_responses=True,
        socket_timeout=REQUEST_SECONDS,
        socket_connect_timeout=REQUEST_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
