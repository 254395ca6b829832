"""Which replica ticks: the one that holds the lock ``beat:leader`` in Redis.

The lock alone promises nothing to a process that was paused or cut off. So a leader also watches its own
clock and stands down before the lock can lapse, and the fence refuses whoever missed even that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import redis
import structlog

from socialsync_scheduler.fencing import RAISE_EPOCH
from socialsync_scheduler.outage import Outage

LOCK_SECONDS = 3.0
TERM_SECONDS = 2.5  # shorter than the lock: clocks may run at different rates
RENEW_SECONDS = 0.8
RETRY_SECONDS = 0.25

log = structlog.get_logger()

# ARGV: identity, lock ms, highest epoch seen. A lock that is ours already was won by a call whose answer
# was lost. Returns whether it is won, and the epoch.
_ACQUIRE = (
    RAISE_EPOCH
    + """
local holder = redis.call('GET', 'beat:leader')
if holder and holder ~= ARGV[1] then return {0, tonumber(redis.call('GET', 'beat:epoch') or '0')} end
redis.call('SET', 'beat:leader', ARGV[1], 'PX', ARGV[2])
return {1, raise_epoch(tonumber(ARGV[3]))}
"""
)

# ARGV: identity, lock ms, epoch. A store that forgot our epoch, or knows a newer one, ends the term.
_RENEW = """
if redis.call('GET', 'beat:leader') ~= ARGV[1] or redis.call('GET', 'beat:epoch') ~= ARGV[3] then return 0 end
return redis.call('PEXPIRE', 'beat:leader', ARGV[2])
"""

_RELEASE = "if redis.call('GET', 'beat:leader') == ARGV[1] then return redis.call('DEL', 'beat:leader') end"


@dataclass(frozen=True, slots=True)
class Term:
    """One leadership. It ends at ``deadline`` (monotonic seconds), counted from when its renewal was *sent*."""

    epoch: int
    deadline: float


class RedisElector:
    """Campaigns in a thread of its own; ``epoch`` says at any time whether this replica leads.

    Nothing here blocks its caller or takes a lock, so that ``stop`` may be called from a signal handler.
    The thread is no daemon: the interpreter waits until it has given the lock back.
    """

    def __init__(
        self, client: redis.Redis, identity: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._identity = identity
        self._clock = clock
        self._acquire = client.register_script(_ACQUIRE)
        self._renew = client.register_script(_RENEW)
        self._release = client.register_script(_RELEASE)
        self._term: Term | None = None
        self._seen_epoch = 0
        self._outage = Outage("election")
        self._stopping = False
        self._wake: SimpleQueue[None] = SimpleQueue()
        # the log's context follows into the thread
        self._thread = threading.Thread(target=copy_context().run, args=(self._campaign,), name="elector")

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def epoch(self) -> int | None:
        """The epoch of the present term; None while another replica leads, or may."""
        term = self._term
        return term.epoch if term and self._clock() < term.deadline else None

    def check(self) -> None:
        """Look at the lock now: something else hints that the term is over."""
        self._wake.put(None)

    def stop(self) -> None:
        """End the campaign; the lock is given back right after."""
        self._stopping = True
        self._wake.put(None)

    def attempt(self) -> None:
        """One round: renew the term, or else try to begin one."""
        started = self._clock()
        try:
            if self._term and self.epoch() is None:
                self._stand_down("not renewed in time")
            if self._term and not self._renew(args=[self._identity, _ms(LOCK_SECONDS), self._term.epoch]):
                self._stand_down("lock lost")
            if self._term:
                self._term = Term(self._term.epoch, started + TERM_SECONDS)
            else:
                self._campaign_once(started)
        except (redis.RedisError, OSError) as error:
            self._outage.began(error)
        else:
            self._outage.ended()

    def _campaign_once(self, started: float) -> None:
        won, epoch = self._acquire(args=[self._identity, _ms(LOCK_SECONDS), self._seen_epoch])
        self._seen_epoch = max(self._seen_epoch, int(epoch))
        if won:
            self._term = Term(int(epoch), started + TERM_SECONDS)
            log.info("beat.leading", identity=self._identity, epoch=int(epoch))

    def _stand_down(self, reason: str) -> None:
        if self._term:
            log.warning("beat.stood_down", identity=self._identity, epoch=self._term.epoch, reason=reason)
            self._term = None

    def _campaign(self) -> None:
        while not self._stopping:
            self.attempt()
            self._pause(RETRY_SECONDS if self.epoch() is None else RENEW_SECONDS)
        self._give_back()

    def _pause(self, seconds: float) -> None:
        try:
            self._wake.get(timeout=seconds)
        except Empty:
            return

    def _give_back(self) -> None:
        term, self._term = self._term, None
        try:
            self._release(args=[self._identity])
        except (redis.RedisError, OSError):
            return  # it lapses by itself
        if term:
            log.info("beat.released", identity=self._identity, epoch=term.epoch)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
