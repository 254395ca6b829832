"""The operator on a real control plane: what it makes, how it scales, and what it says."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest
import redis

from kubelet import Fleet, Kubelet
from operator_process import Operator, until
from socialsync_common.kubernetes_api import MERGE_PATCH, ApiError

pytestmark = pytest.mark.integration

AT_ONCE = {"scaleDown": {"stabilizationWindowSeconds": 0}}


def test_a_burst_on_a_sleeping_queue_gets_all_it_needs_in_one_hop(operator: Operator, fleet: Fleet) -> None:
    operator.create()
    until(lambda: operator.wanted() == 0)
    until(lambda: not operator.deployment()["spec"].get("paused"))
    assert not operator.pods()
    assert not operator.events("ScaledUp")

    fleet.send(200)
    sent = time.monotonic()
    until(lambda: operator.wanted() == 20)
    assert time.monotonic() - sent < 2
    (event,) = until(lambda: operator.events("ScaledUp"))
    assert event["message"].startswith("0 to 20 replicas: 200 wait")
    assert event["message"].endswith("0 in flight: TargetPerReplica needs 20")
    until(lambda: fleet.completed == 200)
    until(lambda: operator.condition("Ready")["status"] == "True")
    status = until(lambda: operator.status() if operator.status().get("serviceTimeMilliseconds") else None)
    assert 150 < status["serviceTimeMilliseconds"] < 400
    assert status["decision"]["limitedBy"] == "ScaleDownStabilization"


def test_the_columns_that_people_look_at(operator: Operator, fleet: Fleet) -> None:
    operator.create(minReplicas=2, queues=[{"name": "ingest.tick"}, {"name": "ingest"}])
    until(lambda: operator.ready() == 2)
    until(lambda: operator.condition("Ready")["status"] == "True")
    header, row = operator.plane.kubectl("get", "ssq", "-n", operator.namespace).splitlines()
    columns = "NAME QUEUE DEPTH INFLIGHT AGE-OLDEST REPLICAS DESIRED MIN MAX READY AGE"
    assert header.split() == columns.split()
    assert row.split()[:9] == ["ingest", "ingest", "0", "0", "2", "2", "2", "20", "True"]
    conditions = {each["type"]: each["status"] for each in operator.status()["conditions"]}
    assert conditions == {
        "Ready": "True",
        "Active": "False",
        "ScalingLimited": "False",
        "Paused": "False",
        "MetricsAvailable": "True",
        "Degraded": "False",
    }


def test_what_it_deploys_is_allowed_where_pods_are_restricted(operator: Operator, fleet: Fleet) -> None:
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    operator.plane.api.request(
        "PATCH", f"/api/v1/namespaces/{operator.namespace}", label, content_type=MERGE_PATCH
    )
    worker = {
        "image": "registry.test/ingest:1",
        "concurrency": 8,
        "gracePeriodSeconds": 60,
        "env": [{"name": "AI_MODEL", "value": "m"}, {"name": "HEALTH_PORT", "value": "1"}],
        "envFrom": [{"secretRef": {"name": "socialsync"}}],
        "resources": {"requests": {"cpu": "100m"}},
        "podTemplate": {
            "metadata": {"annotations": {"a": "b"}},
            "spec": {
                "priorityClassName": "",
                "containers": [{"name": "worker", "imagePullPolicy": "Always"}],
            },
        },
    }
    operator.create(minReplicas=1, worker=worker, queues=[{"name": "ingest.tick"}, {"name": "ingest"}])
    until(lambda: operator.ready() == 1)
    (pod,) = operator.pods()
    container = pod["spec"]["containers"][0]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert container["command"][:8] == [
        *("celery", "-A", "socialsync_ingest", "worker"),
        *("--queues", "ingest.tick,ingest", "--pool", "threads"),
    ]
    assert environment["SOCIALSYNC_QUEUE"] == "ingest"
    assert environment["AI_MODEL"] == "m"
    assert environment["HEALTH_PORT"] == "8081"  # the probes depend on it
    assert float(environment["SOFT_SHUTDOWN_SECONDS"]) < pod["spec"]["terminationGracePeriodSeconds"] == 60
    assert container["envFrom"] == [{"secretRef": {"name": "socialsync"}}]
    assert container["resources"] == {"requests": {"cpu": "100m"}}
    assert container["imagePullPolicy"] == "Always"
    assert pod["metadata"]["annotations"]["a"] == "b"
    assert all("httpGet" in container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness"))
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_the_last_replica_goes_only_when_nothing_waits_runs_or_comes(
    operator: Operator, redis_client: redis.Redis
) -> None:
    seconds = [6.0]
    fleet = Fleet(redis_client, "ingest", task=lambda: seconds[0])
    with fleet, Kubelet(operator.plane.api, operator.namespace, fleet):
        operator.create(behavior=AT_ONCE, cooldownSeconds=3)
        fleet.send(1)
        until(lambda: operator.ready() == 1)
        until(lambda: redis_client.hlen("celery:unacked:ingest") == 1)
        taken = time.monotonic()
        until(lambda: fleet.completed == 1)
        assert operator.wanted() == 1
        until(lambda: operator.wanted() == 0)
        assert time.monotonic() - taken >= 6 + 3
        until(lambda: not operator.pods())
        assert not fleet.killed_busy


def test_a_scale_by_hand_is_taken_for_the_truth_and_then_put_right(operator: Operator, fleet: Fleet) -> None:
    operator.create(minReplicas=1, behavior={"scaleDown": {"stabilizationWindowSeconds": 4}})
    until(lambda: operator.ready() == 1)
    operator.plane.kubectl("scale", "-n", operator.namespace, "deployment/ingest", "--replicas=6")
    scaled = time.monotonic()
    until(lambda: operator.wanted() == 1)
    assert time.monotonic() - scaled >= 4  # its windows began anew
    assert not fleet.killed_busy


def test_drift_is_put_right_and_the_replicas_are_no_part_of_it(operator: Operator, fleet: Fleet) -> None:
    operator.create(minReplicas=2)
    until(lambda: operator.ready() == 2)
    operator.plane.kubectl(
        "set", "image", "-n", operator.namespace, "deployment/ingest", "worker=registry.test/other:1"
    )
    until(lambda: operator.events("DriftCorrected"))
    deployment = until(lambda: operator.deployment() if _image(operator) == "socialsync-ingest" else None)
    (applied,) = (each for each in deployment["metadata"]["managedFields"] if each["operation"] == "Apply")
    assert applied["manager"] == "socialsync-operator"
    assert "f:replicas" not in applied["fieldsV1"]["f:spec"]


def _image(operator: Operator) -> str:
    return str(operator.deployment()["spec"]["template"]["spec"]["containers"][0]["image"])


def test_a_new_image_rolls_out_and_nothing_goes_down_meanwhile(operator: Operator, fleet: Fleet) -> None:
    operator.create(minReplicas=3)
    until(lambda: operator.ready() == 3)
    operator.patch(worker={"image": "registry.test/ingest:2"})
    until(lambda: len(operator.pods()) == 3 and _images(operator) == {"registry.test/ingest:2"})
    assert operator.wanted() == 3


def _images(operator: Operator) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in operator.pods()}


def test_a_deleted_queue_drains_before_its_workers_go(operator: Operator, redis_client: redis.Redis) -> None:
    fleet = Fleet(redis_client, "ingest", task=lambda: 5.0)
    with fleet, Kubelet(operator.plane.api, operator.namespace, fleet):
        operator.create(minReplicas=3)
        until(lambda: operator.ready() == 3)
        fleet.send(2)
        until(lambda: redis_client.hlen("celery:unacked:ingest") == 2)
        operator.plane.kubectl("delete", "ssq", "ingest", "-n", operator.namespace, "--wait=false")
        until(lambda: _gone(operator), 30)
        assert fleet.completed == 2
        assert not fleet.killed_busy
        until(lambda: not operator.pods())
        assert not _deployments(operator)


def _gone(operator: Operator) -> bool:
    try:
        operator.queue()
    except ApiError as error:
        return error.not_found
    return False


def _deployments(operator: Operator) -> list[str]:
    path = f"/apis/apps/v1/namespaces/{operator.namespace}/deployments"
    return [each["metadata"]["name"] for each in operator.plane.api.get(path)["items"]]


def test_it_scales_a_deployment_of_others_and_leaves_it_alone_otherwise(
    operator: Operator, redis_client: redis.Redis
) -> None:
    operator.plane.kubectl(
        "create", "deployment", "legacy", "-n", operator.namespace, "--image=x", "--replicas=1"
    )
    before = operator.deployment("legacy")["spec"]
    fleet = Fleet(redis_client, "ingest")
    with fleet, Kubelet(operator.plane.api, operator.namespace, fleet):
        operator.create(scaleTargetRef={"name": "legacy"}, minReplicas=1)
        fleet.send(1000)
        until(lambda: operator.wanted("legacy") > 5)
        until(lambda: fleet.completed == 1000)
        assert {**operator.deployment("legacy")["spec"], "replicas": 1} == before
        wanted = operator.wanted("legacy")
        operator.plane.kubectl("delete", "ssq", "ingest", "-n", operator.namespace, "--timeout=10s")
        assert operator.wanted("legacy") == wanted


@pytest.mark.parametrize("spec", [{"dryRun": True}, {"paused": True}])
def test_dry_run_and_pause_leave_the_replicas_alone(
    operator: Operator, fleet: Fleet, spec: dict[str, Any]
) -> None:
    operator.create(minReplicas=1)
    until(lambda: operator.ready() == 1)
    operator.patch(**spec)
    until(lambda: operator.status()["observedGeneration"] == operator.queue()["metadata"]["generation"])
    fleet.mute(fleet.names[0])
    fleet.send(100)
    until(lambda: operator.status().get("depth") == 100)
    assert operator.wanted() == 1
    if "dryRun" in spec:
        assert operator.status()["desiredReplicas"] == 10
        assert operator.status()["decision"]["dryRun"] is True
    else:
        assert operator.condition("Paused")["status"] == "True"
    assert not operator.events("ScaledUp")
    operator.patch(**dict.fromkeys(spec, False))
    until(lambda: operator.wanted() >= 10)


def test_explain_prints_every_number_on_the_way(operator: Operator, redis_client: redis.Redis) -> None:
    operator.create(minReplicas=1, maxReplicas=4)
    Fleet(redis_client, "ingest").send(400)  # which nobody takes
    until(lambda: operator.condition("ScalingLimited")["reason"] == "MaxReplicas")
    shown = _socialsync(operator, "queues", "explain", "ingest", "-n", operator.namespace)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("ingest: ")
    assert " wait, " in lines[1]
    assert "MaxReplicas makes it 4" in lines[1]
    for expected in ("waiting", "slots a replica", "need", "bounded", "limits: MaxReplicas"):
        assert expected in shown.stdout, shown.stdout
    raw = _socialsync(operator, "queues", "explain", "ingest", "-n", operator.namespace, "--json")
    assert json.loads(raw.stdout)["decision"]["limitedBy"] == "MaxReplicas"

    absent = _socialsync(operator, "queues", "explain", "nothing", "-n", operator.namespace)
    assert absent.returncode == 2
    assert "there is no SocialSyncQueue nothing" in absent.stderr


def _socialsync(operator: Operator, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "socialsync_cli.main", *arguments],
        env={"KUBECONFIG": str(operator.plane.kubeconfig), "PATH": "/usr/bin", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.timeout(180)
def test_a_worker_that_lives_and_takes_nothing_is_restarted(operator: Operator, fleet: Fleet) -> None:
    operator.create(minReplicas=2, maxReplicas=2)
    until(lambda: operator.ready() == 2)
    until(lambda: operator.status().get("idleReplicas") == 2)
    stuck = fleet.names
    for name in stuck:
        fleet.mute(name)
    fleet.send(5)
    until(lambda: operator.condition("Degraded")["reason"] == "WorkersStalled", 90)
    until(lambda: fleet.completed == 5, 30)
    # one at a time: what the first one's successor could do, needed no second
    assert len(operator.events("WorkerRestarted")) == 1
    assert len(set(stuck) & set(fleet.names)) == 1
    until(lambda: operator.condition("Degraded")["status"] == "False", 15)
