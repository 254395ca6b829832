"""Keeps the leases of what this process works on, so that only a dead worker's work is taken over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar
from uuid import UUID

import psycopg
import structlog

from socialsync_common.db import Connection, Database

log = structlog.get_logger()


class Leased(Protocol):
    """Something under a lease in Postgres."""

    @property
    def tenant_id(self) -> UUID: ...

    @property
    def lease(self) -> UUID | None:
        """Of this claim, and of no other."""


T = TypeVar("T", bound=Leased)
Renew = Callable[[Connection, Sequence[T]], set[UUID]]


class Leases(Generic[T]):
    """One thread renews all of them, three times within a lease. Each claim has one of its own.

    ``renew`` prolongs leases by ``seconds`` and returns those that are still held; ``name`` is the thread's.
    """

    def __init__(
        self,
        database: Database,
        renew: Renew[T],
        seconds: float,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._renew = renew
        self._seconds = seconds
        self._clock = clock
        self._held: dict[UUID | None, tuple[T, float]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def now(self) -> float:
        """To be asked before the transaction that takes or prolongs a lease: it lasts at least from then on."""
        return self._clock()

    def hold(self, held: T, since: float) -> None:
        """From now on it is renewed: just taken, or just written to."""
        with self._lock:
            self._held[held.lease] = (held, since)

    def drop(self, held: T) -> None:
        with self._lock:
            self._held.pop(held.lease, None)

    def is_safe(self, held: T) -> bool:
        """Whether nobody can have taken it over meanwhile, also where this process was stopped for a while."""
        with self._lock:
            known = self._held.get(held.lease)
        return known is not None and self._clock() - known[1] < self._seconds / 2

    def _run(self) -> None:
        while not self._stop.wait(self._seconds / 3):
            try:
                self.renew()
            except (psycopg.Error, TimeoutError) as error:
                log.warning("leases not renewed", leases=self._thread.name, error=type(error).__name__)
            except Exception:
                log.exception("leases not renewed", leases=self._thread.name)  # without it nothing is safe

    def renew(self) -> None:
        with self._lock:
            held = [each for each, _ in self._held.values()]
        if not held:
            return
        at = self.now()
        with self._database.transaction(*{each.tenant_id for each in held}) as connection:
            kept = self._renew(connection, held)
        with self._lock:
            for each in held:
                if each.lease not in kept:
                    self._held.pop(each.lease, None)
                elif each.lease in self._held:
                    self._held[each.lease] = (each, at)
