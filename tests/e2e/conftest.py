"""One cluster and one release a session: ``$KUBECONFIG``'s, or a node of the tests' own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from control_plane import NODE, cache, missing

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "helm")]

from node import BASE_IMAGE, Images, running_node  # noqa: E402
from release import ROOT, Release, until  # noqa: E402
from tools import find  # noqa: E402

SERVICES = ("gateway", "ingest", "scheduler", "comments", "operator", "flower", "sandbox")
STAND_INS = ("postgres", "redis")


@pytest.fixture(scope="session")
def images() -> Images:
    """All images, built; what has not changed is in buildah's cache."""
    images = Images(cache() / "node")
    images.ensure_base(BASE_IMAGE)
    for name in STAND_INS:
        images.build(f"localhost/socialsync-{name}:1", HERE / "images" / name)
    for service in SERVICES:
        images.build(f"ghcr.io/socialsync/{service}:0.1.0", ROOT, SERVICE=service)
    return images


@pytest.fixture(scope="session")
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """Nothing installed yet."""
    values = [HERE / "values.yaml"]
    with ExitStack() as cleanup:
        if given := os.environ.get("KUBECONFIG"):
            kubeconfig = Path(given)
        else:
            if os.geteuid() != 0 or (absent := missing(NODE)):
                message = (
                    "needs root, and `make node` first"
                    if os.geteuid()
                    else f"{absent} not built: `make node`"
                )
                if os.environ.get("CI"):
                    raise RuntimeError(message)
                pytest.skip(message)
            images: Images = request.getfixturevalue("images")
            node = cleanup.enter_context(running_node())
            for name in STAND_INS:
                node.load(images, f"localhost/socialsync-{name}:1")
            for service in SERVICES:
                node.load(images, f"ghcr.io/socialsync/{service}:0.1.0")
            kubeconfig = node.kubeconfig
            node.provide_volume("1Gi", owner=999)
            stand_ins = tmp_path_factory.mktemp("values") / "stand-ins.yaml"
            stand_ins.write_text(
                json.dumps(
                    {
                        "postgresql": {
                            "image": "localhost/socialsync-postgres:1",
                            "persistence": {"storageClass": "node"},
                        },
                        "redis": {"image": "localhost/socialsync-redis:1"},
                    }
                )
            )
            values.append(stand_ins)
        release = Release(find("helm"), find("kubectl"), kubeconfig, values)
        cleanup.callback(release.close)
        release.kubectl("create", "namespace", release.namespace)
        label = "pod-security.kubernetes.io/enforce=restricted"
        release.kubectl("label", "namespace", release.namespace, label)
        release.kubectl("apply", "-f", str(HERE / "sandbox.yaml"))
        until(lambda: release.ready_pods("app=sandbox"), 120, "the sandbox is up")
        yield release
