"""What the chart promises of each object, over all cases of values."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import kubernetes_validate
import pytest

from helm.chart import (
    CASES,
    CHART,
    ROOT,
    Json,
    case,
    component,
    containers,
    helm,
    load_all,
    pod_spec,
    rendered,
    secrets_of,
    secrets_wanted,
    template,
    template_labels,
    values,
    workloads,
)
from socialsync_operator.deployment import deployment_manifest
from socialsync_operator.spec import parse_queue

STORES = ("postgresql", "redis")  # other people's images
BOTH = pytest.mark.parametrize("how", ["install", "upgrade"])
ALL = pytest.mark.parametrize("name", CASES)


# --- every object


@ALL
def test_helm_s_own_lint_has_nothing_to_say(name: str) -> None:
    helm("lint", CHART, "--strict", "--quiet", "--kube-version", "1.34.0", "--values", case(name))


def test_the_package_holds_all_that_is_needed(tmp_path: Path) -> None:
    helm("package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.glob("*.tgz")
    options = ("--namespace", "socialsync", "--kube-version", "1.34.0", "--is-upgrade", "--include-crds")
    packed = helm("template", "socialsync", package, *options, "--values", case("default")).stdout
    assert packed == template("--values", case("default"), "--is-upgrade", "--include-crds")


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
        if each["kind"] not in ("SocialSyncQueue", "HTTPRoute", "ServiceMonitor"):
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
        assert secrets_of(main) == secrets_wanted(each), each["metadata"]["name"]
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
