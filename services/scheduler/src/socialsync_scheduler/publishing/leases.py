"""Keeps the leases of the targets that this process works on, so that only a dead worker's are taken over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from uuid import UUID

import psycopg
import structlog

from socialsync_common.db import Database
from socialsync_scheduler.publishing import repository
from socialsync_scheduler.publishing.schemas import LEASE_SECONDS, Target

log = structlog.get_logger()


class Leases:
    """One thread renews all of them, three times within a lease. Each claim of a target has one of its own."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._held: dict[UUID | None, tuple[Target, float]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="post-leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def now(self) -> float:
        """To be asked before the transaction that takes or prolongs a lease: it lasts at least from then on."""
        return self._clock()

    def hold(self, target: Target, since: float) -> None:
        """From now on it is renewed: just taken, or just written to."""
        with self._lock:
            self._held[target.lease] = (target, since)

    def drop(self, target: Target) -> None:
        with self._lock:
            self._held.pop(target.lease, None)

    def is_safe(self, target: Target) -> bool:
        """Whether nobody can have taken it over meanwhile, also where this process was stopped for a while."""
        with self._lock:
            held = self._held.get(target.lease)
        return held is not None and self._clock() - held[1] < LEASE_SECONDS / 2

    def _run(self) -> None:
        while not self._stop.wait(LEASE_SECONDS / 3):
            try:
                self.renew()
            except (psycopg.Error, TimeoutError) as error:
                log.warning("leases of posts not renewed", error=type(error).__name__)
            except Exception:
                log.exception("leases of posts not renewed")  # without this thread nothing is published

    def renew(self) -> None:
        with self._lock:
            held = [target for target, _ in self._held.values()]
        if not held:
            return
        at = self.now()
        with self._database.transaction(*{target.tenant_id for target in held}) as connection:
            kept = repository.renew(connection, held)
        with self._lock:
            for target in held:
                if target.lease not in kept:
                    self._held.pop(target.lease, None)
                elif target.lease in self._held:
                    self._held[target.lease] = (target, at)
