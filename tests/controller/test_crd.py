"""The API server itself refuses what makes no sense, and says what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane import ControlPlane
from socialsync_common.kubernetes_api import MERGE_PATCH, ApiError

pytestmark = pytest.mark.integration

SOUND = {"queues": [{"name": "ingest"}], "worker": {"image": "x"}, "maxReplicas": 5}


def path(namespace: str, name: str = "") -> str:
    collection = f"/apis/socialsync.ai/v1alpha1/namespaces/{namespace}/socialsyncqueues"
    return f"{collection}/{name}" if name else collection


def queue(name: str = "ingest", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "socialsync.ai/v1alpha1",
        "kind": "SocialSyncQueue",
        "metadata": {"name": name},
        "spec": {**SOUND, **spec},
    }


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"minReplicas": 6}, "minReplicas must not exceed maxReplicas: lower the one or raise the other"),
        ({"worker": None}, "give exactly one of worker"),
        ({"scaleTargetRef": {"name": "x"}}, "give exactly one of worker"),
        ({"scaleTargetRef": {"name": "x", "kind": "StatefulSet"}, "worker": None}, "Deployment"),
        ({"fallback": {"replicas": 6}}, "fallback.replicas must not exceed maxReplicas"),
        ({"fallback": {"replicas": 3, "behavior": "static"}}, "currentReplicasIfHigher"),
        ({"queues": [{"name": "ingest"}, {"name": "comments"}]}, "all queues must be of one service"),
        ({"queues": [{"name": "ingest.tick"}]}, "at least one queue must carry work"),
        ({"queues": [{"name": "ingest"}, {"name": "ingest"}]}, "Duplicate value"),
        ({"queues": []}, "spec.queues"),
        ({"queues": [{"name": "In gest"}]}, "spec.queues[0].name"),
        ({"maxReplicas": 0}, "spec.maxReplicas"),
        ({"targetLatencySeconds": 0}, "spec.targetLatencySeconds"),
        ({"worker": {"image": ""}}, "spec.worker.image"),
        ({"worker": {"image": "x", "pool": "gevent"}}, "spec.worker.pool"),
        ({"worker": {"image": "x", "gracePeriodSeconds": 10}}, "gracePeriodSeconds must be 30 or more"),
        ({"worker": {"image": "x", "pool": "prefork"}}, "prefork runs a process for each slot"),
        ({"behavior": {"scaleUp": {"selectPolicy": "Most"}}}, "spec.behavior.scaleUp.selectPolicy"),
        ({"behavior": {"scaleDown": {"tolerance": "ten"}}}, "spec.behavior.scaleDown.tolerance"),
        ({"behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 1}]}}}, "periodSeconds"),
        ({"minReplicas": "three"}, "spec.minReplicas"),
    ],
)
def test_a_spec_that_breaks_a_rule_is_refused_in_words(
    plane: ControlPlane, namespace: str, spec: dict[str, Any], message: str
) -> None:
    resource = queue(**spec)
    resource["spec"] = {name: value for name, value in resource["spec"].items() if value is not None}
    with pytest.raises(ApiError) as refusal:
        plane.api.request("POST", path(namespace), resource)
    assert refusal.value.status == 422
    assert message in str(refusal.value)


def test_a_name_too_long_for_its_pods_is_refused(plane: ControlPlane, namespace: str) -> None:
    with pytest.raises(ApiError, match=r"metadata\.name"):
        plane.api.request("POST", path(namespace), queue("x" * 53))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queues": [{"name": "ingest"}, {"name": "ingest.tick"}]}, "queues cannot be changed"),
        ({"worker": None, "scaleTargetRef": {"name": "x"}}, "cannot take each other's place"),
    ],
)
def test_what_a_queue_is_cannot_be_changed(
    plane: ControlPlane, namespace: str, change: dict[str, Any], message: str
) -> None:
    plane.api.request("POST", path(namespace), queue())
    with pytest.raises(ApiError, match=message):
        plane.api.request("PATCH", path(namespace, "ingest"), {"spec": change}, content_type=MERGE_PATCH)


def test_the_hpa_s_behavior_can_be_taken_over_as_it_is(plane: ControlPlane, namespace: str) -> None:
    behavior = {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Percent", "value": 100, "periodSeconds": 15},
                {"type": "Pods", "value": 4, "periodSeconds": 15},
            ],
            "tolerance": "100m",
        },
        "scaleDown": {"stabilizationWindowSeconds": 300, "tolerance": 0},
    }
    made = plane.api.request("POST", path(namespace), queue(behavior=behavior))
    assert made["spec"]["behavior"] == behavior


def test_every_field_is_described(plane: ControlPlane) -> None:
    crd = plane.api.get(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/socialsyncqueues.socialsync.ai"
    )
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    silent: list[str] = []

    def look(where: str, node: dict[str, Any]) -> None:
        for name, field in node.get("properties", {}).items():
            if "description" not in field and not where.startswith(("metadata", "spec.worker.env")):
                silent.append(f"{where}.{name}")
            look(f"{where}.{name}", field)
        if "items" in node:
            look(where, node["items"])

    for part in ("spec", "status"):
        look(part, schema["properties"][part])
    assert not silent
    explained = plane.kubectl("explain", "ssq.spec.behavior.scaleDown.stabilizationWindowSeconds")
    assert "Up, the lowest need of this time counts; down, the highest." in " ".join(explained.split())


def test_the_object_can_be_found_by_its_short_name_and_its_category(
    plane: ControlPlane, namespace: str
) -> None:
    plane.api.request("POST", path(namespace), queue())
    for word in ("ssq", "socialsyncqueue", "socialsync"):
        assert "ingest" in plane.kubectl("get", word, "-n", namespace)
