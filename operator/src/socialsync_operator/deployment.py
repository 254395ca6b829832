"""The Deployment of a queue's workers, as the operator wants it. Pure; ``replicas`` is never in it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from socialsync_operator.spec import Queue

Json = dict[str, Any]

QUEUE_LABEL = "socialsync.ai/queue"
CONTAINER = "worker"
HEALTH_PORT = 8081
# kept of the grace period for what a worker does after its tasks had their time
PUT_BACK_SECONDS = 15


def deployment_manifest(queue: Queue, worker: Json, telemetry: Mapping[str, str]) -> Json:
    """For server-side apply. ``telemetry``: OTEL_* settings that the workers share with the operator."""
    labels = {
        "app.kubernetes.io/name": "socialsync",
        "app.kubernetes.io/component": "worker",
        "app.kubernetes.io/managed-by": "socialsync-operator",
        QUEUE_LABEL: queue.name,
    }
    template = _merge(_pod_template(queue, worker, labels, telemetry), worker.get("podTemplate", {}))
    template["metadata"]["labels"] |= {QUEUE_LABEL: queue.name}  # the selector's
    # the workers' soft shutdown is set to fit it
    template["spec"]["terminationGracePeriodSeconds"] = worker["gracePeriodSeconds"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": queue.name,
            "namespace": queue.namespace,
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": "socialsync.ai/v1alpha1",
                    "kind": "SocialSyncQueue",
                    "name": queue.name,
                    "uid": queue.uid,
                    "controller": True,
                }
            ],
        },
        "spec": {
            "selector": {"matchLabels": {QUEUE_LABEL: queue.name}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
            "revisionHistoryLimit": 3,
            "paused": False,
            "template": template,
        },
    }


def digest(manifest: Json) -> str:
    """Tells one wanted state from another."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]


def shared_telemetry() -> dict[str, str]:
    """The operator's own exporter settings."""
    return {name: value for name, value in os.environ.items() if name.startswith("OTEL_EXPORTER_")}


def _pod_template(queue: Queue, worker: Json, labels: Json, telemetry: Mapping[str, str]) -> Json:
    return {
        "metadata": {"labels": labels, "annotations": {"kubectl.kubernetes.io/default-container": CONTAINER}},
        "spec": {
            "containers": [_container(queue, worker, telemetry)],
            "terminationGracePeriodSeconds": worker["gracePeriodSeconds"],
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": {QUEUE_LABEL: queue.name}},
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


def _container(queue: Queue, worker: Json, telemetry: Mapping[str, str]) -> Json:
    return {
        "name": CONTAINER,
        "image": worker["image"],
        "command": [
            *("celery", "-A", f"socialsync_{queue.domain}", "worker"),
            *("--queues", ",".join(queue.lanes)),
            *("--pool", worker["pool"], "--concurrency", str(worker["concurrency"])),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            *("--hostname", f"{queue.name}@%h"),
        ],
        "env": _environment(queue, worker, telemetry),
        "envFrom": worker.get("envFrom", []),
        "resources": worker.get("resources", {}),
        "ports": [{"name": "health", "containerPort": HEALTH_PORT}],
        # a pod that is not ready is the first to go, so being busy or without Redis must not make it so
        "startupProbe": _probe("/readyz", periodSeconds=2, failureThreshold=60),
        "readinessProbe": _probe("/readyz", periodSeconds=10, failureThreshold=3),
        "livenessProbe": _probe("/livez", periodSeconds=10, failureThreshold=3),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - the container's own
    }


def _environment(queue: Queue, worker: Json, telemetry: Mapping[str, str]) -> list[Json]:
    ours = {
        "SOCIALSYNC_QUEUE": queue.name,
        "HEALTH_PORT": str(HEALTH_PORT),
        # told to stop, Celery lets its tasks run for so long, and then puts them back
        "REMAP_SIGTERM": "SIGQUIT",
        "SOFT_SHUTDOWN_SECONDS": str(worker["gracePeriodSeconds"] - PUT_BACK_SECONDS),
        "OTEL_SERVICE_NAME": f"socialsync-{queue.name}",
        **telemetry,
    }
    given = [each for each in worker.get("env", []) if each["name"] not in {*ours, "POD_NAME"}]
    pod_name = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    # first, so that what is given may refer to it
    return [pod_name, *given, *({"name": name, "value": value} for name, value in ours.items())]


def _probe(path: str, **options: int) -> Json:
    return {"httpGet": {"path": path, "port": "health"}, "timeoutSeconds": 2, **options}


def _merge(base: Any, over: Any) -> Any:
    """``over`` laid on ``base``: objects by key, lists of objects by what names them, all else replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        given = {key: value for key, value in over.items() if value is not None}
        return {**base, **{key: _merge(base.get(key), value) for key, value in given.items()}}
    if _are_objects(base) and _are_objects(over):
        laid = {_key(each): each for each in over}
        kept = [_merge(each, laid.pop(_key(each))) if _key(each) in laid else each for each in base]
        return [*kept, *laid.values()]
    return over


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _key(item: Json) -> str:
    """Mounts go by their path: one volume may be mounted twice."""
    name = next((each for each in ("mountPath", "topologyKey", "name") if each in item), None)
    return f"{name}={item[name]}" if name else json.dumps(item, sort_keys=True)
