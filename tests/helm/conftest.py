"""One control plane a session, without the CRD: the chart brings it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from control_plane import ControlPlane, missing, running_control_plane


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """etcd, API server, controller-manager and scheduler."""
    if absent := missing():
        message = f"{', '.join(absent)} not built: run `make control-plane`"
        if os.environ.get("CI"):
            raise RuntimeError(message)
        pytest.skip(message)
    with running_control_plane() as running:
        yield running


@pytest.fixture
def namespace(plane: ControlPlane) -> str:
    """Where only pods of the restricted kind are let in."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    plane.api.request("POST", "/api/v1/namespaces", manifest)
    return name
