"""Open conversations in Redis: who is due for a reply, and who is working on it.

Redis only remembers *when*; Postgres knows *what*. All of it may vanish at any time: the sweep rebuilds it.

Keys, for a conversation named ``platform:account_id:contact_id``:

- ``conv:{name}:msgs``: list of the message ids that wait (the hot part of a burst)
- ``conv:deadlines``: zset, name → when its window ends (Unix ms)
- ``conv:{name}:opened``: when the burst began, so that the cap holds however long someone types
- ``conv:leases``: zset, name → when its lease runs out; ``conv:{name}:lease``: hash of the lease's facts
- ``conv:busy``: hash, account id → its leases, so that one account's flood does not stand before the others
- ``conv:wake``: channel; a message wakes the scan at once

A lease is *queued* from claim to start, and *started* while a worker renews it. One conversation has one lease
at most, so two replies to one contact never run side by side.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import redis

from socialsync_common.contracts import Lane, Platform
from socialsync_common.settings import BatchSettings

DEADLINES = "conv:deadlines"
LEASES = "conv:leases"
WAKE = "conv:wake"
LANE_KEY = f"celery:{Lane.INGEST}"
# kombu keeps a list for each priority; workers empty the plain one, priority 0, first
CROWDED_PRIORITY = 9
CROWDED_LANE_KEY = f"{LANE_KEY}\x06\x16{CROWDED_PRIORITY}"
FAIR_SHARE = 8

QUEUED_LEASE_SECONDS = 10
STARTED_LEASE_SECONDS = 15
QUEUED_LIMIT_SECONDS = 600

_NOW = "local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"

# The deadline moves with each message, up to the cap; at the count it is now. ARGV: window, cap, count, then
# name and message id pairs.
ADD_SCRIPT = (
    _NOW
    + """
local window, cap, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local added, flushed = 0, false
for i = 4, #ARGV, 2 do
  local name, id = ARGV[i], ARGV[i + 1]
  local msgs, opening = 'conv:' .. name .. ':msgs', 'conv:' .. name .. ':opened'
  if not redis.call('LPOS', msgs, id) then
    local count = redis.call('RPUSH', msgs, id)
    local opened = redis.call('GET', opening)
    if count == 1 or not opened then
      opened = now
      redis.call('SET', opening, now)
    end
    local deadline = math.min(now + window, opened + cap)
    if count >= most then deadline = now; flushed = true end
    redis.call('ZADD', 'conv:deadlines', deadline, name)
    added = added + 1
  end
end
if flushed then redis.call('PUBLISH', 'conv:wake', '1') end
return added
"""
)

# Known already, waiting or leased: nothing to do. Otherwise due at once: its window is long over.
ENSURE_SCRIPT = (
    _NOW
    + """
local added = 0
for i = 1, #ARGV do
  local name = ARGV[i]
  if not redis.call('ZSCORE', 'conv:deadlines', name) and not redis.call('ZSCORE', 'conv:leases', name) then
    redis.call('ZADD', 'conv:deadlines', now, name)
    added = added + 1
  end
end
if added > 0 then redis.call('PUBLISH', 'conv:wake', '1') end
return added
"""
)

# ARGV: limit, queued lease ms, queued limit ms, token prefix, the work lane's lists.
# Returns name, token, leases of its account; and last the next deadline (or '') and the time.
_CLAIM = (
    _NOW
    + """
local limit, lease_ms, limit_ms, prefix = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local out, claimed = {}, 0
local function lease(name, taken)
  claimed = claimed + 1
  local busy = redis.call('HINCRBY', 'conv:busy', string.match(name, ':(.-):'), taken and 0 or 1)
  local token = prefix .. ':' .. claimed
  redis.call('DEL', 'conv:' .. name .. ':msgs', 'conv:' .. name .. ':opened')
  redis.call('DEL', 'conv:' .. name .. ':lease')
  redis.call('HSET', 'conv:' .. name .. ':lease', 'token', token, 'claimed', now)
  redis.call('ZADD', 'conv:leases', now + lease_ms, name)
  out[#out + 1] = name; out[#out + 1] = token; out[#out + 1] = busy
end
local waiting = nil
for _, name in ipairs(redis.call('ZRANGEBYSCORE', 'conv:leases', '-inf', now, 'LIMIT', 0, limit)) do
  local facts = redis.call('HMGET', 'conv:' .. name .. ':lease', 'started', 'claimed')
  local lost = true
  if not facts[1] and facts[2] and now - tonumber(facts[2]) < limit_ms then
    -- never started: while work waits in the lane, this batch may be among it
    if waiting == nil then waiting = redis.call('LLEN', ARGV[5]) + redis.call('LLEN', ARGV[6]) > 0 end
    lost = not waiting
  end
  if lost then
    redis.call('ZREM', 'conv:deadlines', name)
    lease(name, true)
  else
    redis.call('ZADD', 'conv:leases', now + lease_ms, name)
  end
end
if claimed < limit then
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', 'conv:deadlines', '-inf', now, 'LIMIT', 0, limit - claimed)) do
    redis.call('ZREM', 'conv:deadlines', name)
    if redis.call('ZSCORE', 'conv:leases', name) then
      redis.call('HSET', 'conv:' .. name .. ':lease', 'again', '1')
    else
      lease(name, false)
    end
  end
end
local nxt = redis.call('ZRANGE', 'conv:deadlines', 0, 0, 'WITHSCORES')
out[#out + 1] = nxt[2] or ''
out[#out + 1] = tostring(now)
return out
"""
)

_START = (
    _NOW
    + """
local key = 'conv:' .. ARGV[1] .. ':lease'
if redis.call('HGET', key, 'token') ~= ARGV[2] then return 0 end
if redis.call('HSETNX', key, 'started', now) == 0 then return 0 end
redis.call('ZADD', 'conv:leases', now + ARGV[3], ARGV[1])
return 1
"""
)

_RENEW = (
    _NOW
    + """
local kept = 0
for i = 2, #ARGV, 2 do
  if redis.call('HGET', 'conv:' .. ARGV[i] .. ':lease', 'token') == ARGV[i + 1] then
    redis.call('ZADD', 'conv:leases', now + ARGV[1], ARGV[i]); kept = kept + 1
  end
end
return kept
"""
)

# Give the lease back. `delay` >= 0 or a window that ended meanwhile makes the conversation due again.
_FINISH = (
    _NOW
    + """
local name, token, delay = ARGV[1], ARGV[2], tonumber(ARGV[3])
local key = 'conv:' .. name .. ':lease'
local facts = redis.call('HMGET', key, 'token', 'again')
if facts[1] ~= token then return 0 end
redis.call('DEL', key); redis.call('ZREM', 'conv:leases', name)
local account = string.match(name, ':(.-):')
if redis.call('HINCRBY', 'conv:busy', account, -1) <= 0 then redis.call('HDEL', 'conv:busy', account) end
if delay < 0 and facts[2] then delay = 0 end
if delay >= 0 then
  -- a window that is open already is waited for
  redis.call('ZADD', 'conv:deadlines', 'NX', now + delay, name)
  if delay == 0 then redis.call('PUBLISH', 'conv:wake', '1') end
end
return 1
"""
)


@dataclass(frozen=True, slots=True)
class ConversationName:
    """What Redis calls a conversation: internal ids only, never a phone number."""

    platform: Platform
    account_id: UUID
    contact_id: UUID

    def __str__(self) -> str:
        return f"{self.platform}:{self.account_id}:{self.contact_id}"

    @classmethod
    def parse(cls, text: str) -> ConversationName:
        platform, account_id, contact_id = text.split(":")
        return cls(Platform(platform), UUID(account_id), UUID(contact_id))


@dataclass(frozen=True, slots=True)
class Lease:
    """A claimed conversation. ``crowded``: its account has more than its fair share of leases already."""

    name: str
    token: str
    crowded: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """Batches claimed in one call, and the seconds until the next deadline."""

    leased: tuple[Lease, ...]
    next_in: float | None


class Batches:
    """The workers' side: claim, start, renew, finish."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._claim = client.register_script(_CLAIM)
        self._start = client.register_script(_START)
        self._renew = client.register_script(_RENEW)
        self._finish = client.register_script(_FINISH)
        self._ensure = client.register_script(ENSURE_SCRIPT)
        self._wake: redis.client.PubSub | None = None

    def claim(self, limit: int, token_prefix: str) -> Claim:
        """Lease up to ``limit`` conversations: first those whose lease ran out, then those that are due."""
        args: list[Any] = [
            limit,
            QUEUED_LEASE_SECONDS * 1000,
            QUEUED_LIMIT_SECONDS * 1000,
            token_prefix,
            LANE_KEY,
            CROWDED_LANE_KEY,
        ]
        *flat, deadline, now = [
            part.decode() if isinstance(part, bytes) else part for part in self._claim(args=args)
        ]
        next_in = max(0.0, (float(deadline) - float(now)) / 1000) if deadline else None
        rows = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        return Claim(tuple(Lease(name, token, int(busy) > FAIR_SHARE) for name, token, busy in rows), next_in)

    def start(self, name: str, token: str) -> bool:
        """Take up a claimed batch. False: the lease is another's by now, or this task runs a second time."""
        return bool(self._start(args=[name, token, STARTED_LEASE_SECONDS * 1000]))

    def renew(self, held: Iterable[tuple[str, str]]) -> int:
        """Extend started leases; returns how many are still ours."""
        flat = [part for pair in held for part in pair]
        return int(self._renew(args=[STARTED_LEASE_SECONDS * 1000, *flat])) if flat else 0

    def finish(self, name: str, token: str, again_in: float | None = None) -> None:
        """Give a lease back; ``again_in`` seconds makes the conversation due again then,
        unless a window of it is open."""
        self._finish(args=[name, token, -1 if again_in is None else int(again_in * 1000)])

    def ensure(self, names: Iterable[str]) -> int:
        """Make conversations due that Redis does not know about; returns how many."""
        listed = list(names)
        return int(self._ensure(args=listed)) if listed else 0

    def wait(self, seconds: float) -> None:
        """Sleep until a batch is flushed, or ``seconds`` have passed; one thread at a time.

        A subscription rather than a blocking pop: the time is kept here, to the millisecond, where the server
        looks at its time-outs ten times a second.
        """
        if self._wake is None:
            self._wake = self._redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
            self._wake.subscribe(WAKE)
        self._wake.get_message(timeout=seconds)


def add_arguments(settings: BatchSettings, waiting: Iterable[tuple[str, int]]) -> list[Any]:
    """Arguments of ``ADD_SCRIPT`` for (conversation name, message id) pairs, for a client of any kind."""
    window = int(settings.batch_window_seconds * 1000)
    arguments: list[Any] = [window, int(settings.batch_cap_seconds * 1000), settings.batch_max_messages]
    for name, message_id in waiting:
        arguments += (name, message_id)
    return arguments
