"""The operator's metrics. Without a configured SDK these are no-ops. Labels: queues, directions and reasons only."""

from __future__ import annotations

from opentelemetry import metrics

_meter = metrics.get_meter("socialsync.operator")

DESIRED = _meter.create_gauge(
    "socialsync.operator.desired_replicas", unit="{replica}", description="Replicas that a queue needs."
)
DEPTH = _meter.create_gauge(
    "socialsync.queue.depth", unit="{task}", description="Waiting tasks and due conversations."
)
IN_FLIGHT = _meter.create_gauge(
    "socialsync.queue.inflight", unit="{task}", description="Tasks that workers hold."
)
OLDEST_AGE = _meter.create_gauge(
    "socialsync.queue.oldest_age", unit="s", description="How long the oldest task waits."
)
TURN = _meter.create_histogram(
    "socialsync.operator.reconcile.duration", unit="s", description="One pass over all queues that are due."
)
SCALES = _meter.create_counter(
    "socialsync.operator.scale.events",
    unit="{event}",
    description="Changes of replicas, by direction and reason.",
)
RESTARTS = _meter.create_counter(
    "socialsync.operator.worker.restarts",
    unit="{restart}",
    description="Workers restarted for no longer consuming.",
)
