"""The Deployment that is wanted: what the operator insists on, and what a spec may lay over it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from socialsync_operator.deployment import HEALTH_PORT, deployment_manifest, digest, shared_telemetry
from socialsync_operator.spec import Queue, Scaling

Json = dict[str, Any]

# as the API server returns it, defaults filled in
WORKER: Json = {
    "image": "registry.test/ingest:1",
    "pool": "threads",
    "concurrency": 8,
    "gracePeriodSeconds": 90,
}
QUEUE = Queue(
    namespace="shop",
    name="ingest",
    uid="u1",
    generation=1,
    deleting=False,
    finalizers=(),
    lanes=("ingest.tick", "ingest"),
    polling=1,
    dry_run=False,
    scaling=Scaling(min=0, max=20, target_latency=5, target_per_replica=10),
    worker=WORKER,
    target=None,
)


def manifest(telemetry: dict[str, str] | None = None, **worker: Any) -> Json:
    return deployment_manifest(QUEUE, {**WORKER, **worker}, telemetry or {})


def pod(**worker: Any) -> Json:
    spec: Json = manifest(**worker)["spec"]["template"]["spec"]
    return spec


def laid_over(spec: Json) -> Json:
    """The pod spec with this one of a podTemplate over it."""
    return pod(podTemplate={"spec": spec})


def container(spec: Json) -> Json:
    (worker,) = [each for each in spec["containers"] if each["name"] == "worker"]
    return worker  # type: ignore[no-any-return]


def environment(spec: Json) -> dict[str, Any]:
    variables = container(spec)["env"]
    assert len({each["name"] for each in variables}) == len(variables)
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in variables}


def named(items: list[Json]) -> dict[str, Json]:
    return {each["name"]: each for each in items}


# --- what the operator insists on


def test_it_is_the_queues_own_and_leaves_the_replicas_alone() -> None:
    made = manifest()
    assert (made["apiVersion"], made["kind"]) == ("apps/v1", "Deployment")
    assert (made["metadata"]["namespace"], made["metadata"]["name"]) == ("shop", "ingest")
    (owner,) = made["metadata"]["ownerReferences"]
    assert owner["kind"] == "SocialSyncQueue"
    assert (owner["uid"], owner["controller"]) == ("u1", True)
    assert "replicas" not in made["spec"]


def test_a_rollout_takes_no_worker_away_before_another_is_there() -> None:
    assert manifest()["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_the_worker_consumes_the_queues_lanes_with_the_asked_for_pool() -> None:
    command = container(pod(pool="prefork", concurrency=4))["command"]
    assert command[:4] == ["celery", "-A", "socialsync_ingest", "worker"]
    options = dict(zip(command[4::2], command[5::2], strict=False))
    assert options["--queues"] == "ingest.tick,ingest"
    assert (options["--pool"], options["--concurrency"]) == ("prefork", "4")


def test_pods_are_allowed_where_pods_are_restricted() -> None:
    """The Pod Security Standard ``restricted``, and a root file system that nobody writes to."""
    spec = pod()
    worker = container(spec)["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert worker["allowPrivilegeEscalation"] is False
    assert worker["capabilities"] == {"drop": ["ALL"]}
    assert worker["readOnlyRootFilesystem"] is True
    assert spec["automountServiceAccountToken"] is False
    mounted = named(container(spec)["volumeMounts"])
    assert mounted.keys() == named(spec["volumes"]).keys() == {"tmp"}


@pytest.mark.parametrize("grace", [30, 90, 3600])
def test_tasks_get_less_time_than_the_pod(grace: int) -> None:
    spec = pod(gracePeriodSeconds=grace)
    assert spec["terminationGracePeriodSeconds"] == grace
    assert 15 <= int(environment(spec)["SOFT_SHUTDOWN_SECONDS"]) < grace


def test_nor_more_where_the_template_has_a_grace_period_of_its_own() -> None:
    spec = laid_over({"terminationGracePeriodSeconds": 40})
    assert int(environment(spec)["SOFT_SHUTDOWN_SECONDS"]) < spec["terminationGracePeriodSeconds"]


def test_probes_ask_the_port_that_the_worker_is_told() -> None:
    worker = container(pod())
    assert environment(pod())["HEALTH_PORT"] == str(HEALTH_PORT)
    assert named(worker["ports"])["health"]["containerPort"] == HEALTH_PORT
    asked = {kind: worker[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
    assert asked == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}
    assert all(worker[f"{kind}Probe"]["httpGet"]["port"] == "health" for kind in asked)


def test_the_worker_knows_its_queue_and_its_pod() -> None:
    found = environment(pod())
    assert found["SOCIALSYNC_QUEUE"] == "ingest"
    assert found["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert found["REMAP_SIGTERM"] == "SIGQUIT"


# --- the environment


def test_what_the_operator_sets_wins_over_the_given_environment() -> None:
    ours = environment(pod())
    given = [{"name": name, "value": "mine"} for name in (*ours, "AI_MODEL")]
    assert environment(pod(env=given)) == {**ours, "AI_MODEL": "mine"}


def test_a_variable_may_come_from_a_secret() -> None:
    secret = {"name": "AI_API_KEY", "valueFrom": {"secretKeyRef": {"name": "ai", "key": "key"}}}
    assert secret in container(pod(env=[secret]))["env"]
    source = {"secretRef": {"name": "socialsync"}}
    assert container(pod(envFrom=[source]))["envFrom"] == [source]


def test_exporter_settings_are_shared_and_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "socialsync-operator")
    telemetry = shared_telemetry()
    assert telemetry == {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
    given = [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://elsewhere"}]
    found = environment(manifest(telemetry, env=given)["spec"]["template"]["spec"])
    assert found["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"
    assert found["OTEL_SERVICE_NAME"] == "socialsync-ingest"


# --- the pod template


def test_without_a_template_nothing_changes() -> None:
    assert manifest() == manifest(podTemplate={}) == manifest(podTemplate={"spec": {}, "metadata": {}})


def test_lists_of_named_things_are_merged_by_name() -> None:
    spec = laid_over(
        {
            "containers": [
                {
                    "name": "worker",
                    "imagePullPolicy": "Always",
                    "env": [{"name": "EXTRA", "value": "1"}],
                    "ports": [{"name": "metrics", "containerPort": 9000}],
                    "volumeMounts": [{"name": "models", "mountPath": "/models"}],
                },
                {"name": "sidecar", "image": "proxy:1"},
            ],
            "volumes": [
                {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
                {"name": "models", "emptyDir": {}},
            ],
        }
    )
    worker = container(spec)
    assert [each["name"] for each in spec["containers"]] == ["worker", "sidecar"]
    assert (worker["image"], worker["imagePullPolicy"]) == (WORKER["image"], "Always")
    assert environment(spec) == {**environment(pod()), "EXTRA": "1"}
    assert named(worker["ports"]).keys() == {"health", "metrics"}
    assert [each["mountPath"] for each in worker["volumeMounts"]] == ["/tmp", "/models"]
    assert named(spec["volumes"])["tmp"] == {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}
    assert named(spec["volumes"]).keys() == {"tmp", "models"}


def test_one_volume_may_be_mounted_twice() -> None:
    more = {"name": "tmp", "mountPath": "/var/cache"}
    spec = laid_over({"containers": [{"name": "worker", "volumeMounts": [more]}]})
    assert [each["mountPath"] for each in container(spec)["volumeMounts"]] == ["/tmp", "/var/cache"]


def test_things_without_a_name_are_added() -> None:
    toleration = {"key": "spot", "operator": "Exists"}
    port = {"containerPort": 9000}
    spec = laid_over({"tolerations": [toleration], "containers": [{"name": "worker", "ports": [port]}]})
    assert spec["tolerations"] == [toleration]
    assert port in container(spec)["ports"]
    assert len(container(spec)["ports"]) == 2


def test_a_spread_over_the_same_nodes_replaces_the_operators() -> None:
    strict = {"topologyKey": "kubernetes.io/hostname", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}
    zones = {"topologyKey": "topology.kubernetes.io/zone", "maxSkew": 1}
    hosts, added = laid_over({"topologySpreadConstraints": [strict, zones]})["topologySpreadConstraints"]
    assert (hosts["maxSkew"], hosts["whenUnsatisfiable"]) == (2, "DoNotSchedule")
    assert hosts["labelSelector"]  # what is left out stays
    assert added == zones


def test_plain_values_are_replaced() -> None:
    spec = laid_over(
        {"priorityClassName": "high", "automountServiceAccountToken": True, "nodeSelector": {"a": "b"}}
    )
    assert spec["priorityClassName"] == "high"
    assert spec["automountServiceAccountToken"] is True
    assert spec["nodeSelector"] == {"a": "b"}


def test_a_command_is_replaced_as_a_whole() -> None:
    command = ["opentelemetry-instrument", "celery", "-A", "socialsync_ingest", "worker"]
    spec = laid_over({"containers": [{"name": "worker", "command": command}]})
    assert container(spec)["command"] == command


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {"socialsync.ai/queue": "other", "team": "a"}},
        {"labels": {"team": "a"}, "annotations": {"a": "b"}},
        {"labels": None},
    ],
)
def test_the_selectors_label_cannot_be_lost(metadata: Json) -> None:
    made = manifest(podTemplate={"metadata": deepcopy(metadata)})["spec"]
    labels = made["template"]["metadata"]["labels"]
    assert made["selector"]["matchLabels"].items() <= labels.items()
    assert labels["socialsync.ai/queue"] == "ingest"
    if metadata["labels"]:
        assert labels["team"] == "a"


def test_what_is_given_is_not_touched() -> None:
    worker = {**WORKER, "podTemplate": {"metadata": {"labels": {"team": "a"}}, "spec": {"hostAliases": []}}}
    before = deepcopy(worker)
    deployment_manifest(QUEUE, worker, {})
    assert worker == before


# --- the digest


def test_a_digest_tells_one_wanted_state_from_another() -> None:
    assert digest(manifest()) == digest(manifest())
    different = [manifest(image="i:2"), manifest(concurrency=9), manifest({"OTEL_EXPORTER_A": "b"})]
    assert len({digest(each) for each in (manifest(), *different)}) == 4


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    made = manifest(resources={"requests": {"cpu": "1", "memory": "1Gi"}})
    turned = dict(reversed(made.items()))
    turned["spec"] = dict(reversed(made["spec"].items()))
    assert digest(turned) == digest(made)
