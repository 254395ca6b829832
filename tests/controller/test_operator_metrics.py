"""The operator's metrics, from a controller in this process."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from control_plane import ControlPlane
from kubelet import Fleet, create_node
from operator_process import Operator
from socialsync_cli.embedded import EmbeddedRedis
from socialsync_common.election import Elector
from socialsync_common.lease import LeaseLock
from socialsync_operator.backlog import BacklogReader
from socialsync_operator.cluster import Cluster
from socialsync_operator.controller import Controller
from socialsync_operator.reconcile import Reconciler

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def reader() -> InMemoryMetricReader:
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    return reader


def points(reader: InMemoryMetricReader) -> dict[str, list[tuple[dict[str, Any], Any]]]:
    """Labels and value (or count) by metric."""
    found: dict[str, list[tuple[dict[str, Any], Any]]] = {}
    data = reader.get_metrics_data()
    assert data
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                found[metric.name] = [
                    (
                        dict(point.attributes or {}),
                        getattr(point, "value", None) or getattr(point, "count", 0),
                    )
                    for point in metric.data.data_points
                ]
    return found


def test_depth_age_decision_and_scale_are_measured(
    plane: ControlPlane,
    namespace: str,
    redis_server: EmbeddedRedis,
    redis_client: redis.Redis,
    reader: InMemoryMetricReader,
    tmp_path: Any,
) -> None:
    create_node(plane.api)
    elector = Elector(LeaseLock(plane.api, namespace, "socialsync-operator"), "test")
    cluster = Cluster(plane.api, namespace)
    reconciler = Reconciler(cluster, redis_client, {})
    controller = Controller(cluster, BacklogReader(redis_client), reconciler, elector)
    operator = Operator(plane, namespace, redis_server.url, tmp_path)
    operator.create()
    Fleet(redis_client, "ingest").send(40)
    elector.attempt()
    for _ in range(2):  # the Deployment is made, then its replicas set
        controller.wake("ingest")
        controller.step()

    found = points(reader)
    mine = {"queue": "ingest"}
    assert (mine, 40) in found["socialsync.queue.depth"]
    assert (mine, 0) in found["socialsync.queue.inflight"]
    assert found["socialsync.queue.oldest_age"]
    assert (mine, 4) in found["socialsync.operator.desired_replicas"]
    scaled = {**mine, "direction": "up", "reason": "TargetPerReplica"}
    assert (scaled, 1) in found["socialsync.operator.scale.events"]
    assert found["socialsync.operator.reconcile.duration"][0][1] >= 2
    assert operator.wanted() == 4
