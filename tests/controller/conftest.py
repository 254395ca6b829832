"""One control plane a session, one namespace a test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane import ControlPlane, missing, running_control_plane

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
