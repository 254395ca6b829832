"""Where Beat's replicas elect one outside a cluster: the key ``beat:leader`` in Redis, which lapses by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis

from socialsync_common.election import Timing
from socialsync_common.errors import TransientError

_LOCK_MS = 3000

# ARGV: identity, lock ms. A lock that is ours already was won by a call whose answer was lost.
# Returns whether it is won, and the fence's epoch.
_ACQUIRE = """
local holder = redis.call('GET', 'beat:leader')
local epoch = tonumber(redis.call('GET', 'beat:epoch') or '0')
if holder and holder ~= ARGV[1] then return {0, epoch} end
redis.call('SET', 'beat:leader', ARGV[1], 'PX', ARGV[2])
return {1, epoch}
"""

_RENEW = """
if redis.call('GET', 'beat:leader') ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', 'beat:leader', ARGV[2])
"""

_RELEASE = "if redis.call('GET', 'beat:leader') == ARGV[1] then return redis.call('DEL', 'beat:leader') end"


class RedisLock:
    """Its token is the highest epoch it ever saw, so that epochs go on rising after Redis lost its memory."""

    timing = Timing(term=2.5, renew=0.8, retry=0.25)

    def __init__(self, client: redis.Redis) -> None:
        self._acquire = client.register_script(_ACQUIRE)
        self._renew = client.register_script(_RENEW)
        self._release = client.register_script(_RELEASE)
        self._seen = 0

    def acquire(self, identity: str) -> int | None:
        won, epoch = _ask(self._acquire, identity, _LOCK_MS)
        self._seen = max(self._seen, int(epoch))
        return self._seen if won else None

    def renew(self, identity: str) -> bool:
        return bool(_ask(self._renew, identity, _LOCK_MS))

    def release(self, identity: str) -> None:
        _ask(self._release, identity)


def _ask(script: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return script(args=arguments)
    except (redis.RedisError, OSError) as error:
        raise TransientError(f"Redis: {type(error).__name__}: {error}") from None
