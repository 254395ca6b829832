"""Thin Celery tasks: names and delivery rules here, the work in the modules they call."""

from __future__ import annotations

from uuid import UUID

from celery import Celery
from celery.signals import worker_init, worker_process_init, worker_process_shutdown, worker_shutdown

from socialsync_comments.answering.hand_over import WAIT_SECONDS, hand_over_comments
from socialsync_comments.runtime import Runtimes
from socialsync_common.contracts import TaskName
from socialsync_common.dispatch import Dispatch

POLLS_AT_MOST = 2000


def register_tasks(app: Celery) -> None:
    """Ticks acknowledge early, so that they never count as work in flight; work acknowledges late."""
    dispatch = Dispatch(app)

    def announce(posts: list[tuple[UUID, UUID]]) -> None:
        dispatch.send(
            TaskName.FETCH_NEW_COMMENTS,
            [{"tenant_id": str(tenant), "post_id": str(post)} for tenant, post in posts],
        )

    def wake() -> None:
        dispatch.send(TaskName.SWEEP_COMMENTS, [{}])

    runtime = Runtimes(announce, wake)

    @app.task(name=TaskName.POLL_POST_COMMENTS, acks_late=False, ignore_result=True)
    def poll_post_comments() -> int:
        handed_over = 0
        while count := runtime().watching.hand_over(POLLS_AT_MOST, WAIT_SECONDS):
            handed_over += count
        return handed_over

    @app.task(name=TaskName.SWEEP_COMMENTS, acks_late=False, ignore_result=True)
    def sweep_comments() -> int:
        return hand_over_comments(runtime().answering, runtime().redis, dispatch.send)

    @app.task(name=TaskName.FETCH_NEW_COMMENTS, ignore_result=True)
    def fetch_new_comments(tenant_id: str, post_id: str) -> str:
        return runtime().watching.fetch(UUID(tenant_id), UUID(post_id))

    @app.task(name=TaskName.PROCESS_COMMENT, ignore_result=True)
    def process_comment(tenant_id: str, comment_id: str) -> str:
        return runtime().answering.process(UUID(tenant_id), UUID(comment_id))

    _follow_worker(runtime)


def _follow_worker(runtime: Runtimes) -> None:
    """Open connections before the first comment waits for them; stop renewing leases at the end."""

    def warm_up(**_: object) -> None:
        runtime().database.check_role()

    def close(**_: object) -> None:
        runtime().answering.close()

    for signal in (worker_init, worker_process_init):
        signal.connect(warm_up, weak=False)
    for signal in (worker_shutdown, worker_process_shutdown):
        signal.connect(close, weak=False)
