"""Which replica acts: the one that holds the lock.

A lock alone promises nothing to a process that was paused or cut off. So a leader also watches its own monotonic
clock and stands down before the lock can lapse. Whoever missed even that is refused where it writes: Beat by the
fence in Redis, the operator by the resourceVersion of what it patches.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Protocol

import structlog

from socialsync_common.errors import TransientError
from socialsync_common.outage import Outage

_JITTER = 0.1

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. ``term`` is shorter than the lock lives: clocks may run at different rates."""

    term: float
    renew: float
    retry: float


class Lock(Protocol):
    """Where the replicas agree on one holder. Each call has a time-out well below ``timing.term``.

    Raises:
        TransientError: from each method: the store did not answer, and what was asked may have happened.
    """

    timing: Timing

    def acquire(self, identity: str) -> int | None:
        """Take the lock if it is free, lapsed or ours already. Returns a token that rises from holder to holder."""

    def renew(self, identity: str) -> bool:
        """Hold it for longer; False when it is no longer ours."""

    def release(self, identity: str) -> None:
        """Give it back if it is ours."""


@dataclass(frozen=True, slots=True)
class Term:
    """One leadership; ``number`` counts those of this process.

    It ends at ``deadline`` (monotonic seconds), counted from when its last renewal was *sent*.
    """

    number: int
    token: int
    deadline: float


class Elector:
    """Campaigns in a thread of its own; ``term`` says at any time whether this replica leads.

    Nothing here blocks its caller or takes a lock, so that ``stop`` may be called from a signal handler.
    The thread is no daemon: the interpreter waits until it has given the lock back. So it must be stopped
    after the work that it guards.
    """

    def __init__(self, lock: Lock, identity: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = lock
        self._identity = identity
        self._clock = clock
        self._term: Term | None = None
        self._terms = 0
        self._resigning = False
        self._abstaining = False
        self._stopping = False
        self._outage = Outage("election")
        self._wake: SimpleQueue[None] = SimpleQueue()
        # the log's context follows into the thread
        self._thread = threading.Thread(target=copy_context().run, args=(self._campaign,), name="elector")

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def term(self) -> Term | None:
        """The present term; None while another replica leads, or may."""
        term = self._term
        ending = self._resigning or self._abstaining
        return term if term and not ending and self._clock() < term.deadline else None

    def holds(self, term: Term) -> bool:
        """Whether that term still runs, renewed or not."""
        current = self.term()
        return current is not None and current.number == term.number

    def resign(self) -> None:
        """End the term now: only the store can say whether there may be another one."""
        self._resigning = True
        self._wake.put(None)

    def abstain(self) -> None:
        """Leave the lock to another until ``rejoin``: this replica cannot do what it is elected for."""
        if not self._abstaining:
            self._abstaining = True
            self._wake.put(None)

    def rejoin(self) -> None:
        """Campaign again."""
        if self._abstaining:
            self._abstaining = False
            self._wake.put(None)

    def stop(self) -> None:
        """End the campaign; the lock is given back right after."""
        self._stopping = True
        self._wake.put(None)

    def join(self, seconds: float) -> None:
        """Wait until the lock is given back."""
        self._thread.join(seconds)

    def attempt(self) -> None:
        """One round: renew the term, or else try to begin one."""
        started = self._clock()
        try:
            if self._abstaining:
                self._stand_down("abstains")
                # each round: an acquisition whose answer was lost may have won it
                self._lock.release(self._identity)
            else:
                self._end_term_that_is_over()
                self._renew_or_begin(started)
        except TransientError as error:
            self._outage.began(error)
        else:
            self._outage.ended()

    def _end_term_that_is_over(self) -> None:
        if self._resigning:
            self._stand_down("refused by the store")
            self._resigning = False
        elif self._term and self.term() is None:
            self._stand_down("not renewed in time")

    def _renew_or_begin(self, started: float) -> None:
        if self._term and not self._lock.renew(self._identity):
            self._stand_down("lock lost")
        if self._term:
            self._term = replace(self._term, deadline=started + self._lock.timing.term)
        else:
            self._try_to_begin(started)

    def _try_to_begin(self, started: float) -> None:
        token = self._lock.acquire(self._identity)
        if token is not None:
            self._terms += 1
            self._term = Term(self._terms, token, started + self._lock.timing.term)
            log.info("election.leading", identity=self._identity, token=token)

    def _stand_down(self, reason: str) -> None:
        if self._term:
            log.warning("election.stood_down", identity=self._identity, token=self._term.token, reason=reason)
            self._term = None

    def _campaign(self) -> None:
        while not self._stopping:
            self.attempt()
            timing = self._lock.timing
            pause = timing.retry if self.term() is None else timing.renew
            # replicas that started together must not go on asking together
            self._pause(pause * random.uniform(1 - _JITTER, 1))  # noqa: S311 - not a secret
        self._give_back()

    def _pause(self, seconds: float) -> None:
        try:
            self._wake.get(timeout=seconds)
        except Empty:
            return

    def _give_back(self) -> None:
        term, self._term = self._term, None
        try:
            self._lock.release(self._identity)
        except TransientError:
            return  # it lapses by itself
        if term:
            log.info("election.released", identity=self._identity, token=term.token)
