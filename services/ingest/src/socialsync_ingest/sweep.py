"""The sweep: finds in Postgres what Redis or a dead worker forgot. Safe to run at any time, by anyone."""

from __future__ import annotations

from uuid import UUID

import structlog
from celery import Celery

from socialsync_common import outbox
from socialsync_common.batches import ConversationName
from socialsync_common.contracts import Lane, Platform, TaskName
from socialsync_ingest import repository
from socialsync_ingest.runtime import Runtime

log = structlog.get_logger()

# a message this young still has its batch on the way, unless Redis was away: the next sweep finds it then
UNANSWERED_SECONDS = 3.0
PAGE = 1000
SENDS = 1000
_FIRST = UUID(int=0)
# the sweep shares its slot with the scan, and comes again in ten seconds: it must not wait for Postgres
WAIT_SECONDS = 1.0


def sweep(runtime: Runtime, app: Celery) -> dict[str, int]:
    """Make forgotten conversations due and settle abandoned sends; returns counts for the log."""
    counts = {"due": _sweep_conversations(runtime), **_sweep_sends(runtime, app)}
    if any(counts.values()):
        log.info("swept", **counts)
    return counts


def _sweep_conversations(runtime: Runtime) -> int:
    due, after = 0, _FIRST
    while True:
        with runtime.database.transaction(wait_seconds=WAIT_SECONDS) as connection:
            rows = repository.unanswered(connection, UNANSWERED_SECONDS, after, PAGE)
        names = [
            str(ConversationName(Platform(row["platform"]), row["account_id"], row["contact_id"]))
            for row in rows
        ]
        due += runtime.batches.ensure(names)
        if len(rows) < PAGE:
            return due
        after = rows[-1]["contact_id"]


def _sweep_sends(runtime: Runtime, app: Celery) -> dict[str, int]:
    counts = {"resumed": 0, "unknown": 0, "to_person": 0}
    with runtime.database.transaction(wait_seconds=WAIT_SECONDS) as connection:
        rows = repository.open_sends(connection, SENDS)
    for row in rows:
        with runtime.database.transaction(wait_seconds=WAIT_SECONDS) as connection:
            tenant = repository.tenant_of_send(connection, row["send_id"])
        if tenant is None:
            continue
        with runtime.database.transaction(tenant, wait_seconds=WAIT_SECONDS) as connection:
            if row["status"] == "sending":
                counts["unknown"] += outbox.expire_lease(connection, row["send_id"])
                continue
            if row["status"] == "unknown":
                counts["to_person"] += outbox.give_to_person(connection, row["send_id"])
                continue
            conversation = repository.conversation_of_send(connection, row["send_id"])
        if conversation is not None:
            app.send_task(TaskName.DELIVER, kwargs={"conversation_id": str(conversation)}, queue=Lane.INGEST)
            counts["resumed"] += 1
    return counts
