"""Whether an account may publish one more post at a time: any 24 hours hold at most its quota. Pure."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from socialsync_gateway.posts.limits import DEFAULT_QUOTA, QUOTA_PERIOD

LOOK_AHEAD = timedelta(days=7)  # how far a later time with room is looked for


@dataclass(frozen=True, slots=True)
class OwnPost:
    """A post of ours: when it is due, or when it went out."""

    account_id: UUID
    at: datetime
    is_published: bool


def room_from(
    at: datetime,
    posts: Iterable[OwnPost],
    *,
    used: int | None,
    total: int | None,
    read_at: datetime | None,
) -> datetime | None:
    """The first moment from ``at`` on at which one more post fits; None where there is none for ``LOOK_AHEAD``.

    ``posts`` are the account's, from 48 hours before ``at`` to 24 hours after the end of ``LOOK_AHEAD``. ``used`` are
    the posts that Meta counted in the 24 hours up to ``read_at``, those that were made elsewhere among them.
    """
    limit = DEFAULT_QUOTA if total is None else total
    if limit <= 0:
        return None
    times = sorted(post.at for post in posts)
    if used is not None and read_at is not None:
        published = sum(post.is_published and read_at - QUOTA_PERIOD < post.at <= read_at for post in posts)
        # nobody knows when in those hours the others were made: they count until the last of them is surely out
        for _ in range(used - published):
            insort(times, read_at)
    moment = at
    while moment <= at + LOOK_AHEAD:
        full = _full_hours(moment, times, limit)
        if full is None:
            return moment
        moment = full + QUOTA_PERIOD
    return None


def _full_hours(moment: datetime, times: list[datetime], limit: int) -> datetime | None:
    """When 24 hours begin that hold ``moment`` and are full without it: the last such time, or None."""
    first = bisect_right(times, moment - QUOTA_PERIOD)
    past = bisect_right(times, moment + QUOTA_PERIOD)
    found: datetime | None = None
    # full hours are those from one post to the one that comes `limit - 1` posts later
    for index in range(first, past - limit + 1):
        begin, end = times[index], times[index + limit - 1]
        if max(end, moment) - min(begin, moment) < QUOTA_PERIOD:
            found = begin
    return found
