"""Thin Celery tasks: names and delivery rules here, the work in the modules they call."""

from __future__ import annotations

from celery import Celery
from celery.signals import worker_init, worker_process_init

from socialsync_common.contracts import TaskName
from socialsync_ingest.delivery import deliver_conversation
from socialsync_ingest.replies import process_batch
from socialsync_ingest.runtime import runtime
from socialsync_ingest.scan import scan_batches
from socialsync_ingest.sweep import sweep


def register_tasks(app: Celery) -> None:
    """Ticks acknowledge early, so that they never count as work in flight; work acknowledges late."""

    @app.task(name=TaskName.SCAN_REDIS_BATCHES, acks_late=False, ignore_result=True)
    def scan_redis_batches_task() -> int:
        return scan_batches(runtime().batches, app)

    @app.task(name=TaskName.SWEEP, acks_late=False, ignore_result=True)
    def sweep_task() -> dict[str, int]:
        return sweep(runtime(), app)

    @app.task(name=TaskName.PROCESS_BATCH, ignore_result=True)
    def process_batch_task(name: str, token: str) -> str:
        return process_batch(runtime(), name, token)

    @app.task(name=TaskName.DELIVER, ignore_result=True)
    def deliver_task(conversation_id: str) -> int:
        return deliver_conversation(runtime(), conversation_id)


@worker_init.connect(weak=False)
@worker_process_init.connect(weak=False)
def _warm_up(**_: object) -> None:
    # connections open before the first customer waits for them
    runtime().database.check_role()
