"""What waits for a queue and what its workers say, read from Redis in one round trip for all queues asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from socialsync_common.batches import DEADLINES
from socialsync_common.celery_app import KEY_PREFIX, QUEUED_AT
from socialsync_common.contracts import Lane
from socialsync_common.workers import STALE_SECONDS, WorkerReport
from socialsync_operator.spec import Queue

CHUNK = 50
_PROBE_KEY = "socialsync:operator:probe"
_PROBE_SECONDS = 60
# kombu keeps a list for each priority step; the first one has the queue's plain name
_PRIORITIES = ("", "\x06\x163", "\x06\x166", "\x06\x169")

# ARGV: queue, unacked key, conversations' deadlines or '', stale ms, header, then the lists of its lanes.
# An unparsable or foreign message at the head of a list leaves the age unknown.
_READ = """
local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)
local tasks, oldest, unknown = 0, 0, 0
for i = 6, #ARGV do
  local length = redis.call('LLEN', ARGV[i])
  if length > 0 then
    tasks = tasks + length
    local sound, message = pcall(cjson.decode, redis.call('LINDEX', ARGV[i], -1))
    local at = sound and type(message) == 'table' and type(message.headers) == 'table' and message.headers[ARGV[5]]
    if type(at) == 'number' then oldest = math.max(oldest, now - at) else unknown = 1 end
  end
end
local due = 0
if ARGV[3] ~= '' then
  due = redis.call('ZCOUNT', ARGV[3], '-inf', now)
  if due > 0 then oldest = math.max(oldest, now - redis.call('ZRANGE', ARGV[3], 0, 0, 'WITHSCORES')[2]) end
end
local key = 'workers:' .. ARGV[1]
local totals = redis.call('HMGET', key .. ':totals', 'completed', 'busy_ms')
local names = redis.call('ZRANGEBYSCORE', key .. ':seen', now - ARGV[4], '+inf')
local reports = #names > 0 and redis.call('HMGET', key, unpack(names)) or {}
return {tasks, due, math.floor(oldest), unknown, redis.call('HLEN', ARGV[2]), totals[1] or 0, totals[2] or 0,
        names, reports}
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """``oldest_age`` is in seconds, None when it cannot be told; reports are those of the last ten seconds."""

    tasks: int
    due: int
    in_flight: int
    oldest_age: float | None
    completed: int
    busy_ms: int
    reports: dict[str, WorkerReport] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why there is no backlog: ``reason`` is one word for the condition."""

    reason: str
    message: str


class BacklogReader:
    """Not thread-safe: its controller's own."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def read(self, queues: Sequence[Queue]) -> dict[str, Backlog | Unreadable]:
        """By queue name. A Redis that cannot be read, or not be written by workers, is an answer too."""
        found: dict[str, Backlog | Unreadable] = {}
        for start in range(0, len(queues), CHUNK):
            chunk = queues[start : start + CHUNK]
            found.update(zip((queue.name for queue in chunk), self._read_chunk(chunk), strict=True))
        return found

    def _read_chunk(self, queues: Sequence[Queue]) -> list[Backlog | Unreadable]:
        batch: Any = self._client.pipeline(transaction=False)
        # workers move tasks as they take them: a Redis that refuses writes stops them all
        batch.set(_PROBE_KEY, 1, ex=_PROBE_SECONDS)
        for queue in queues:
            batch.eval(_READ, 0, *_arguments(queue))
        try:
            written, *answers = batch.execute(raise_on_error=False)
        except (redis.RedisError, OSError) as error:
            away = Unreadable("BrokerUnreachable", f"Redis does not answer: {error}")
            return [away] * len(queues)
        if isinstance(written, Exception):
            refused = Unreadable(
                "BrokerReadOnly", f"Redis takes no writes, so no worker can take a task: {written}"
            )
            return [refused] * len(queues)
        return [_backlog(answer) for answer in answers]


def _arguments(queue: Queue) -> list[str | int]:
    lists = [
        f"{KEY_PREFIX}{lane}{priority}"
        for lane in queue.lanes
        if not lane.endswith(".tick")
        for priority in _PRIORITIES
    ]
    deadlines = DEADLINES if Lane.INGEST in queue.lanes else ""
    stale_ms = round(STALE_SECONDS * 1000)
    return [queue.name, f"{KEY_PREFIX}unacked:{queue.name}", deadlines, stale_ms, QUEUED_AT, *lists]


def _backlog(answer: Any) -> Backlog | Unreadable:
    if isinstance(answer, Exception):
        return Unreadable("BacklogUnreadable", f"Redis cannot read this queue: {answer}")
    tasks, due, oldest_ms, unknown, in_flight, completed, busy_ms, names, reports = answer
    return Backlog(
        tasks=int(tasks),
        due=int(due),
        in_flight=int(in_flight),
        oldest_age=None if unknown else max(0.0, int(oldest_ms) / 1000),
        completed=int(completed),
        busy_ms=int(busy_ms),
        reports=dict(_sound(names, reports)),
    )


def _sound(names: list[bytes], reports: list[bytes | None]) -> list[tuple[str, WorkerReport]]:
    sound = []
    for name, text in zip(names, reports, strict=True):
        try:
            sound.append((name.decode(), WorkerReport.from_json(text or b"")))
        except ValueError:
            continue  # of another version: it counts as silent
    return sound
