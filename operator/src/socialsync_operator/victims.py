"""Which replicas may go. Kubernetes picks them when the number falls; we can only make the right ones come first.

Its order within a ReplicaSet: not scheduled, then pending before running, then *not ready* before ready, then by
``pod-deletion-cost``. So a busy worker that is not ready goes before any idle one, whatever its cost; and it may act on
the cost that was, or on the one that we write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from socialsync_common.workers import WorkerReport
from socialsync_operator.faults import NOT_STARTED

COST = "controller.kubernetes.io/pod-deletion-cost"
SAFE, CORDONED, DRAINING, IDLE, UNKNOWN, BUSY = 0, 5, 10, 20, 50, 100
_LONGEST_SECONDS = 86_400
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pod:
    """``running``: its container may have a process: its status lags behind the node. ``age_key``: creation time, as
    Kubernetes writes it."""

    name: str
    uid: str
    replica_set: str
    scheduled: bool
    phase: str
    ready: bool
    running: bool
    cost: int
    age_key: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """``removable``: how many go safely if the number falls now. ``costs``: what has to be written first."""

    removable: int
    cordon: tuple[str, ...]
    costs: dict[str, int]


def parse_pod(resource: Json) -> Pod:
    """Read a pod as the API server returns it."""
    metadata, status = resource["metadata"], resource.get("status", {})
    conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
    containers = status.get("containerStatuses", ())
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        replica_set=next((owner["uid"] for owner in metadata.get("ownerReferences", ())), ""),
        scheduled="nodeName" in resource["spec"],
        phase=status.get("phase", "Pending"),
        ready=conditions.get("Ready") == "True",
        running="nodeName" in resource["spec"] and not (containers and all(map(_has_no_process, containers))),
        cost=_integer(metadata.get("annotations", {}).get(COST)),
        age_key=metadata.get("creationTimestamp", ""),
    )


def _has_no_process(container: Json) -> bool:
    """It waits for something that it has failed at before, rather than for its start."""
    return container.get("state", {}).get("waiting", {}).get("reason", "") in NOT_STARTED


def is_there(resource: Json) -> bool:
    """Whether the pod counts as a replica: neither ended nor told to."""
    ended = resource.get("status", {}).get("phase") in ("Succeeded", "Failed")
    return not ended and "deletionTimestamp" not in resource["metadata"]


def plan_removal(pods: Sequence[Pod], reports: Mapping[str, WorkerReport], excess: int) -> Plan:
    """Prepare for ``excess`` fewer replicas: cordon those that are to go, and count those that may go now."""
    if len({pod.replica_set for pod in pods}) > 1:
        return Plan(0, (), {})  # a rollout: each ReplicaSet gives up its share, whatever the costs
    chosen = {pod.name for pod in sorted(pods, key=lambda pod: _preference(pod, reports))[:excess]}
    cordon = tuple(sorted(pod.name for pod in pods if pod.name in chosen and pod.running))
    costs = {pod.name: _cost(pod, reports.get(pod.name), pod.name in chosen) for pod in pods}
    removable = 0
    for pod in sorted(pods, key=lambda pod: _worst_order(pod, costs[pod.name], _is_safe(pod, reports))):
        if removable == excess or not _is_safe(pod, reports):
            break
        removable += 1
    return Plan(removable, cordon, {pod.name: costs[pod.name] for pod in pods if pod.cost != costs[pod.name]})


def _worst_order(pod: Pod, cost: int, safe: bool) -> tuple[bool, int, bool, int, bool]:
    """Kubernetes may know of the cost that was, or of the one that we write now; and ties go as it likes."""
    known = max(pod.cost, cost) if safe else min(pod.cost, cost)
    return (*_order(pod), known, safe)


def _order(pod: Pod) -> tuple[bool, int, bool]:
    """Kubernetes' own, before the cost."""
    return pod.scheduled, _PHASES.get(pod.phase, 1), pod.ready


def _preference(pod: Pod, reports: Mapping[str, WorkerReport]) -> tuple[Any, ...]:
    """Who is to go: first whom Kubernetes would take anyway, then who is cordoned, then who has least to lose."""
    report = reports.get(pod.name)
    cordoned = report is not None and report.cordoned
    newest_first = tuple(-ord(letter) for letter in pod.age_key)
    return (*_order(pod), not cordoned, _cost(pod, report, chosen=False), newest_first, pod.name)


def _cost(pod: Pod, report: WorkerReport | None, chosen: bool) -> int:
    if not pod.running:
        return SAFE
    if report is None:
        return UNKNOWN
    if report.idle and chosen:
        return SAFE if report.cordoned else CORDONED
    if report.idle:
        return IDLE
    if chosen:
        return DRAINING
    # by orders of magnitude: not rewritten each second
    return BUSY + min(report.oldest_seconds, _LONGEST_SECONDS).bit_length()


def _is_safe(pod: Pod, reports: Mapping[str, WorkerReport]) -> bool:
    """Nothing runs in it and nothing can come: it has no process, or it has confirmed its cordon."""
    report = reports.get(pod.name)
    return not pod.running or (report is not None and report.idle and report.cordoned)


def _integer(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError:
        return 0
