"""What the workers of a queue say of themselves, in Redis: read by the operator, and by ``socialsync queues``.

Keys, for a queue named as its SocialSyncQueue (its Deployment's in-flight work is ``celery:unacked:{queue}``):

- ``workers:{queue}``: hash, worker → its last report (JSON of ``WorkerReport``)
- ``workers:{queue}:seen``: zset, worker → when it reported (Unix ms of Redis, so that no two clocks are compared)
- ``workers:{queue}:totals``: hash, ``completed`` tasks and ``busy_ms`` of slots, of all workers there ever were
- ``workers:{queue}:cordoned``: zset, worker → until when (Unix ms) it must take no more work

A cordon lapses by itself, so that a lost operator leaves no worker idle.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Self

import redis

REPORT_SECONDS = 1.0
STALE_SECONDS = 10.0
CORDON_SECONDS = 15.0
_FORGET_SECONDS = 60

_NOW = "local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"

# ARGV: queue, worker, report, tasks completed and busy ms since its last report, seconds until it is forgotten.
# Returns whether the worker is cordoned.
_REPORT = (
    _NOW
    + """
local key, worker = 'workers:' .. ARGV[1], ARGV[2]
redis.call('HSET', key, worker, ARGV[3])
redis.call('ZADD', key .. ':seen', now, worker)
redis.call('HINCRBY', key .. ':totals', 'completed', ARGV[4])
redis.call('HINCRBY', key .. ':totals', 'busy_ms', ARGV[5])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', key .. ':seen', '-inf', now - ARGV[6] * 1000)) do
  redis.call('HDEL', key, gone); redis.call('ZREM', key .. ':seen', gone)
end
local cordon = redis.call('ZSCORE', key .. ':cordoned', worker)
return cordon and tonumber(cordon) > now and 1 or 0
"""
)

# ARGV: queue, ms, workers. Exactly these are cordoned from now on.
_CORDON = (
    _NOW
    + """
local key = 'workers:' .. ARGV[1] .. ':cordoned'
redis.call('DEL', key)
for i = 3, #ARGV do redis.call('ZADD', key, now + ARGV[2], ARGV[i]) end
if #ARGV > 2 then redis.call('PEXPIRE', key, ARGV[2]) end
"""
)


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One worker's word. Counts are of tasks that take a slot; ticks have their own and are not in it.

    ``reserved`` includes what runs and what waits in the worker for its time. ``accepted`` counts since the
    worker started. ``oldest_seconds`` is how long the longest running task has run. ``cordoned``: it takes no more.
    """

    slots: int
    active: int
    reserved: int
    accepted: int
    oldest_seconds: int = 0
    cordoned: bool = False

    @property
    def idle(self) -> bool:
        return self.active == 0 and self.reserved == 0

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Raises ValueError on anything else than a report."""
        try:
            fields = json.loads(text)
            return cls(
                slots=int(fields["slots"]),
                active=int(fields["active"]),
                reserved=int(fields["reserved"]),
                accepted=int(fields["accepted"]),
                oldest_seconds=int(fields["oldest_seconds"]),
                cordoned=bool(fields["cordoned"]),
            )
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"no worker's report: {error!r}") from None


class WorkerRegistry:
    """The reports and cordons of one queue's workers.

    Raises:
        redis.RedisError: from each method.
    """

    def __init__(self, client: redis.Redis, queue: str) -> None:
        self._client: Any = client
        self._queue = queue
        self._report = client.register_script(_REPORT)
        self._cordon = client.register_script(_CORDON)

    def report(self, worker: str, report: WorkerReport, completed: int = 0, busy_ms: int = 0) -> bool:
        """Tell the operator; returns whether the worker is cordoned."""
        arguments: list[str | int] = [
            self._queue,
            worker,
            report.to_json(),
            completed,
            busy_ms,
            _FORGET_SECONDS,
        ]
        return bool(self._report(args=arguments))

    def leave(self, worker: str) -> None:
        """The worker ends."""
        key = f"workers:{self._queue}"
        batch = self._client.pipeline(transaction=False)
        batch.hdel(key, worker)
        batch.zrem(f"{key}:seen", worker)
        batch.execute()

    def cordon(self, workers: Iterable[str]) -> None:
        """Let exactly these take no more work, for CORDON_SECONDS unless it is said again."""
        self._cordon(args=[self._queue, round(CORDON_SECONDS * 1000), *workers])
