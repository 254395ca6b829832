"""Keeps the leases of running batches alive, so that only a dead worker's are claimed again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import redis
import structlog

from socialsync_common.batches import STARTED_LEASE_SECONDS, Batches

log = structlog.get_logger()


class LeaseKeeper:
    """One thread renews every lease that this process holds, three times within a lease."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._held: dict[str, str] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    @contextmanager
    def hold(self, name: str, token: str) -> Iterator[None]:
        with self._lock:
            self._held[name] = token
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(name, None)

    def _run(self) -> None:
        while not self._stop.wait(STARTED_LEASE_SECONDS / 3):
            with self._lock:
                held = list(self._held.items())
            try:
                self._batches.renew(held)
            except redis.RedisError as error:
                log.warning("leases not renewed", held=len(held), error=type(error).__name__)
