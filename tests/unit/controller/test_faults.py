"""What is wrong with a queue's workers, from what Kubernetes says of their pods."""

from __future__ import annotations

from typing import Any

import pytest

from socialsync_operator.faults import Fault, deployment_fault, pods_fault

Json = dict[str, Any]
IMAGE = "registry.test/ingest:1"


def waiting(reason: str, message: str = "", **more: Any) -> Json:
    return {"image": IMAGE, "state": {"waiting": {"reason": reason, "message": message}}, **more}


def pod(*containers: Json, name: str = "ingest-1", **status: Any) -> Json:
    return {"metadata": {"name": name}, "status": {"containerStatuses": list(containers), **status}}


@pytest.mark.parametrize(
    ("container", "fault"),
    [
        (
            waiting("ImagePullBackOff", "Back-off pulling image"),
            Fault(
                "ImageNotPulled",
                "pod ingest-1 cannot get image 'registry.test/ingest:1': Back-off pulling image; check "
                "spec.worker.image, and imagePullSecrets in spec.worker.podTemplate",
            ),
        ),
        (
            waiting("CreateContainerConfigError", 'secret "socialsync" not found'),
            Fault(
                "ContainerNotCreated",
                'pod ingest-1: secret "socialsync" not found; check what spec.worker.env and envFrom name',
            ),
        ),
        (
            waiting("CrashLoopBackOff", "back-off 5m0s", lastState={"terminated": {"exitCode": 2}}),
            Fault(
                "CrashLooping",
                "pod ingest-1 keeps ending with exit code 2: see `kubectl logs ingest-1 --previous`",
            ),
        ),
        (
            waiting("CrashLoopBackOff", lastState={"terminated": {"exitCode": 0}}),
            Fault(
                "CrashLooping",
                "pod ingest-1 keeps ending with exit code 0: see `kubectl logs ingest-1 --previous`",
            ),
        ),
        (
            waiting("CrashLoopBackOff"),
            Fault("CrashLooping", "pod ingest-1 keeps ending: see `kubectl logs ingest-1 --previous`"),
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_to_look_at(container: Json, fault: Fault) -> None:
    assert pods_fault([pod(container)]) == fault


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("ErrImagePull", "ImageNotPulled"),
        ("InvalidImageName", "ImageNotPulled"),
        ("ErrImageNeverPull", "ImageNotPulled"),
        ("ImageInspectError", "ImageNotPulled"),
        ("CreateContainerError", "ContainerNotCreated"),
        ("RunContainerError", "ContainerNotCreated"),
    ],
)
def test_a_reason_without_a_message_speaks_for_itself(reason: str, word: str) -> None:
    fault = pods_fault([pod(waiting(reason))])
    assert fault is not None
    assert fault.reason == word
    assert reason in fault.message


@pytest.mark.parametrize(
    "healthy",
    [
        pod({"image": IMAGE, "state": {"running": {}}}),
        pod(waiting("ContainerCreating")),
        pod(waiting("PodInitializing")),
        pod({"image": IMAGE}),
        {"metadata": {"name": "just-made"}},
        pod(conditions=[{"type": "PodScheduled", "status": "True"}]),
    ],
)
def test_what_comes_up_or_runs_has_no_fault(healthy: Json) -> None:
    assert pods_fault([healthy]) is None


def test_a_pod_that_no_node_takes() -> None:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient cpu.",
    }
    assert pods_fault([pod(conditions=[condition])]) == Fault(
        "Unschedulable", "no node takes pod ingest-1: 0/3 nodes are available: 3 Insufficient cpu."
    )


def test_a_container_that_runs_before_the_workers_counts_too() -> None:
    stuck = pod(waiting("PodInitializing"), initContainerStatuses=[waiting("ErrImagePull", "no such image")])
    fault = pods_fault([stuck])
    assert fault is not None
    assert fault.reason == "ImageNotPulled"


def test_the_first_fault_is_told() -> None:
    pods = [
        pod(name="fine"),
        pod(waiting("ErrImagePull"), name="a"),
        pod(waiting("CrashLoopBackOff"), name="b"),
    ]
    fault = pods_fault(pods)
    assert fault is not None
    assert fault.message.startswith("pod a ")
    assert pods_fault([]) is None


def test_pods_that_could_not_be_made() -> None:
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: compute"}
    assert deployment_fault({"status": {"conditions": [refused]}}) == Fault(
        "PodsRefused", "pods cannot be made: exceeded quota: compute"
    )


@pytest.mark.parametrize(
    "deployment",
    [
        {},
        {"status": {}},
        {"status": {"conditions": [{"type": "Available", "status": "False"}]}},
        {"status": {"conditions": [{"type": "ReplicaFailure", "status": "False"}]}},
    ],
)
def test_a_deployment_without_a_fault(deployment: Json) -> None:
    assert deployment_fault(deployment) is None
