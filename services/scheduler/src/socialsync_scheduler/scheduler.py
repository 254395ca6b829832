"""Celery's scheduler, replaced: sleep to the border of a slot, claim it, send. Nothing is kept on disk."""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC, datetime
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

from socialsync_common.election import Elector, Lock, Term
from socialsync_common.health import HealthServer, overdue
from socialsync_common.outage import Outage
from socialsync_common.settings import BrokerSettings, ElectionSettings, WorkerSettings, load
from socialsync_scheduler.fencing import Claim, Fence, Outcome
from socialsync_scheduler.redis_lock import RedisLock
from socialsync_scheduler.schedule import ENTRIES, Entry, Timetable

REQUEST_SECONDS = 0.7
STANDBY_SECONDS = 0.05
RETRY_SECONDS = 0.1
GIVE_UP_SECONDS = 2
STUCK_SECONDS = 15

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
    after it fail, this slot stays empty. A leader that cannot send for two seconds lets another try, which may
    reach Redis where it does not, and campaigns again when it could.
    """

    def __init__(self, app: Celery, lazy: bool = False, **options: Any) -> None:
        super().__init__(app, lazy=lazy, **options)
        if not lazy:  # lazy: Celery only wants to print the banner
            self._prepare(load(BrokerSettings).redis_url)

    def setup_schedule(self) -> None:
        """The entries are code; Celery's own are not wanted."""

    def _prepare(self, redis_url: str) -> None:
        settings = load(ElectionSettings)
        identity = f"{settings.pod_name or socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._timetable = Timetable(ENTRIES)
        self._redis = _client(redis_url)
        self._fence = Fence(self._redis)
        self._outage = Outage("sending")
        self._epoch: tuple[int, int] | None = None  # a term's number, and the epoch it began
        self._ticked = time.monotonic()
        self._failing_since: float | None = None
        self._elector = Elector(_lock(settings, redis_url), identity)
        self._health_port = load(WorkerSettings).health_port
        self._started = self._closed = False

    def _start(self) -> None:
        """With the first tick: told to stop while Celery still constructs this, it constructs and closes another."""
        if self._health_port is not None:
            HealthServer(self._health_port, {"/livez": self._stuck}).start()
        self._elector.start()
        self._started = True

    def _stuck(self) -> str | None:
        """Liveness, of a leader and a standby alike: the loop passes, whoever is away."""
        return overdue("the loop", time.monotonic() - self._ticked, STUCK_SECONDS)

    def tick(self, *_: Any, **__: Any) -> float:
        """Send what is due; returns the seconds to sleep."""
        self._ticked = time.monotonic()
        if self._closed:
            raise SystemExit  # Celery's own, from its signal handler, was lost: it struck amid a ``__del__``
        if not self._started:
            self._start()
        if not self._elector.alive:
            raise RuntimeError("the elector has died")
        term = self._elector.term()
        try:
            if term:
                return self._tick(term)
            if self._failing_since is not None:
                self._try_to_write()
            return STANDBY_SECONDS
        except (redis.RedisError, OperationalError, OSError) as error:
            self._failed(error)
            return RETRY_SECONDS

    def _failed(self, error: Exception) -> None:
        self._outage.began(error)
        super().close()  # drops the broker connection: the next send opens another
        if self._failing_since is None:
            self._failing_since = self._ticked
        elif time.monotonic() - self._failing_since >= GIVE_UP_SECONDS:
            self._elector.abstain()

    def _worked(self) -> None:
        self._outage.ended()
        self._failing_since = None
        self._elector.rejoin()

    def _try_to_write(self) -> None:
        """Refused by a Redis that takes no writes; where it is not, it changes nothing."""
        self._redis.set("beat:probe", "", xx=True)
        self._worked()

    def _tick(self, term: Term) -> float:
        epoch = self._epoch_of(term)
        for entry in self._timetable.due(time.monotonic()):
            wait = self._run(entry, term, epoch)
            self._timetable.postpone(entry, time.monotonic() + wait)
        return min(self._timetable.wait(time.monotonic()), float(self.max_interval))

    def _epoch_of(self, term: Term) -> int:
        if self._epoch is None or self._epoch[0] != term.number:
            self._epoch = (term.number, self._fence.begin(term.token))
            log.info("beat.epoch", epoch=self._epoch[1])
        return self._epoch[1]

    def _run(self, entry: Entry, term: Term, epoch: int) -> float:
        """Claim the present slot and send its tick; returns the seconds until the entry is due again."""
        claim = self._fence.claim(entry, epoch)
        answered = time.monotonic()
        if claim.outcome is Outcome.FENCED:
            self._elector.resign()
            return RETRY_SECONDS
        # the process may have been stopped for long since the claim
        if claim.outcome is Outcome.WON and self._elector.holds(term):
            self._send(entry, claim)
            self._worked()
        return claim.remaining - (time.monotonic() - answered)

    def _send(self, entry: Entry, claim: Claim) -> None:
        """The tick expires by the clock of Redis: by ours, workers might drop it as it comes."""
        claimed = (claim.slot + 1) * entry.every - claim.remaining
        expires = datetime.fromtimestamp(claimed + entry.expires, UTC)
        self.app.send_task(
            entry.task,
            task_id=entry.task_id(claim.slot),
            producer=self.producer,
            headers={"expires": expires.isoformat()},  # the argument would be compared with our clock
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
        self._closed = True
        self._elector.stop()


def _lock(settings: ElectionSettings, redis_url: str) -> Lock:
    """The Lease in a cluster, a key in Redis elsewhere."""
    if settings.lease_name is None:
        return RedisLock(_client(redis_url))
    # only here: the client is large, and outside a cluster nobody needs it
    from socialsync_common.kubernetes_api import KubernetesApi, own_namespace
    from socialsync_common.lease import REQUEST_SECONDS as LEASE_REQUEST_SECONDS
    from socialsync_common.lease import LeaseLock

    namespace = own_namespace(settings.pod_namespace)
    return LeaseLock(KubernetesApi.load(LEASE_REQUEST_SECONDS), namespace, settings.lease_name)


def _client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(
        redis_url,
        decode_responses=True,
        socket_timeout=REQUEST_SECONDS,
        socket_connect_timeout=REQUEST_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
