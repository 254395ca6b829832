"""The scan: claims due conversations and fans them out. It never answers one itself."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from celery import Celery

from socialsync_common.batches import CROWDED_PRIORITY, Batches, Lease
from socialsync_common.contracts import Lane, TaskName

SLOT_SECONDS = 0.5
CLAIM_LIMIT = 200


def scan_batches(
    batches: Batches,
    app: Celery,
    slot_seconds: float = SLOT_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Claim and fan out for one slot, sleeping to each next deadline inside it; returns how many.

    The tick comes every half second, but a reply leaves when its window ends: between claims this waits for
    the next deadline or a flush, whichever is first.
    """
    ends = clock() + slot_seconds
    fanned_out = 0
    while True:
        claim = batches.claim(CLAIM_LIMIT, uuid.uuid4().hex)
        _fan_out(app, claim.leased)
        fanned_out += len(claim.leased)
        left = ends - clock()
        if left <= 0:
            return fanned_out
        if len(claim.leased) < CLAIM_LIMIT:
            batches.wait(left if claim.next_in is None else min(left, claim.next_in))


def _fan_out(app: Celery, leased: tuple[Lease, ...]) -> None:
    if not leased:
        return
    with app.producer_pool.acquire(block=True) as producer:
        for lease in leased:
            app.send_task(
                TaskName.PROCESS_BATCH,
                kwargs={"name": lease.name, "token": lease.token},
                queue=Lane.INGEST,
                priority=CROWDED_PRIORITY if lease.crowded else 0,
                producer=producer,
            )
