"""Fencing where the ticks are written: whatever a replica believes of itself, Redis takes each tick once.

- ``beat:epoch``: raised at the beginning of each term; claims under any other epoch are refused
- ``beat:slot:{entry}:{slot}``: the epoch that claimed this slot

The slot is computed inside the claim, so that a replica can claim nothing but the present: a tick that
was missed stays missed, and one held up on its way counts for the slot in which it arrives.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import redis

from socialsync_scheduler.schedule import Entry

# ARGV: the highest epoch the caller knows of. It still rises after Redis lost its memory, or a Lease its count.
_BEGIN = """
local epoch = math.max(tonumber(redis.call('GET', 'beat:epoch') or '0'), tonumber(ARGV[1])) + 1
redis.call('SET', 'beat:epoch', epoch)
return epoch
"""

# ARGV: epoch, entry's name, period in microseconds. A claim outlives its slot by one period,
# in case Redis's clock steps back over the border.
_CLAIM = """
local time = redis.call('TIME')
local now, period = time[1] * 1000000 + time[2], tonumber(ARGV[3])
local slot, left = math.floor(now / period), period - now % period
if redis.call('GET', 'beat:epoch') ~= ARGV[1] then return {'fenced', slot, left} end
local key = string.format('beat:slot:%s:%.0f', ARGV[2], slot)
if redis.call('SET', key, ARGV[1], 'NX', 'PX', math.ceil(2 * period / 1000)) then
  return {'won', slot, left}
end
return {'taken', slot, left}
"""


class Outcome(StrEnum):
    WON = "won"  # this tick is ours to send
    TAKEN = "taken"  # this slot's tick was claimed before
    FENCED = "fenced"  # the epoch is not the store's own


@dataclass(frozen=True, slots=True)
class Claim:
    """``remaining``: seconds until the next slot begins."""

    outcome: Outcome
    slot: int
    remaining: float


class Fence:
    """Claims slots for a leader's epoch.

    Raises:
        redis.RedisError: from each method: it may be done or not; asking again is safe.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._begin = client.register_script(_BEGIN)
        self._claim = client.register_script(_CLAIM)
        self._seen = 0

    def begin(self, token: int) -> int:
        """Begin a term with an epoch of its own, above ``token`` and all before; ends every other term."""
        self._seen = int(self._begin(args=[max(token, self._seen)]))
        return self._seen

    def claim(self, entry: Entry, epoch: int) -> Claim:
        """Claim the entry's present slot."""
        outcome, slot, left = self._claim(args=[epoch, entry.name, round(entry.every * 1_000_000)])
        return Claim(Outcome(outcome), int(slot), int(left) / 1_000_000)
