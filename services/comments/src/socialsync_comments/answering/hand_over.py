"""Hands comments that want a worker over to the lane."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import redis

from socialsync_comments.answering.answering import Answering
from socialsync_common.batches import CROWDED_PRIORITY
from socialsync_common.contracts import Lane, TaskName

FAIR_SHARE = 8
"""Comments of one account that go to the lane like anybody's; the others wait in its lower-priority list."""
CROWD_AT_MOST = 5000
"""Tasks in the lane beyond which nothing crowded is added: Postgres keeps the rest."""
LEASE_SECONDS = 600.0
"""How long a comment may lie in the lane before it is handed over again. Where the lane is empty, it is not there."""
WAIT_SECONDS = 1.0
"""The tick comes again soon: it must not wait for Postgres."""

_LISTS = (f"celery:{Lane.COMMENTS}", *(f"celery:{Lane.COMMENTS}\x06\x16{step}" for step in (3, 6, 9)))

Send = Callable[[TaskName, Iterable[Mapping[str, Any]], int], None]


def hand_over_comments(answering: Answering, client: redis.Redis, send: Send) -> int:
    """Claim what is due, and send a task for each; returns how many."""
    with client.pipeline(transaction=False) as pipe:
        for name in _LISTS:
            pipe.llen(name)
        depth = sum(pipe.execute())
    claimed = answering.hand_over(
        LEASE_SECONDS,
        lost=depth == 0,
        fair_share=FAIR_SHARE,
        room=max(0, CROWD_AT_MOST - depth),
        wait_seconds=WAIT_SECONDS,
    )
    for crowded, priority in ((False, 0), (True, CROWDED_PRIORITY)):
        send(
            TaskName.PROCESS_COMMENT,
            [
                {"tenant_id": str(tenant), "comment_id": str(comment)}
                for tenant, comment, is_crowded in claimed
                if is_crowded is crowded
            ],
            priority,
        )
    return len(claimed)
