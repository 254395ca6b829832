"""Least privilege, proven by the API server's own audit log: what the Role allows is what is used, and no more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from control_plane import ControlPlane
from kubelet import Fleet, Kubelet
from operator_process import OPERATOR, Operator, until
from socialsync_common.kubernetes_api import ApiError
from socialsync_operator.cluster import Cluster

pytestmark = pytest.mark.integration

Verb = tuple[str, str, str]  # API group, resource, verb
CREATED_BY_APPLY: Verb = ("apps", "deployments", "create")


def used(audit_log: Path, user: str) -> tuple[set[Verb], list[Any]]:
    """What that user asked for, and which of it was forbidden."""
    verbs: set[Verb] = set()
    forbidden = []
    for line in audit_log.read_text().splitlines():
        entry = json.loads(line)
        target = entry.get("objectRef")
        if entry["user"]["username"] != user or not target:
            continue
        resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
        verbs.add((target.get("apiGroup", ""), resource, entry["verb"]))
        if entry.get("responseStatus", {}).get("code") == 403:
            forbidden.append((resource, entry["verb"], target.get("name")))
    return verbs, forbidden


def allowed(manifest: Path) -> set[Verb]:
    """What the Role in a file of manifests allows."""
    (role,) = (each for each in yaml.safe_load_all(manifest.read_text()) if each["kind"] == "Role")
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.timeout(240)
def test_a_queues_whole_life_uses_each_verb_that_the_role_allows_and_no_other(
    operator: Operator, redis_client: redis.Redis
) -> None:
    fleet = Fleet(redis_client, "ingest")
    with fleet, Kubelet(operator.plane.api, operator.namespace, fleet):
        operator.create(minReplicas=1, behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
        until(lambda: operator.ready() == 1)
        fleet.send(1000)
        until(lambda: operator.wanted() > 1)
        until(lambda: fleet.completed == 1000, 40)
        until(lambda: operator.wanted() == 1, 40)
        until(lambda: len(operator.pods()) == 1)
        operator.patch(maxReplicas=1)  # nobody else shall take what it does not
        until(lambda: operator.status().get("idleReplicas") == 1)
        fleet.mute(fleet.names[0])
        fleet.send(1)
        until(lambda: operator.events("WorkerRestarted"), 90)
        until(lambda: fleet.completed == 1001, 30)
        operator.plane.kubectl("delete", "ssq", "ingest", "-n", operator.namespace, "--timeout=30s")
    user = f"system:serviceaccount:{operator.namespace}:socialsync-operator"
    verbs, forbidden = used(operator.plane.audit_log, user)
    assert not forbidden
    assert verbs | {CREATED_BY_APPLY} == allowed(OPERATOR / "rbac.yaml")


def test_to_apply_what_does_not_exist_needs_the_right_to_create(plane: ControlPlane, namespace: str) -> None:
    """The audit log calls it a patch, so that the life above cannot show it."""
    plane.kubectl("create", "serviceaccount", "patcher", "-n", namespace)
    plane.kubectl("create", "role", "patcher", "-n", namespace, "--verb=patch", "--resource=deployments.apps")
    account = f"--serviceaccount={namespace}:patcher"
    plane.kubectl("create", "rolebinding", "patcher", "-n", namespace, "--role=patcher", account)
    cluster = Cluster(plane.api_as(plane.service_account_kubeconfig(namespace, "patcher")), namespace)
    labels = {"app": "a"}
    container = {"name": "a", "image": "a"}
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    with pytest.raises(ApiError, match='cannot create resource "deployments"'):
        cluster.apply_deployment(manifest)


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("get", "secrets"),
        ("create", "pods"),
        ("create", "pods/exec"),
        ("update", "deployments"),
        ("delete", "socialsyncqueues.socialsync.ai"),
        ("update", "leases/another"),
        ("list", "nodes"),
    ],
)
def test_what_the_operator_may_not_do(operator: Operator, verb: str, resource: str) -> None:
    user = f"system:serviceaccount:{operator.namespace}:socialsync-operator"
    answer = operator.plane.kubectl(
        "auth", "can-i", verb, resource, "-n", operator.namespace, "--as", user, check=False
    )
    assert answer.split()[-1] == "no"


def test_it_has_no_rights_in_another_namespace(operator: Operator) -> None:
    user = f"system:serviceaccount:{operator.namespace}:socialsync-operator"
    answer = operator.plane.kubectl(
        "auth", "can-i", "list", "pods", "-n", "default", "--as", user, check=False
    )
    assert answer.split()[-1] == "no"
