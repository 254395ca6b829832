"""What the chart promises of each component, of secrets, of hooks and of the network."""

from __future__ import annotations

import json
from base64 import b64decode
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import yaml

from helm.chart import (
    ROOT,
    SECRETS,
    Manifests,
    case,
    containers,
    load_all,
    pod_spec,
    rendered,
    template,
    template_labels,
    values,
    workloads,
)
from socialsync_common.contracts import Lane
from socialsync_common.crypto import TokenCipher
from socialsync_common.fetching import is_public
from socialsync_common.settings import EncryptionSettings
from socialsync_gateway.media.spool import UploadLimits

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


def test_the_gateway_has_room_for_all_uploads_that_it_takes_at_once() -> None:
    limits = UploadLimits()
    for queue in rendered("default").of("SocialSyncQueue"):
        assert _room(queue["spec"]["worker"]["podTemplate"]["spec"]) == "1Gi"
    room = _room(rendered("default").get("Deployment", "socialsync-gateway")["spec"]["template"]["spec"])
    assert int(room.removesuffix("Gi")) << 30 >= limits.uploads * limits.video_bytes
    assert (
        _room(rendered("everything").get("Deployment", "sync-gateway")["spec"]["template"]["spec"]) == "5Gi"
    )


def _room(spec: Any) -> str:
    found: str = next(each for each in spec["volumes"] if each["name"] == "tmp")["emptyDir"]["sizeLimit"]
    return found


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ((), None),
        (("gateway.ingress.hosts={a.example.com}",), None),
        (("gateway.ingress.enabled=true",), None),
        (("gateway.ingress.enabled=true", "gateway.ingress.hosts={a.example.com,b.example.com}"), "https://a.example.com"),
        (("gateway.ingress.enabled=true", "gateway.ingress.hosts={*.example.com}"), None),
        (
            ("gateway.httpRoute.enabled=true", "gateway.httpRoute.hostnames={c.example.com}",
             "gateway.httpRoute.parentRefs[0].name=public"),
            "https://c.example.com",
        ),
        (
            ("gateway.ingress.enabled=true", "gateway.ingress.hosts={a.example.com}",
             "config.PUBLIC_URL=https://d.example.com/"),
            "https://d.example.com",
        ),
    ],
)  # fmt: skip
def test_where_the_internet_reaches_the_gateway(given: tuple[str, ...], url: str | None) -> None:
    config = rendered("default", "install", *values(*given)).get("ConfigMap", "socialsync")["data"]
    assert config.get("PUBLIC_URL") == url


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
        "scheduler": (2, 5, None, "threads", 16, "ghcr.io/socialsync/scheduler:0.1.0"),
        "comments": (1, 3, None, "threads", 32, "ghcr.io/socialsync/comments:0.1.0"),
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


def test_pods_reach_what_they_have_to_and_no_more() -> None:
    manifests = rendered("everything")

    def egress(name: str) -> tuple[set[str], Any]:
        policy = manifests.get("NetworkPolicy", f"sync-egress{name}")["spec"]
        selector = policy["podSelector"]
        of = {each for one in selector.get("matchExpressions", ()) for each in one["values"]}
        return of, policy["egress"]

    # policies add up: one that holds for all must not let the gateway into private networks
    everyone, rules = egress("")
    assert everyone == set()
    assert not {80, 443} & {port["port"] for rule in rules for port in rule.get("ports", ())}
    talking, _ = egress("-kubernetes")
    assert talking == {
        labels["app.kubernetes.io/component"]
        for how in ("install", "upgrade")
        for each in workloads(rendered("everything", how))
        if (labels := template_labels(each)) and (pod_spec(each) or {}).get("automountServiceAccountToken")
    }
    for name, ports in (("gateway", [80, 443]), ("worker", [443])):
        of, (rule,) = egress("-gateway" if name == "gateway" else "-workers")
        assert of == {name}
        assert [each["port"] for each in rule["ports"]] == ports
        for address in ("10.1.2.3", "127.0.0.1", "169.254.169.254", "192.168.0.1", "172.20.0.1", "100.64.0.1",
                        "::1", "fe80::1", "fd00::1", "2002:a00:1::", "224.0.0.1", "255.255.255.255"):  # fmt: skip
            assert not _reaches(rule, address), address
        for address in ("157.240.1.1", "2a03:2880:f10d::1", "8.8.8.8", "172.32.0.1"):
            assert _reaches(rule, address), address
            assert is_public(address)


def _reaches(rule: Any, address: str) -> bool:
    ip = ip_address(address)
    return any(
        ip in ip_network(block["cidr"]) and not any(ip in ip_network(each) for each in block["except"])
        for block in (each["ipBlock"] for each in rule["to"])
    )


def test_flower_can_be_scraped() -> None:
    manifests = rendered("everything")
    monitor = manifests.get("ServiceMonitor", "sync-flower")
    service = manifests.get("Service", "sync-flower")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["endpoints"] == [{"port": "http", "path": "/metrics", "interval": "15s"}]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_the_gateway_can_be_exposed_twice() -> None:
    manifests = rendered("everything")
    hosts = [rule["host"] for rule in manifests.get("Ingress", "sync-gateway")["spec"]["rules"]]
    assert hosts == ["hooks.example.com", "hooks.example.org"]
    route: Any = manifests.get("HTTPRoute", "sync-gateway")["spec"]
    service = manifests.get("Service", "sync-gateway")
    assert route["rules"][0]["backendRefs"] == [
        {"name": service["metadata"]["name"], "port": service["spec"]["ports"][0]["port"]}
    ]
