"""Keeps the leases of the targets that this process works on, so that only a dead worker's are taken over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from uuid import UUID, uuid4

import psycopg
import structlog

from socialsync_common.db import Database
from socialsync_scheduler.publishing import repository
from socialsync_scheduler.publishing.schemas import LEASE_SECONDS

log = structlog.get_logger()


class Leases:
    """One thread renews all of them, three times within a lease. ``token`` names this process."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self.token = uuid4()
        self._database = database
        self._clock = clock
        self._held: dict[UUID, tuple[UUID, float]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="post-leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def hold(self, tenant: UUID, target: UUID) -> None:
        """From now on it is renewed: just taken, or just written to."""
        with self._lock:
            self._held[target] = (tenant, self._clock())

    def drop(self, target: UUID) -> None:
        with self._lock:
            self._held.pop(target, None)

    def is_safe(self, target: UUID) -> bool:
        """Whether nobody can have taken it over meanwhile, also where this process was stopped for a while."""
        with self._lock:
            held = self._held.get(target)
        return held is not None and self._clock() - held[1] < LEASE_SECONDS / 2

    def _run(self) -> None:
        while not self._stop.wait(LEASE_SECONDS / 3):
            try:
                self.renew()
            except (psycopg.Error, TimeoutError) as error:
                log.warning("leases of posts not renewed", error=type(error).__name__)

    def renew(self) -> None:
        with self._lock:
            held = {target: tenant for target, (tenant, _) in self._held.items()}
        if not held:
            return
        at = self._clock()
        with self._database.transaction(*set(held.values())) as connection:
            kept = repository.renew(connection, self.token, held)
        with self._lock:
            for target in kept & self._held.keys():
                self._held[target] = (self._held[target][0], at)
            for target in held.keys() - kept:
                self._held.pop(target, None)
