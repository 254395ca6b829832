"""What can be wrong around a queue: a reason that one can act on, and never a scale-down."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from control_plane import ControlPlane
from kubelet import Fleet, Kubelet, create_node, waiting_status
from operator_process import Operator, running_operator, until
from socialsync_cli.embedded import EmbeddedRedis
from support import server_folder

pytestmark = pytest.mark.integration
Json = dict[str, Any]


class Waiting:
    """Pods whose container does not come up."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason, self.message = reason, message
        self.kubelet: Kubelet | None = None

    def start(self, pod: Json) -> bool:
        assert self.kubelet
        self.kubelet.set_status(pod["metadata"]["name"], waiting_status(pod, self.reason, self.message))
        return False

    def stop(self, pod: Json) -> bool:
        return True


@pytest.mark.parametrize(
    ("reason", "message", "expected", "advice"),
    [
        ("ImagePullBackOff", 'Back-off pulling image "nope"', "ImageNotPulled", "check spec.worker.image"),
        (
            "CreateContainerConfigError",
            'secret "socialsync" not found',
            "ContainerNotCreated",
            'secret "socialsync" not found',
        ),
        ("CrashLoopBackOff", "back-off 5m0s", "CrashLooping", "--previous"),
    ],
)
def test_pods_that_do_not_come_up(
    operator: Operator, reason: str, message: str, expected: str, advice: str
) -> None:
    runtime = Waiting(reason, message)
    runtime.kubelet = Kubelet(operator.plane.api, operator.namespace, runtime)
    with runtime.kubelet:
        operator.create(minReplicas=2)
        until(lambda: operator.condition("Degraded")["reason"] == expected)
        assert advice in operator.condition("Degraded")["message"]
        assert operator.condition("Ready")["reason"] == "WorkersStarting"
        (event,) = until(lambda: operator.events(expected))
        assert event["type"] == "Warning"
        assert operator.wanted() == 2


def test_pods_that_no_node_takes(operator: Operator) -> None:
    worker = {"image": "x", "resources": {"requests": {"cpu": "5000"}}}
    operator.create(minReplicas=1, worker=worker)
    until(lambda: operator.condition("Degraded")["reason"] == "Unschedulable")
    assert "Insufficient cpu" in operator.condition("Degraded")["message"]


def test_pods_that_admission_refuses(operator: Operator) -> None:
    label = '{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}'
    operator.plane.kubectl("patch", "ns", operator.namespace, "-p", label)
    operator.create(minReplicas=1, worker={"image": "x", "podTemplate": {"spec": {"hostNetwork": True}}})
    until(lambda: operator.condition("Degraded")["reason"] == "PodsRefused")
    assert "hostNetwork=true" in operator.condition("Degraded")["message"]


def test_a_pod_template_that_the_api_server_refuses(operator: Operator) -> None:
    operator.create(worker={"image": "x", "podTemplate": {"spec": {"restartPolicy": "Sometimes"}}})
    until(lambda: operator.condition("Ready")["reason"] == "DeploymentRefused")
    assert "restartPolicy" in operator.condition("Ready")["message"]


def test_a_target_that_does_not_exist_yet(operator: Operator) -> None:
    operator.create(scaleTargetRef={"name": "later"}, minReplicas=2)
    until(lambda: operator.condition("Ready")["reason"] == "TargetNotFound")
    assert "there is no Deployment later" in operator.condition("Ready")["message"]
    operator.plane.kubectl("create", "deployment", "later", "-n", operator.namespace, "--image=x")
    until(lambda: operator.wanted("later") == 2)


def test_a_deployment_of_the_same_name_that_is_someone_elses(operator: Operator) -> None:
    operator.plane.kubectl("create", "deployment", "ingest", "-n", operator.namespace, "--image=x")
    operator.create(minReplicas=3)
    until(lambda: operator.condition("Ready")["reason"] == "DeploymentNotOurs")
    assert operator.wanted() == 1
    operator.plane.kubectl("delete", "ssq", "ingest", "-n", operator.namespace, "--timeout=10s")
    assert operator.wanted() == 1


@pytest.mark.timeout(90)
def test_another_scaler_on_the_same_target(operator: Operator, fleet: Fleet) -> None:
    operator.create(minReplicas=2)
    until(lambda: operator.ready() == 2)
    operator.plane.kubectl(
        "autoscale", "-n", operator.namespace, "deployment/ingest", "--min=2", "--max=9", "--cpu-percent=50"
    )
    until(lambda: operator.condition("Ready")["reason"] == "AnotherScaler", 30)
    assert "HorizontalPodAutoscaler ingest" in operator.condition("Ready")["message"]
    fleet.mute(fleet.names[0])
    fleet.mute(fleet.names[1])
    fleet.send(100)
    until(lambda: operator.status()["depth"] == 100)
    assert operator.wanted() == 2
    operator.plane.kubectl("delete", "hpa", "ingest", "-n", operator.namespace)
    until(lambda: operator.wanted() > 2, 30)


def _stopped(server: EmbeddedRedis) -> tuple[Callable[[], Any], Callable[[], Any]]:
    return server.kill, server.start


def _refusing(server: EmbeddedRedis) -> tuple[Callable[[], Any], Callable[[], Any]]:
    def set_to(count: int) -> Callable[[], Any]:
        def change() -> None:
            with redis.Redis.from_url(server.url) as client:
                client.config_set("min-replicas-to-write", count)

        return change

    return set_to(1), set_to(0)


@pytest.mark.parametrize(
    ("fault", "reason"), [(_stopped, "BrokerUnreachable"), (_refusing, "BrokerReadOnly")]
)
def test_a_redis_that_cannot_be_used_lowers_nothing_and_then_falls_back(
    plane: ControlPlane, namespace: str, fault: Any, reason: str
) -> None:
    create_node(plane.api)
    with (
        server_folder() as folder,
        EmbeddedRedis(folder) as server,
        redis.Redis.from_url(server.url) as client,
        running_operator(plane, namespace, server.url, "operator-a") as operator,
    ):
        fleet = Fleet(client, "ingest")
        with fleet, Kubelet(plane.api, namespace, fleet):
            operator.create(
                minReplicas=1,
                behavior={"scaleDown": {"stabilizationWindowSeconds": 0}},
                fallback={"failureThreshold": 4, "replicas": 3},
            )
            until(lambda: operator.ready() == 1)
            break_it, mend_it = fault(server)
            break_it()
            until(lambda: operator.condition("MetricsAvailable")["reason"] == reason)
            until(lambda: operator.wanted() == 3)
            assert operator.status()["decision"]["reason"] == "Fallback"
            assert operator.condition("Active")["status"] == "Unknown"
            assert not operator.events("ScaledDown")
            mend_it()
            mended = time.monotonic()
            until(lambda: operator.condition("MetricsAvailable")["status"] == "True")
            until(lambda: operator.wanted() == 1)
            assert time.monotonic() - mended < 15
