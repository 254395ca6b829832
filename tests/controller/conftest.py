"""One control plane a session, one namespace a test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from control_plane import ControlPlane, missing, running_control_plane
from kubelet import Fleet, Kubelet, create_node
from operator_process import Operator, running_operator
from socialsync_cli.embedded import EmbeddedRedis

OPERATOR = Path(__file__).parents[2] / "operator"


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """etcd, API server, controller-manager and scheduler, with the CRD installed."""
    if absent := missing():
        message = f"{', '.join(absent)} not built: run `make control-plane`"
        if os.environ.get("CI"):
            raise RuntimeError(message)
        pytest.skip(message)
    with running_control_plane() as running:
        running.install(OPERATOR / "crds" / "socialsyncqueue.yaml")
        yield running


@pytest.fixture
def namespace(plane: ControlPlane) -> str:
    name = f"test-{uuid.uuid4().hex[:8]}"
    plane.api.request(
        "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )
    return name


@pytest.fixture
def operator(
    plane: ControlPlane, namespace: str, redis_server: EmbeddedRedis, redis_client: redis.Redis
) -> Iterator[Operator]:
    """One replica, on a node that takes pods, with an empty Redis."""
    create_node(plane.api)
    with running_operator(plane, namespace, redis_server.url, "operator-a") as running:
        yield running


@pytest.fixture
def fleet(operator: Operator, redis_client: redis.Redis) -> Iterator[Fleet]:
    """Workers for the queue ``ingest``, in pods that come up."""
    fleet = Fleet(redis_client, "ingest")
    with fleet, Kubelet(operator.plane.api, operator.namespace, fleet):
        yield fleet
