"""The operator as real processes against a test's control plane and Redis."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from control_plane import ControlPlane
from socialsync_cli.processes import spawn, stop

OPERATOR = Path(__file__).parents[1] / "operator"
Json = dict[str, Any]


@dataclass
class Replica:
    """One operator process."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def events(self, name: str) -> list[Json]:
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line["event"] == name]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        return stop(self.process, (signal.SIGTERM, 15))

    @property
    def rss_mib(self) -> float:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20

    @property
    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Operator:
    """Replicas in one namespace, with the Role that the project ships."""

    plane: ControlPlane
    namespace: str
    redis_url: str
    folder: Path
    replicas: list[Replica] = field(default_factory=list)

    def start(
        self, name: str = "operator-a", *, server: str | None = None, redis_url: str | None = None
    ) -> Replica:
        kubeconfig = self.plane.service_account_kubeconfig(self.namespace, "socialsync-operator", server)
        environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "CELERY_BROKER_URL": redis_url or self.redis_url,
            "POD_NAME": name,
            "POD_NAMESPACE": self.namespace,
        }
        log = self.folder / f"{name}-{len(self.replicas)}.log"
        with log.open("wb") as output:
            process = spawn([sys.executable, "-m", "socialsync_operator"], output=output, env=environment)
        replica = Replica(name, process, log)
        self.replicas.append(replica)
        return replica

    def leader(self) -> Replica | None:
        """The one that holds the Lease."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/socialsync-operator"
        holder = str(self.plane.api.get(path)["spec"]["holderIdentity"])
        return next((each for each in self.replicas if holder == f"{each.name}:{each.process.pid}"), None)

    # --- the cluster, as the administrator sees it

    def create(self, name: str = "ingest", **spec: Any) -> None:
        lanes = spec.pop("queues", [{"name": name}])
        if "scaleTargetRef" not in spec:
            spec = {"worker": {"image": "socialsync-ingest", "concurrency": 4}, **spec}
        resource = {
            "apiVersion": "socialsync.ai/v1alpha1",
            "kind": "SocialSyncQueue",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"queues": lanes, "minReplicas": 0, "maxReplicas": 20, **spec},
        }
        path = f"/apis/socialsync.ai/v1alpha1/namespaces/{self.namespace}/socialsyncqueues"
        self.plane.api.request("POST", path, resource)

    def queue(self, name: str = "ingest") -> Json:
        path = f"/apis/socialsync.ai/v1alpha1/namespaces/{self.namespace}/socialsyncqueues/{name}"
        return self.plane.api.get(path)

    def patch(self, name: str = "ingest", **spec: Any) -> None:
        path = f"/apis/socialsync.ai/v1alpha1/namespaces/{self.namespace}/socialsyncqueues/{name}"
        body = {"spec": spec}
        self.plane.api.request("PATCH", path, body, content_type="application/merge-patch+json")

    def status(self, name: str = "ingest") -> Json:
        status: Json = self.queue(name).get("status", {})
        return status

    def condition(self, kind: str, name: str = "ingest") -> Json:
        found = (each for each in self.status(name).get("conditions", ()) if each["type"] == kind)
        return next(found, {"status": None, "reason": None, "message": ""})

    def deployment(self, name: str = "ingest") -> Json:
        return self.plane.api.get(f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}")

    def wanted(self, name: str = "ingest") -> int:
        return int(self.deployment(name)["spec"]["replicas"])

    def ready(self, name: str = "ingest") -> int:
        return int(self.deployment(name).get("status", {}).get("readyReplicas", 0))

    def pods(self) -> list[Json]:
        return list(self.plane.api.get(f"/api/v1/namespaces/{self.namespace}/pods")["items"])

    def events(self, reason: str) -> list[Json]:
        found = self.plane.api.get(f"/api/v1/namespaces/{self.namespace}/events")["items"]
        return [each for each in found if each["reason"] == reason]


@contextmanager
def running_operator(plane: ControlPlane, namespace: str, redis_url: str, *names: str) -> Iterator[Operator]:
    """With its Role; ``names`` of the replicas to start."""
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="operator-")))
        for document in yaml.safe_load_all((OPERATOR / "rbac.yaml").read_text()):
            if document["kind"] == "RoleBinding":
                document["subjects"][0]["namespace"] = namespace
            plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(document))
        operator = Operator(plane, namespace, redis_url, folder)
        cleanup.callback(lambda: [replica.stop() for replica in operator.replicas])
        for name in names:
            operator.start(name)
        yield operator
        for replica in operator.replicas:
            assert "Traceback" not in replica.log.read_text(), replica.log.read_text()[-4000:]


def until(condition: Any, seconds: float = 20.0) -> Any:
    """Wait until ``condition`` is true and return it; what is not there yet counts as not true."""
    from socialsync_common.kubernetes_api import ApiError, ApiUnavailable

    deadline, last = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            last = condition()
        except (ApiError, ApiUnavailable) as error:
            last = error
        else:
            if last:
                return last
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s; last seen: {last!r}")
