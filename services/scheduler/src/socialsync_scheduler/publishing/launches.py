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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from uuid import UUID

import psycopg
import structlog

from socialsync_common.accounts import Account
from socialsync_common.db import Database
from socialsync_common.errors import SocialSyncError
from socialsync_common.leases import Leases
from socialsync_common.platforms.publishing import Draft
from socialsync_scheduler.publishing import repository
from socialsync_scheduler.publishing.schemas import Target

log = structlog.get_logger()

CALLS_AT_ONCE = 48
BEGIN_SECONDS = 0.25
"""How long before its time a post is marked as called: less than anybody could notice, enough to commit."""
RECORD_SECONDS = 0.05
RECORD_AT_MOST = 1.0
"""How long what is live may wait to be recorded while more calls are due than can be made: they come first."""
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
        leases: Leases[Target],
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
        self._busy = 0  # calls that are due and not answered
        self._busy_lock = threading.Lock()
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

    @property
    def is_closing(self) -> bool:
        return self._closing

    def drain(self) -> list[Ready]:
        """Take nothing more; what has not been begun is given back for another worker, and returned."""
        with self._changed:
            self._closing = True
            left = [ready for _, _, ready in self._waiting]
            self._waiting.clear()
            self._changed.notify()
        self._give_back(left)
        return left

    def _give_back(self, left: list[Ready]) -> None:
        if not left:
            return
        for ready in left:
            self._leases.drop(ready.target)
        try:
            with self._database.transaction(*{ready.target.tenant_id for ready in left}) as connection:
                repository.release(connection, [ready.target for ready in left])
        except (psycopg.Error, TimeoutError) as error:
            # they are taken over when their leases end
            log.warning("posts not given back", posts=len(left), error=type(error).__name__)

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
                    self._count(1)
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
        since = self._leases.now()
        try:
            with self._database.transaction(*{ready.target.tenant_id for ready in batch}) as connection:
                begun = repository.begin_publishing(connection, [ready.target for ready in batch], until)
        except (psycopg.Error, TimeoutError) as error:
            log.warning("posts not begun", posts=len(batch), error=type(error).__name__)
            self._begin_later(batch)
            return
        except Exception:
            log.exception("posts not begun", posts=len(batch))
            self._begin_later(batch)
            return
        for ready in batch:
            if ready.target.lease in begun:
                self._leases.hold(ready.target, since)
                heapq.heappush(self._begun, (ready.at, next(self._order), ready))
            else:
                self._leases.drop(ready.target)

    def _begin_later(self, batch: list[Ready]) -> None:
        """Nothing was called; a lease that ends meanwhile is another worker's."""
        again = self._clock() + timedelta(seconds=_RETRY_SECONDS + BEGIN_SECONDS)
        self._give_back([ready for ready in batch if not self.add(replace(ready, at=max(ready.at, again)))])

    def _launch(self, ready: Ready) -> None:
        try:
            self._launch_now(ready)
        finally:
            self._count(-1)

    def _count(self, calls: int) -> None:
        with self._busy_lock:
            self._busy += calls

    def _launch_now(self, ready: Ready) -> None:
        if not self._leases.is_safe(ready.target):
            log.warning("post not called: its lease may be over", target=str(ready.target.id))
            self._leases.drop(ready.target)
            return
        try:
            self._live.put((ready, self._call(ready)))
        except SocialSyncError as error:
            self._refuse(ready, error)
        except Exception:
            log.exception("publish call", target=str(ready.target.id))
            self._leases.drop(ready.target)

    def _refuse(self, ready: Ready, error: SocialSyncError) -> None:
        try:
            self._failed(ready, error)
        except Exception:
            # marked as called: whoever takes it over asks the platform first
            log.exception("outcome not recorded", target=str(ready.target.id))
        finally:
            self._leases.drop(ready.target)

    def _record(self) -> None:
        """Writes what went live, all of a moment at once, until it is there."""
        posts: list[tuple[Ready, str]] = []
        is_over = False
        while not (is_over and not posts):
            is_over = self._gather(posts) or is_over
            try:
                self._write(posts)
            except (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError) as error:
                log.warning("published posts not recorded yet", posts=len(posts), error=type(error).__name__)
                if is_over:
                    return  # whoever takes them over asks the platform
                time.sleep(_RETRY_SECONDS)
                continue
            except Exception:
                # nothing that one of them has may keep all others from being recorded
                log.exception(
                    "published posts not recorded", targets=[str(ready.target.id) for ready, _ in posts]
                )
                for ready, _ in posts:
                    self._leases.drop(ready.target)
            posts = []

    def _gather(self, posts: list[tuple[Ready, str]]) -> bool:
        """Adds what is known by now, after a moment in which more may come; True after the last one."""
        found = [] if posts else [self._live.get()]
        ends = time.monotonic() + RECORD_AT_MOST
        time.sleep(RECORD_SECONDS)
        while self._busy > CALLS_AT_ONCE and time.monotonic() < ends:
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
            self._leases.drop(ready.target)
        log.info("published", posts=len(posts))
        try:
            self._published(
                [
                    (ready.target.tenant_id, ready.target.id)
                    for ready, _ in posts
                    if ready.target.id in comments
                ]
            )
        except Exception:
            log.exception("first comments not announced", posts=len(comments))  # the sweep finds them


def _due(heap: list[tuple[datetime, int, Ready]], now: datetime) -> list[Ready]:
    found = []
    while heap and heap[0][0] <= now:
        found.append(heapq.heappop(heap)[2])
    return found
