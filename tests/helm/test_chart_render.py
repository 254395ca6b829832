"""What the chart promises of each object, over all cases of values."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import kubernetes_validate
import pytest
import yaml

from helm.chart import (
    CASES,
    ROOT,
    Json,
    Manifests,
    case,
    containers,
    load_all,
    pod_spec,
    render,
    template,
    values,
)
from socialsync_common.contracts import Lane
from socialsync_common.crypto import TokenCipher
from socialsync_common.settings import EncryptionSettings
from socialsync_operator.deployment import deployment_manifest
from socialsync_operator.spec import parse_queue

UPGRADE = "--is-upgrade"
STORES = ("postgresql", "redis")  # other people's images
BOTH = pytest.mark.parametrize("how", ["install", "upgrade"])
ALL = pytest.mark.parametrize("name", CASES)


def rendered(name: str, how: str = "install", *arguments: str) -> Manifests:
    return render(name, *([UPGRADE] if how == "upgrade" else []), *arguments)


def component(manifest: Json) -> str:
    return str(manifest["metadata"]["labels"]["app.kubernetes.io/component"])


def template_labels(manifest: Json) -> Json:
    """Labels of the pods that it makes."""
    spec = manifest["spec"]
    if manifest["kind"] == "SocialSyncQueue":
        own = {"socialsync.ai/queue": manifest["metadata"]["name"]}
        return {**own, **spec["worker"]["podTemplate"]["metadata"]["labels"]}
    return dict(
        manifest["metadata"]["labels"]
        if manifest["kind"] == "Pod"
        else spec["template"]["metadata"]["labels"]
    )


def secrets_of(container: Json) -> set[str]:
    """Environment variables that come from Secrets."""
    return {each["name"] for each in container.get("env", ()) if "secretKeyRef" in each.get("valueFrom", {})}


def workloads(manifests: Manifests) -> Iterator[Json]:
    return (each for each in manifests if pod_spec(each))


# --- every object


@BOTH
@ALL
def test_each_object_is_there_once_and_in_the_namespace(name: str, how: str) -> None:
    manifests = rendered(name, how)
    assert len(manifests.names()) == len(list(manifests))
    for each in manifests:
        if each["metadata"]["name"] not in ("socialsync-extra", "socialsync-text"):
            cluster = each["kind"].startswith("Cluster")
            assert cluster or each["metadata"]["namespace"] == "socialsync", each["metadata"]["name"]


@pytest.mark.parametrize("version", ["1.30", "1.34", "1.37"])
@BOTH
@ALL
def test_each_object_has_the_fields_of_its_kind_and_no_other(name: str, how: str, version: str) -> None:
    for each in rendered(name, how):
        if each["kind"] not in ("SocialSyncQueue", "HTTPRoute"):
            kubernetes_validate.validate(each, version, strict=True)


@ALL
def test_what_the_operator_makes_of_the_queues_has_them_too(name: str) -> None:
    crd = load_all((ROOT / "operator" / "crds" / "socialsyncqueue.yaml").read_text())[0]
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for queue in rendered(name).of("SocialSyncQueue"):
        queue["metadata"] |= {"uid": "u", "generation": 1}
        spec = defaulted(schema, queue["spec"])
        deployment = deployment_manifest(parse_queue({**queue, "spec": spec}), spec["worker"], {})
        kubernetes_validate.validate(deployment, "1.34", strict=True)
        pod = deployment["spec"]["template"]["spec"]
        assert [each["name"] for each in pod["containers"]] == ["worker"]
        assert [each["name"] for each in pod["volumes"]].count("tmp") == 1


def defaulted(schema: Json, value: Json) -> Json:
    """As the API server returns it."""
    known = schema.get("properties", {})
    missing = {name: each["default"] for name, each in known.items() if "default" in each}
    given = {
        name: defaulted(known[name], each) if isinstance(each, dict) and name in known else each
        for name, each in value.items()
    }
    return {**missing, **given}


@ALL
def test_selectors_find_what_they_are_for(name: str) -> None:
    manifests = rendered(name)
    pods = [template_labels(each) for each in workloads(manifests)]

    def found(selector: Json) -> int:
        return sum(selector.items() <= labels.items() for labels in pods)

    for each in manifests:
        if each["kind"] in ("Deployment", "StatefulSet"):
            selector = each["spec"]["selector"]["matchLabels"]
            assert selector.items() <= template_labels(each).items()
            assert found(selector) == 1
        elif each["kind"] == "Service":
            assert found(each["spec"]["selector"]) == 1
        elif each["kind"] == "PodDisruptionBudget":
            assert found(each["spec"]["selector"]["matchLabels"]) == 1
        elif each["kind"] == "NetworkPolicy":
            assert found(each["spec"]["podSelector"]["matchLabels"]) >= 1


@BOTH
@ALL
def test_no_pod_template_changes_with_the_chart_s_version(name: str, how: str) -> None:
    for each in workloads(rendered(name, how)):
        if each["kind"] != "Pod":
            assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(template_labels(each))


def test_a_changed_setting_starts_new_pods() -> None:
    before, after = rendered("default"), rendered("default", "install", *values("config.LOG_LEVEL=DEBUG"))
    for old, new in zip(workloads(before), workloads(after), strict=True):
        if component(old) in ("gateway", "operator", "beat", "flower"):
            assert old["spec"]["template"] != new["spec"]["template"]
        elif component(old) == "worker":
            assert old["spec"]["worker"]["podTemplate"] != new["spec"]["worker"]["podTemplate"]
        else:
            assert old == new


@ALL
def test_nothing_of_the_sandbox(name: str) -> None:
    assert "sandbox" not in json.dumps(list(rendered(name)))


# --- pods


@BOTH
@ALL
def test_containers_may_do_as_little_as_can_be(name: str, how: str) -> None:
    for owner, spec in rendered(name, how).pod_specs():
        store = owner.endswith(STORES)
        pod = spec["securityContext"]
        assert pod["runAsNonRoot"], owner
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}, owner
        assert pod["runAsUser"] == (999 if store else 65532), owner
        assert spec["enableServiceLinks"] is False, owner
        for each in containers(spec):
            security = each["securityContext"]
            assert security["readOnlyRootFilesystem"], owner
            assert security["runAsNonRoot"], owner
            assert security["allowPrivilegeEscalation"] is False, owner
            assert security["capabilities"] == {"drop": ["ALL"]}, owner
            if not store:
                assert {"name": "tmp", "mountPath": "/tmp"} in each["volumeMounts"], owner


@BOTH
@ALL
def test_containers_say_what_they_need(name: str, how: str) -> None:
    for owner, spec in rendered(name, how).pod_specs():
        for each in containers(spec):
            if owner.startswith("SocialSyncQueue") and each["name"] == "worker":
                continue  # its own are in spec.worker
            assert {"cpu", "memory"} <= set(each["resources"]["requests"]), owner
            assert set(each["resources"]["limits"]) == {"memory"}, owner
    for queue in rendered(name, how).of("SocialSyncQueue"):
        if queue["metadata"]["name"] != "documents-extra":
            assert set(queue["spec"]["worker"]["resources"]) == {"requests", "limits"}


@BOTH
@ALL
def test_a_token_is_only_where_someone_talks_to_kubernetes(name: str, how: str) -> None:
    wanted = ("-operator", "-beat", "-crd-upgrade", "-uninstall", "-test", "-migrate-post-1")
    for each in rendered(name, how).of("ServiceAccount"):
        assert each["automountServiceAccountToken"] is False
    for owner, spec in rendered(name, how).pod_specs():
        if not owner.startswith("SocialSyncQueue"):  # the operator says no for workers
            assert spec["automountServiceAccountToken"] is owner.endswith(wanted), owner


SECRETS = {
    "gateway": {
        *(
            "DATABASE_URL",
            "CELERY_BROKER_URL",
            "META_APP_SECRET",
            "INSTAGRAM_APP_SECRET",
            "META_VERIFY_TOKEN",
        ),
        *("SUPABASE_JWT_SECRET", "TOKEN_ENCRYPTION_KEYS"),
    },
    "operator": {"CELERY_BROKER_URL"},
    "beat": {"CELERY_BROKER_URL"},
    "flower": {"CELERY_BROKER_URL", "FLOWER_BASIC_AUTH"},
    "worker": {"DATABASE_URL", "CELERY_BROKER_URL", "TOKEN_ENCRYPTION_KEYS", "META_APP_SECRET", "AI_API_KEY"},
    "migrations": {"DATABASE_URL", "MIGRATION_DATABASE_URL"},
    "postgresql": {"POSTGRES_PASSWORD"},
    "redis": {"REDIS_PASSWORD"},
}
WAITS = {
    "gateway": ["postgres", "schema"],
    "operator": ["redis"],
    "beat": ["redis"],
    "flower": ["redis"],
    "worker": ["postgres", "schema", "redis"],
    "migrations": ["postgres"],
}
URLS = {"postgres": {"DATABASE_URL"}, "redis": {"CELERY_BROKER_URL"}}


@BOTH
@ALL
def test_each_pod_gets_the_secrets_that_it_needs_and_no_other(name: str, how: str) -> None:
    for each in workloads(rendered(name, how)):
        spec = pod_spec(each)
        assert spec
        worker = each["spec"].get("worker")
        main = worker or spec["containers"][0]
        assert secrets_of(main) == SECRETS.get(component(each), set()), each["metadata"]["name"]
        assert not any("secretRef" in source for source in main.get("envFrom", ()))
        if wanted := WAITS.get(component(each)):
            wait = spec["initContainers"][-1]
            assert wait["command"] == ["python", "-m", "socialsync_common.wait"]
            assert wait["args"] == wanted
            assert wait["image"] == main["image"]
            assert secrets_of(wait) == set().union(*(URLS.get(one, set()) for one in wanted))


@BOTH
@ALL
def test_the_owner_of_the_database_reaches_the_migrations_only(name: str, how: str) -> None:
    for each in workloads(rendered(name, how)):
        assert ("MIGRATION_DATABASE_URL" in json.dumps(each)) == (component(each) == "migrations")


@BOTH
def test_no_secret_stands_outside_a_secret(how: str) -> None:
    given = load_all(case("everything").read_text())[0]
    hidden = [
        *given["secrets"]["values"].values(),
        given["externalPostgresql"]["url"],
        given["externalRedis"]["url"],
    ]
    for each in rendered("everything", how):
        text = json.dumps(each)
        assert each["kind"] == "Secret" or not [secret for secret in hidden if secret in text]


@ALL
def test_commands_are_those_of_modules_that_exist(name: str) -> None:
    for owner, spec in rendered(name).pod_specs():
        for each in containers(spec):
            match each.get("command", ()):
                case ["python", "-m", module, *_]:
                    assert find_spec(module), owner
                case ["celery", "-A", module, *_]:
                    assert find_spec(module), owner


# --- components


def test_the_gateway_is_replaced_without_a_gap() -> None:
    deployment = rendered("default").get("Deployment", "socialsync-gateway")["spec"]
    pod = deployment["template"]["spec"]
    container = pod["containers"][0]
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    probe = container["readinessProbe"]
    assert sleep >= probe["periodSeconds"]
    requests_take = 20  # uvicorn's timeout_graceful_shutdown
    assert pod["terminationGracePeriodSeconds"] > sleep + requests_take
    assert probe["httpGet"]["path"] == "/readyz"
    assert probe["timeoutSeconds"] > 2  # the gateway's own patience with Postgres
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_who_scales_owns_the_replicas() -> None:
    manifests = rendered("everything")
    assert "replicas" not in manifests.get("Deployment", "sync-gateway")["spec"]
    assert manifests.get("HorizontalPodAutoscaler", "sync-gateway")["spec"]["maxReplicas"] == 20
    for queue in manifests.of("SocialSyncQueue"):
        assert "replicas" not in queue["spec"]
        assert "replicas" not in queue["spec"]["worker"]["podTemplate"]


def test_the_operator_may_do_what_its_own_role_says() -> None:
    manifests = rendered("default")
    ours = next(
        each for each in load_all((ROOT / "operator" / "rbac.yaml").read_text()) if each["kind"] == "Role"
    )
    assert manifests.get("Role", "socialsync-operator")["rules"] == ours["rules"]
    environment = manifests.get("Deployment", "socialsync-operator")["spec"]["template"]["spec"][
        "containers"
    ][0]["env"]
    assert {"name": "LEASE_NAME", "value": "socialsync-operator"} in environment


def test_beat_may_hold_its_lease_and_no_more() -> None:
    manifests = rendered("default")
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    assert manifests.get("Role", "socialsync-beat")["rules"] == [
        {**leases, "verbs": ["create"]},
        {**leases, "verbs": ["get", "update"], "resourceNames": ["socialsync-beat"]},
    ]
    environment = manifests.get("Deployment", "socialsync-beat")["spec"]["template"]["spec"]["containers"][0][
        "env"
    ]
    assert {"name": "LEASE_NAME", "value": "socialsync-beat"} in environment


def test_each_lane_is_consumed_by_the_queue_that_the_services_take_it_for() -> None:
    consumed = {
        lane["name"]: queue["metadata"]["name"]
        for queue in rendered("default").of("SocialSyncQueue")
        for lane in queue["spec"]["queues"]
    }
    assert consumed == {str(lane): lane.queue for lane in Lane}


def test_queues_scale_as_designed() -> None:
    shown = {
        queue["metadata"]["name"]: (
            queue["spec"]["minReplicas"],
            queue["spec"]["maxReplicas"],
            queue["spec"].get("targetLatencySeconds"),
            queue["spec"]["worker"].get("pool"),
            queue["spec"]["worker"].get("concurrency"),
            queue["spec"]["worker"]["image"],
        )
        for queue in rendered("default").of("SocialSyncQueue")
    }
    assert shown == {
        "ingest": (3, 10, 5, None, 100, "ghcr.io/socialsync/ingest:0.1.0"),
        "documents": (0, 3, 60, "prefork", 2, "ghcr.io/socialsync/ingest:0.1.0"),
        "scheduler": (2, 5, None, None, None, "ghcr.io/socialsync/scheduler:0.1.0"),
        "comments": (1, 3, None, None, None, "ghcr.io/socialsync/comments:0.1.0"),
    }


def test_a_queue_takes_every_field_of_its_kind() -> None:
    crd = load_all((ROOT / "operator" / "crds" / "socialsyncqueue.yaml").read_text())[0]
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    schema = json.loads((ROOT / "helm" / "socialsync" / "values.schema.json").read_text())
    ours = set(schema["definitions"]["queue"]["properties"])
    made_by_the_chart = {"queues", "worker", "image", "env", "envFrom", "podTemplate"}
    assert {*spec, *spec["worker"]["properties"]} - made_by_the_chart - {"scaleTargetRef"} <= ours


def test_queues_can_be_taken_out_and_put_in() -> None:
    assert [each["metadata"]["name"] for each in rendered("minimal").of("SocialSyncQueue")] == ["ingest"]
    extra = rendered("everything").get("SocialSyncQueue", "documents-extra")
    assert extra["spec"]["worker"]["image"] == "registry.example.com/mirror/socialsync/ingest:0.1.0-rc.1"


def test_what_differs_for_one_component_is_laid_over_what_all_have() -> None:
    manifests = rendered("everything")
    ingest = manifests.get("SocialSyncQueue", "ingest")["spec"]["worker"]["podTemplate"]
    assert ingest["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux", "example.com/pool": "workers"}
    assert ingest["metadata"]["annotations"]["example.com/queue"] == "ingest"
    assert ingest["metadata"]["annotations"]["example.com/restarted"] == "2026-11-24"
    gateway = manifests.get("Deployment", "sync-gateway")["spec"]["template"]
    assert gateway["metadata"]["labels"]["example.com/tier"] == "edge"
    assert gateway["spec"]["tolerations"][0]["key"] == "dedicated"
    assert {"name": "EXAMPLE", "value": "gateway"} in gateway["spec"]["containers"][0]["env"]
    digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    assert (
        gateway["spec"]["containers"][0]["image"]
        == f"registry.example.com/mirror/socialsync/gateway@{digest}"
    )
    flower = manifests.get("Deployment", "sync-flower")["spec"]["template"]["spec"]["containers"][0]
    assert flower["image"] == "registry.example.com/flower:2"


# --- where secrets are


@pytest.mark.parametrize(
    ("given", "name", "key"),
    [
        ((), "socialsync-env", None),
        (("externalPostgresql.existingSecret=db",), "db", None),
        (
            ("externalPostgresql.existingSecret=db", "externalPostgresql.owner.existingSecret=owner"),
            "db",
            "owner",
        ),
        (("externalPostgresql.url=postgresql://x",), "socialsync", "socialsync-env"),
        (("postgresql.enabled=true",), "socialsync-postgresql", None),
        (("postgresql.enabled=true", "postgresql.existingSecret=db"), "db", None),
    ],
)
def test_where_the_urls_of_postgres_come_from(given: tuple[str, ...], name: str, key: str | None) -> None:
    migrate = rendered("default", "install", *values(*given)).get("Job", "socialsync-migrate-0-1-0")
    env = {each["name"]: each["valueFrom"] for each in pod_spec(migrate)["containers"][0]["env"]}  # type: ignore[index]
    assert env["DATABASE_URL"]["secretKeyRef"] == {"name": name, "key": "DATABASE_URL"}
    assert env["MIGRATION_DATABASE_URL"]["secretKeyRef"] == {
        "name": key or name,
        "key": "MIGRATION_DATABASE_URL",
    }


def test_keys_of_secrets_can_be_named() -> None:
    given = values(
        "externalPostgresql.existingSecret=db",
        "externalPostgresql.key=uri",
        "externalRedis.existingSecret=cache",
        "externalRedis.key=url",
    )
    gateway = pod_spec(rendered("default", "install", *given).get("Deployment", "socialsync-gateway"))
    env = {each["name"]: each.get("valueFrom") for each in gateway["containers"][0]["env"]}  # type: ignore[index]
    assert env["DATABASE_URL"] == {"secretKeyRef": {"name": "db", "key": "uri"}}
    assert env["CELERY_BROKER_URL"] == {"secretKeyRef": {"name": "cache", "key": "url"}}
    assert env["META_APP_SECRET"] == {"secretKeyRef": {"name": "socialsync-env", "key": "META_APP_SECRET"}}
    assert env["SUPABASE_JWT_SECRET"]["secretKeyRef"]["optional"]  # type: ignore[index]


def test_what_is_not_given_is_generated() -> None:
    one, other = (Manifests(load_all(template.__wrapped__("--values", case("evaluation")))) for _ in range(2))
    stores = one.get("Secret", "socialsync-postgresql")["stringData"]
    assert stores["POSTGRES_PASSWORD"] not in stores["DATABASE_URL"]
    one, other = (each.get("Secret", "socialsync")["data"] for each in (one, other))
    assert set(one) == {"META_APP_SECRET", "META_VERIFY_TOKEN", "TOKEN_ENCRYPTION_KEYS", "FLOWER_BASIC_AUTH"}
    assert {key for key in one if one[key] == other[key]} == {"META_APP_SECRET"}
    keys = b64decode(one["TOKEN_ENCRYPTION_KEYS"]).decode()
    assert keys.startswith("k1:")
    assert TokenCipher(EncryptionSettings(token_encryption_keys=keys))


def test_nothing_is_made_beside_a_secret_that_exists() -> None:
    assert rendered("default").of("Secret") == []
    assert rendered("minimal", "upgrade").of("Secret") == []


# --- hooks


def hooks(manifests: Manifests) -> dict[str, tuple[str, int]]:
    annotated = ((each, each["metadata"].get("annotations", {})) for each in manifests)
    return {
        f"{each['kind']}/{each['metadata']['name']}": (
            notes["helm.sh/hook"],
            int(notes.get("helm.sh/hook-weight", 0)),
        )
        for each, notes in annotated
        if "helm.sh/hook" in notes
    }


def test_an_install_migrates_in_one_go_beside_pods_that_wait() -> None:
    manifests = rendered("default")
    job = manifests.get("Job", "socialsync-migrate-0-1-0")
    assert pod_spec(job)["containers"][0]["command"][-1] == "all"  # type: ignore[index]
    assert "Job/socialsync-migrate-0-1-0" not in hooks(manifests)
    assert {hook for hook, _ in hooks(manifests).values()} == {"pre-delete", "test"}


def test_an_upgrade_migrates_before_and_after() -> None:
    manifests = rendered("default", "upgrade")
    made = hooks(manifests)
    assert made["Job/socialsync-migrate-pre"] == ("pre-upgrade", 0)
    assert made["Job/socialsync-crd-upgrade"][1] < 0
    assert made["ClusterRole/socialsync-crd-upgrade"][1] < made["Job/socialsync-crd-upgrade"][1]
    assert "Job/socialsync-migrate-post-1" not in made
    post = pod_spec(manifests.get("Job", "socialsync-migrate-post-1"))
    assert post
    assert [each["name"] for each in containers(post)] == ["rolled-out", "wait", "migrate"]
    images = post["initContainers"][0]["args"][2:]
    running = {
        *(queue["spec"]["worker"]["image"] for queue in manifests.of("SocialSyncQueue")),
        manifests.get("Deployment", "socialsync-gateway")["spec"]["template"]["spec"]["containers"][0][
            "image"
        ],
    }
    assert set(images) == running


def test_a_hook_reads_urls_that_are_given_by_value_from_a_secret_of_its_own() -> None:
    manifests = rendered("everything", "upgrade")
    secret = manifests.get("Secret", "sync-migrate-pre")
    assert set(secret["stringData"]) == {"DATABASE_URL"}
    assert hooks(manifests)["Secret/sync-migrate-pre"] == ("pre-upgrade", -1)
    pre = pod_spec(manifests.get("Job", "sync-migrate-pre"))
    env = {each["name"]: each.get("valueFrom") for each in pre["containers"][0]["env"]}  # type: ignore[index]
    assert env["DATABASE_URL"]["secretKeyRef"]["name"] == "sync-migrate-pre"  # type: ignore[index]
    assert env["MIGRATION_DATABASE_URL"]["secretKeyRef"] == {"name": "db-owner", "key": "uri"}  # type: ignore[index]


def test_uninstalling_drains_the_queues_within_helm_s_patience() -> None:
    manifests = rendered("default")
    made = hooks(manifests)
    assert made["Job/socialsync-uninstall"] == ("pre-delete", 0)
    assert made["Role/socialsync-uninstall"] == ("pre-delete", -10)
    job = manifests.get("Job", "socialsync-uninstall")
    container = pod_spec(job)["containers"][0]  # type: ignore[index]
    assert container["args"] == ["app.kubernetes.io/instance=socialsync", "--seconds=240"]
    assert job["spec"]["activeDeadlineSeconds"] < 300
    assert all(
        "app.kubernetes.io/instance" in each["metadata"]["labels"] for each in manifests.of("SocialSyncQueue")
    )


def test_the_crd_is_installed_by_helm_and_upgraded_by_a_hook() -> None:
    source = (ROOT / "operator" / "crds" / "socialsyncqueue.yaml").read_text()
    assert load_all(template("--values", case("default"), "--include-crds"))[0] == load_all(source)[0]
    upgrade = rendered("default", "upgrade").get("ConfigMap", "socialsync-crd-upgrade")["data"]
    assert yaml.safe_load(upgrade["socialsyncqueue.yaml"]) == yaml.safe_load(source)


# --- network


def test_stores_let_in_who_has_their_url() -> None:
    manifests = rendered("evaluation", "install", *values("networkPolicy.enabled=true"))
    for store, urls in {
        "postgresql": {"DATABASE_URL", "MIGRATION_DATABASE_URL"},
        "redis": {"CELERY_BROKER_URL"},
    }.items():
        rule = manifests.get("NetworkPolicy", f"socialsync-{store}")["spec"]["ingress"]
        (expression,) = rule[0]["from"][0]["podSelector"]["matchExpressions"]
        clients = {name for name, secrets in SECRETS.items() if secrets & urls}
        assert set(expression["values"]) == clients


def test_nobody_else_gets_in() -> None:
    manifests = rendered("everything")
    deny = manifests.get("NetworkPolicy", "sync-deny-ingress")["spec"]
    assert "ingress" not in deny
    for each in workloads(manifests):
        assert deny["podSelector"]["matchLabels"].items() <= template_labels(each).items()
    gateway = manifests.get("NetworkPolicy", "sync-gateway")["spec"]["ingress"][0]["from"]
    assert len(gateway) == 2  # those that are given, and helm test
    open_to_all = rendered("default", "install", *values("networkPolicy.enabled=true"))
    assert "from" not in open_to_all.get("NetworkPolicy", "socialsync-gateway")["spec"]["ingress"][0]
    assert "NetworkPolicy/socialsync-flower" not in open_to_all.names()


def test_the_gateway_can_be_exposed_twice() -> None:
    manifests = rendered("everything")
    hosts = [rule["host"] for rule in manifests.get("Ingress", "sync-gateway")["spec"]["rules"]]
    assert hosts == ["hooks.example.com", "hooks.example.org"]
    route: Any = manifests.get("HTTPRoute", "sync-gateway")["spec"]
    service = manifests.get("Service", "sync-gateway")
    assert route["rules"][0]["backendRefs"] == [
        {"name": service["metadata"]["name"], "port": service["spec"]["ports"][0]["port"]}
    ]
