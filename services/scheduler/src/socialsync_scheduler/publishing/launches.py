"""Posts that are ready and wait for their second.

A Celery task for each would reach the platform seconds late when a thousand are due at once. So a task only
prepares a post and leaves it here: what is due together is marked together, each call leaves at its time, and what
the platform answered is recorded together.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from uuid import UUID

import psycopg
import structlog

from socialsync_common.accounts import Account
from socialsync_common.db import Database
from socialsync_common.errors import SocialSyncError
from socialsync_common.platforms.publishing import Draft
from socialsync_scheduler.publishing import repository
from socialsync_scheduler.publishing.leases import Leases
from socialsync_scheduler.publishing.schemas import Target

log = structlog.get_logger()

CALLS_AT_ONCE = 48
BEGIN_SECONDS = 0.25
"""How long before its time a post is marked as called: less than anybody could notice, enough to commit."""
RECORD_SECONDS = 0.05
_RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Ready:
    """A prepared post, with all that its call needs."""

    target: Target
    account: Account
    draft: Draft
    at: datetime


class Launches:
    """``call`` makes a post live and returns its id; ``failed`` decides what an error means; ``published`` is told
    the targets whose first comment waits, by tenant."""

    def __init__(
        self,
        database: Database,
        leases: Leases,
        *,
        call: Callable[[Ready], str],
        failed: Callable[[Ready, SocialSyncError], None],
        published: Callable[[list[tuple[UUID, UUID]]], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._leases = leases
        self._call, self._failed, self._published = call, failed, published
        self._clock = clock
        self._order = itertools.count()
        self._waiting: list[tuple[datetime, int, Ready]] = []
        self._begun: list[tuple[datetime, int, Ready]] = []
        self._changed = threading.Condition()
        self._closing = False
        self._live: SimpleQueue[tuple[Ready, str] | None] = SimpleQueue()  # None: no more
        self._calls = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="launch")
        self._threads = [
            threading.Thread(target=self._run, name="launches", daemon=True),
            threading.Thread(target=self._record, name="launches-record", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def add(self, ready: Ready) -> bool:
        """Publish it at its time; its lease is kept until then. False where this process is on its way out."""
        with self._changed:
            if self._closing:
                return False
            heapq.heappush(self._waiting, (ready.at, next(self._order), ready))
            self._changed.notify()
        return True

    def drain(self) -> list[Ready]:
        """Take nothing more; what has not been begun is given back for another worker, and returned."""
        with self._changed:
            self._closing = True
            left = [ready for _, _, ready in self._waiting]
            self._waiting.clear()
            self._changed.notify()
        for ready in left:
            self._leases.drop(ready.target.id)
        if left:
            with self._database.transaction(*{ready.target.tenant_id for ready in left}) as connection:
                repository.release(connection, self._leases.token, [ready.target.id for ready in left])
        return left

    def close(self) -> None:
        """Wait for what is begun, and record it."""
        self.drain()
        for thread in self._threads[:1]:
            thread.join()
        self._calls.shutdown(wait=True)
        self._live.put(None)
        self._threads[1].join()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closing and not self._begun:
                    return
                now = self._clock()
                soon = now + timedelta(seconds=BEGIN_SECONDS)
                to_begin = _due(self._waiting, soon)
                for ready in _due(self._begun, now):
                    self._calls.submit(self._launch, ready)
                if not to_begin:
                    self._changed.wait(self._seconds_to_next(now))
                    continue
            self._begin(to_begin, soon)

    def _seconds_to_next(self, now: datetime) -> float | None:
        nexts = [(heap[0][0] - now).total_seconds() - lead for heap, lead in
                 ((self._waiting, BEGIN_SECONDS), (self._begun, 0.0)) if heap]  # fmt: skip
        return max(min(nexts), 0.0) if nexts else None

    def _begin(self, batch: list[Ready], until: datetime) -> None:
        try:
            with self._database.transaction(*{ready.target.tenant_id for ready in batch}) as connection:
                begun = repository.begin_publishing(
                    connection, self._leases.token, [ready.target.id for ready in batch], until
                )
        except (psycopg.Error, TimeoutError) as error:
            # nothing was called; a lease that ends meanwhile is another worker's
            log.warning("posts not begun", posts=len(batch), error=type(error).__name__)
            again = self._clock() + timedelta(seconds=_RETRY_SECONDS + BEGIN_SECONDS)
            self._put(self._waiting, ((max(ready.at, again), ready) for ready in batch))
            return
        for ready in batch:
            if ready.target.id in begun:
                self._leases.hold(ready.target.tenant_id, ready.target.id)
            else:
                self._leases.drop(ready.target.id)
        self._put(self._begun, ((ready.at, ready) for ready in batch if ready.target.id in begun))

    def _put(self, heap: list[tuple[datetime, int, Ready]], items: Iterable[tuple[datetime, Ready]]) -> None:
        with self._changed:
            for at, ready in items:
                heapq.heappush(heap, (at, next(self._order), ready))

    def _launch(self, ready: Ready) -> None:
        if not self._leases.is_safe(ready.target.id):
            log.warning("post not called: its lease may be over", target=str(ready.target.id))
            self._leases.drop(ready.target.id)
            return
        try:
            self._live.put((ready, self._call(ready)))
        except SocialSyncError as error:
            try:
                self._failed(ready, error)
            except psycopg.Error:
                # marked as called: whoever takes it over asks the platform first
                log.exception("outcome not recorded", target=str(ready.target.id))
            finally:
                self._leases.drop(ready.target.id)
        except Exception:
            log.exception("publish call", target=str(ready.target.id))
            self._leases.drop(ready.target.id)

    def _record(self) -> None:
        """Writes what went live, all of a moment at once, until it is there."""
        posts: list[tuple[Ready, str]] = []
        is_over = False
        while not (is_over and not posts):
            is_over = self._gather(posts) or is_over
            try:
                self._write(posts)
                posts = []
            except (psycopg.Error, TimeoutError) as error:
                log.warning("published posts not recorded yet", posts=len(posts), error=type(error).__name__)
                if is_over:
                    return  # whoever takes them over asks the platform
                time.sleep(_RETRY_SECONDS)

    def _gather(self, posts: list[tuple[Ready, str]]) -> bool:
        """Adds what is known by now, after a moment in which more may come; True after the last one."""
        found = [] if posts else [self._live.get()]
        time.sleep(RECORD_SECONDS)
        while True:
            try:
                found.append(self._live.get_nowait())
            except Empty:
                posts += [post for post in found if post is not None]
                return None in found

    def _write(self, posts: list[tuple[Ready, str]]) -> None:
        if not posts:
            return
        with self._database.transaction(*{ready.target.tenant_id for ready, _ in posts}) as connection:
            comments = set(
                repository.record_published(
                    connection, [(ready.target.id, media_id) for ready, media_id in posts]
                )
            )
        for ready, _ in posts:
            self._leases.drop(ready.target.id)
        log.info("published", posts=len(posts))
        self._published(
            [(ready.target.tenant_id, ready.target.id) for ready, _ in posts if ready.target.id in comments]
        )


def _due(heap: list[tuple[datetime, int, Ready]], now: datetime) -> list[Ready]:
    found = []
    while heap and heap[0][0] <= now:
        found.append(heapq.heappop(heap)[2])
    return found
