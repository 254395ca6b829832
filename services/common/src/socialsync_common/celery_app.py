"""The Celery application that every service builds from: names, limits and delivery rules in one place."""

from __future__ import annotations

import time
from typing import Any

from celery import Celery
from celery.signals import before_task_publish
from kombu import Queue

from socialsync_common.contracts import LANE_OF_TASK, Lane
from socialsync_common.settings import BrokerSettings, WorkerSettings, load

TASK_TIME_LIMIT = 1800
TASK_SOFT_TIME_LIMIT = 1700
KEY_PREFIX = "celery:"
QUEUED_AT = "queued_at"  # header: Unix ms at which a task was sent


def create_celery(service: str, broker: BrokerSettings) -> Celery:
    """A Celery app for ``service``.

    In-flight work of a Deployment's workers is ``HLEN celery:unacked:{queue}``; the queue is that of
    ``SOCIALSYNC_QUEUE``, or named as the service.
    """
    worker = load(WorkerSettings)
    app = Celery(f"socialsync_{service}", set_as_current=False)
    app.conf.update(
        broker_url=broker.celery_broker_url.get_secret_value(),
        result_backend=broker.celery_result_backend.get_secret_value()
        if broker.celery_result_backend
        else None,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=_transport_options(worker.socialsync_queue or service),
        result_expires=3600,
        task_ignore_result=broker.celery_result_backend is None,
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        enable_utc=True,
        timezone="UTC",
        task_queues=[Queue(lane) for lane in Lane],
        task_default_queue=Lane.INGEST,
        task_create_missing_queues=False,
        task_routes={name: {"queue": lane} for name, lane in LANE_OF_TASK.items()},
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_time_limit=TASK_TIME_LIMIT,
        task_soft_time_limit=TASK_SOFT_TIME_LIMIT,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_max_tasks_per_child=200,
        worker_soft_shutdown_timeout=worker.soft_shutdown_seconds,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=True,
        worker_send_task_events=False,
        task_store_errors_even_if_ignored=False,
    )
    return app


@before_task_publish.connect(weak=False)
def _stamp(headers: dict[str, Any], **_: Any) -> None:
    # how long the oldest task waits is what the operator scales on
    headers[QUEUED_AT] = round(time.time() * 1000)


def _transport_options(queue: str) -> dict[str, Any]:
    return {
        "global_keyprefix": KEY_PREFIX,
        "queue_order_strategy": "priority",
        # above the hard limit plus grace: kombu must not hand a running task out twice
        "visibility_timeout": TASK_TIME_LIMIT + 300,
        "unacked_key": f"unacked:{queue}",
        "unacked_index_key": f"unacked_index:{queue}",
        "unacked_mutex_key": f"unacked_mutex:{queue}",
        # after a lost connection the control channel may read a silent socket until this runs out, and the
        # worker fetches nothing meanwhile; above kombu's blocking pop, which returns every second
        "socket_timeout": 5,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 15,
    }
