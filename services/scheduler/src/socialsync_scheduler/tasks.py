"""Thin Celery tasks: names and delivery rules here, the work in the modules they call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from celery import Celery
from celery.signals import (
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_shutdown,
    worker_shutting_down,
)

from socialsync_common.contracts import TaskName
from socialsync_common.dispatch import Dispatch
from socialsync_scheduler.accounts.care import care_for_account, refresh_tokens
from socialsync_scheduler.publishing import repository
from socialsync_scheduler.publishing.quota import check_quota
from socialsync_scheduler.runtime import Runtimes

Send = Callable[[TaskName, list[dict[str, str]]], None]

HAND_OVER_AT_MOST = 5000
# a tick comes again in ten seconds: it must not wait for Postgres
WAIT_SECONDS = 1.0
# when quota and token are looked at: a day before, and again when there is just time to say so
CHECKS = ((1, timedelta(hours=24)), (2, timedelta(minutes=6)))


def register_tasks(app: Celery) -> None:
    """Ticks acknowledge early, so that they never count as work in flight; work acknowledges late."""
    send = Dispatch(app).send

    def announce(targets: list[tuple[UUID, UUID]]) -> None:
        send(
            TaskName.PUBLISH_POST,
            [{"tenant_id": str(tenant), "target_id": str(target)} for tenant, target in targets],
        )

    runtime = Runtimes(announce)
    _register_ticks(app, runtime, send)
    _register_work(app, runtime)
    _follow_worker(runtime)


def _register_ticks(app: Celery, runtime: Runtimes, send: Send) -> None:
    @app.task(name=TaskName.ENQUEUE_DUE_POSTS, acks_late=False, ignore_result=True)
    def enqueue_due_posts() -> int:
        handed_over = runtime().publishing.hand_over(HAND_OVER_AT_MOST, WAIT_SECONDS)
        for stage, horizon in CHECKS:
            with runtime().database.transaction(wait_seconds=WAIT_SECONDS) as connection:
                accounts = repository.accounts_with_posts_ahead(connection, horizon, stage, HAND_OVER_AT_MOST)
            send(
                TaskName.CHECK_QUOTA,
                [{"tenant_id": str(tenant), "account_id": str(account)} for tenant, account in accounts],
            )
        return handed_over

    @app.task(name=TaskName.SWEEP_POSTS, acks_late=False, ignore_result=True)
    def sweep_posts() -> int:
        return runtime().publishing.hand_over(HAND_OVER_AT_MOST, WAIT_SECONDS)


def _register_work(app: Celery, runtime: Runtimes) -> None:
    @app.task(name=TaskName.PUBLISH_POST, ignore_result=True)
    def publish_post(tenant_id: str, target_id: str) -> str:
        return runtime().publishing.publish(UUID(tenant_id), UUID(target_id))

    @app.task(name=TaskName.CHECK_QUOTA, ignore_result=True)
    def check_quota_task(tenant_id: str, account_id: str) -> int:
        parts, now = runtime(), datetime.now(UTC)
        tenant, account = UUID(tenant_id), UUID(account_id)
        return check_quota(parts.database, parts.cipher, parts.publishers, tenant, account, now)

    @app.task(name=TaskName.REFRESH_TOKENS, ignore_result=True)
    def refresh_tokens_task() -> int:
        return refresh_tokens(runtime(), app)

    @app.task(name=TaskName.CARE_FOR_ACCOUNT, ignore_result=True)
    def care_for_account_task(tenant_id: str, account_id: str) -> str:
        return care_for_account(runtime(), UUID(tenant_id), UUID(account_id))


def _follow_worker(runtime: Runtimes) -> None:
    """Open connections before the first post waits for them; give posts back before the worker ends."""

    def warm_up(**_: object) -> None:
        runtime().database.check_role()

    def drain(**_: object) -> None:
        # this is a signal handler: what it interrupts may hold what draining needs
        threading.Thread(target=lambda: runtime().publishing.drain(), name="drain").start()

    def close(**_: object) -> None:
        runtime().publishing.close()

    for signal in (worker_init, worker_process_init):
        signal.connect(warm_up, weak=False)
    worker_shutting_down.connect(drain, weak=False)
    for signal in (worker_shutdown, worker_process_shutdown):
        signal.connect(close, weak=False)
