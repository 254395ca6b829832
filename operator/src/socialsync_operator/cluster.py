"""The operator's requests to the Kubernetes API, in one namespace. Objects are plain JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from socialsync_common.kubernetes_api import APPLY_PATCH, MERGE_PATCH, ApiError, Json, KubernetesApi
from socialsync_operator.spec import Queue
from socialsync_operator.victims import COST

FIELD_MANAGER = "socialsync-operator"
FINALIZER = "socialsync.ai/drain"


class Cluster:
    """Thread-safe.

    Raises:
        ApiError: from each method: refused.
        ApiUnavailable: from each method: not answered.
    """

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self._api = api
        self._queues = f"/apis/socialsync.ai/v1alpha1/namespaces/{namespace}/socialsyncqueues"
        self._deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._events = f"/api/v1/namespaces/{namespace}/events"
        self._autoscalers = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"

    def queues(self) -> list[Json]:
        return list(self._api.get(self._queues)["items"])

    def deployments(self) -> dict[str, Json]:
        """By name."""
        found = self._api.get(self._deployments)["items"]
        return {each["metadata"]["name"]: each for each in found}

    def autoscalers(self) -> dict[str, str]:
        """HorizontalPodAutoscalers by the Deployment that they scale; KEDA makes them too."""
        targets = {}
        for each in self._api.get(self._autoscalers)["items"]:
            target = each["spec"]["scaleTargetRef"]
            if target["kind"] == "Deployment":
                targets[target["name"]] = each["metadata"]["name"]
        return targets

    def pods(self, deployment: Json) -> list[Json]:
        """Those that its selector takes in."""
        selector = deployment["spec"]["selector"]
        terms = [f"{key}={value}" for key, value in selector.get("matchLabels", {}).items()]
        terms += [
            _expression(each["key"], each["operator"], each.get("values", ()))
            for each in selector.get("matchExpressions", ())
        ]
        return list(self._api.get(self._pods, labelSelector=",".join(terms))["items"])

    def _patch(self, path: str, patch: Json) -> None:
        self._api.request(
            "PATCH", path, patch, query={"fieldManager": FIELD_MANAGER}, content_type=MERGE_PATCH
        )

    def apply_deployment(self, manifest: Json) -> Json:
        """Server-side apply: what is ours is put right, what is others' stays."""
        return self._api.request(
            "PATCH",
            f"{self._deployments}/{manifest['metadata']['name']}",
            manifest,
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            content_type=APPLY_PATCH,
        )

    def delete_deployment(self, name: str) -> None:
        self._api.request("DELETE", f"{self._deployments}/{name}", {"propagationPolicy": "Background"})

    def scale(self, name: str, current: int, replicas: int) -> bool:
        """Set the replicas, if they are still ``current`` and nothing changed meanwhile; False otherwise."""
        path = f"{self._deployments}/{name}/scale"
        found = self._api.get(path)
        if int(found["spec"].get("replicas", 0)) != current:
            return False
        patch = {
            "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
            "spec": {"replicas": replicas},
        }
        try:
            self._patch(path, patch)
        except ApiError as error:
            if error.conflict:
                return False
            raise
        return True

    def set_deletion_cost(self, pod: str, cost: int) -> None:
        """A pod that is gone needs none."""
        patch = {"metadata": {"annotations": {COST: str(cost)}}}
        try:
            self._patch(f"{self._pods}/{pod}", patch)
        except ApiError as error:
            if not error.not_found:
                raise

    def delete_pod(self, pod: str, uid: str) -> None:
        """In order, with its grace period; another pod of that name stays."""
        try:
            self._api.request("DELETE", f"{self._pods}/{pod}", {"preconditions": {"uid": uid}})
        except ApiError as error:
            if not (error.not_found or error.conflict):
                raise

    def patch_status(self, queue: Queue, status: Json) -> None:
        self._patch(f"{self._queues}/{queue.name}/status", {"status": status})

    def set_finalizers(self, queue: Queue, resource_version: str, finalizers: list[str]) -> None:
        patch: Json = {"metadata": {"resourceVersion": resource_version, "finalizers": finalizers}}
        self._patch(f"{self._queues}/{queue.name}", patch)

    def record(self, queue: Queue, kind: str, reason: str, message: str) -> None:
        """An Event on the queue; ``kind`` is Normal or Warning."""
        now = datetime.now(UTC)
        stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        event: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{queue.name}.{now.timestamp():.6f}".replace(".", "-"),
                "namespace": queue.namespace,
            },
            "involvedObject": {
                "apiVersion": "socialsync.ai/v1alpha1",
                "kind": "SocialSyncQueue",
                "name": queue.name,
                "namespace": queue.namespace,
                "uid": queue.uid,
            },
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "source": {"component": FIELD_MANAGER},
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
        }
        self._api.request("POST", self._events, event)


def _expression(key: str, operator: str, values: Any) -> str:
    listed = ",".join(values)
    return {
        "In": f"{key} in ({listed})",
        "NotIn": f"{key} notin ({listed})",
        "Exists": key,
        "DoesNotExist": f"!{key}",
    }[operator]
