"""What Beat sends and when. A slot is one period of an entry, counted by Redis's clock from the Unix epoch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

from socialsync_common.contracts import TaskName

_NAMESPACE = uuid5(NAMESPACE_URL, "socialsync:beat")


@dataclass(frozen=True, slots=True)
class Entry:
    """One task, sent once in each slot of ``every`` seconds; a worker drops it after ``expires`` seconds."""

    name: str
    task: TaskName
    every: float
    expires: float

    def task_id(self, slot: int) -> str:
        """The same for every replica, so that a tick sent twice is known as one."""
        return str(uuid5(_NAMESPACE, f"{self.name}:{slot}"))


ENTRIES = (
    Entry("scan-redis-batches-every-500ms", TaskName.SCAN_REDIS_BATCHES, every=0.5, expires=0.4),
    Entry("sweep-every-10-seconds", TaskName.SWEEP, every=10.0, expires=9.0),
    Entry("enqueue-due-posts-every-minute", TaskName.ENQUEUE_DUE_POSTS, every=60.0, expires=55.0),
    Entry("sweep-posts-every-10-seconds", TaskName.SWEEP_POSTS, every=10.0, expires=9.0),
    Entry("poll-post-comments-every-5-minutes", TaskName.POLL_POST_COMMENTS, every=300.0, expires=290.0),
    Entry("sweep-comments-every-10-seconds", TaskName.SWEEP_COMMENTS, every=10.0, expires=9.0),
    # each account is looked after daily: hourly, so that a tick that is lost costs an hour and not a day
    Entry("refresh-tokens-every-hour", TaskName.REFRESH_TOKENS, every=3600.0, expires=3000.0),
)


class Timetable:
    """When each entry's next slot begins, on the monotonic clock. An entry not seen yet is due now."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._next = dict.fromkeys(entries, float("-inf"))

    def due(self, now: float) -> list[Entry]:
        return [entry for entry, at in self._next.items() if at <= now]

    def postpone(self, entry: Entry, until: float) -> None:
        self._next[entry] = until

    def wait(self, now: float) -> float:
        """Seconds until the first entry is due."""
        return max(0.0, min(self._next.values()) - now)
