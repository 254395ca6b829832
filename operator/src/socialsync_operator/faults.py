"""What is wrong with a queue's workers, in words that one can act on. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_IMAGE = {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
_CONFIG = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
_CRASHING = "CrashLoopBackOff"
# why a container waits for something that it has failed at before, rather than for its start
NOT_STARTED = _IMAGE | _CONFIG | {_CRASHING}


@dataclass(frozen=True, slots=True)
class Fault:
    """``reason`` is one word for the condition."""

    reason: str
    message: str


def deployment_fault(deployment: Json) -> Fault | None:
    """Pods that could not even be made: a quota, or a rule of admission."""
    for condition in deployment.get("status", {}).get("conditions", ()):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return Fault("PodsRefused", f"pods cannot be made: {condition.get('message', '')}")
    return None


def pods_fault(pods: Iterable[Json]) -> Fault | None:
    """The first pod's that has one."""
    return next((fault for fault in map(_pod_fault, pods) if fault), None)


def _pod_fault(pod: Json) -> Fault | None:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        waiting = container.get("state", {}).get("waiting")
        if waiting and (fault := _waiting_fault(name, container, waiting)):
            return fault
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return Fault("Unschedulable", f"no node takes pod {name}: {condition.get('message', '')}")
    return None


def _waiting_fault(pod: str, container: Json, waiting: Json) -> Fault | None:
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _IMAGE:
        image = container.get("image", "")
        return Fault(
            "ImageNotPulled",
            f"pod {pod} cannot get image {image!r}: {message or reason}; check spec.worker.image, and imagePullSecrets "
            "in spec.worker.podTemplate",
        )
    if reason in _CONFIG:
        return Fault(
            "ContainerNotCreated",
            f"pod {pod}: {message or reason}; check what spec.worker.env and envFrom name",
        )
    if reason == _CRASHING:
        ended = container.get("lastState", {}).get("terminated", {})
        code = f" with exit code {ended['exitCode']}" if "exitCode" in ended else ""
        return Fault("CrashLooping", f"pod {pod} keeps ending{code}: see `kubectl logs {pod} --previous`")
    return None
