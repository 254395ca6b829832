"""The chart against a real API server: installed, upgraded, rolled back, tested and uninstalled."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import yaml

from control_plane import ControlPlane
from helm.chart import CASES, CHART, RELEASE, case, helm, load_all, template, values
from helm.jobs import Jobs, environment
from kubelet import Fleet, Kubelet, create_node
from operator_process import Operator, until
from socialsync_cli.embedded import EmbeddedPostgres, EmbeddedRedis
from socialsync_cli.processes import free_port, spawn, stop
from socialsync_common.kubernetes_api import MERGE_PATCH

pytestmark = pytest.mark.integration

Json = dict[str, Any]
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/socialsyncqueues.socialsync.ai"


class _Pods:
    """Every pod comes up at once, and workers report; helm's test is a Job of sorts, and not ours to run."""

    def __init__(self, fleets: dict[str, Fleet]) -> None:
        self._fleets = fleets

    def start(self, pod: Json) -> bool:
        labels = pod["metadata"]["labels"]
        if fleet := self._fleets.get(labels.get("socialsync.ai/queue")):
            return fleet.start(pod)
        return bool(labels["app.kubernetes.io/component"] != "test")

    def stop(self, pod: Json) -> bool:
        fleet = self._fleets.get(pod["metadata"]["labels"].get("socialsync.ai/queue"))
        return fleet.stop(pod) if fleet else True


@dataclass
class Installation:
    """A release in a namespace, with real Postgres and Redis, and Jobs that really run."""

    plane: ControlPlane
    namespace: str
    jobs: Jobs
    urls: dict[str, str]

    def helm(
        self, command: str, *arguments: str | Path, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        chart = (CHART,) if command in ("install", "upgrade") else ()
        given = ("--values", case("default")) if chart else ()
        where = ("--namespace", self.namespace, "--kubeconfig", self.plane.kubeconfig, "--timeout", "60s")
        return helm(command, RELEASE, *chart, *given, *where, *arguments, check=check)

    def create_secret(self) -> None:
        keys = {
            "META_APP_SECRET": "the-app-secret",
            "META_VERIFY_TOKEN": "verify-me",
            "TOKEN_ENCRYPTION_KEYS": "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            "FLOWER_BASIC_AUTH": "admin:pw",
        }
        manifest = {"metadata": {"name": "socialsync-env"}, "stringData": {**keys, **self.urls}}
        self.plane.api.request("POST", f"/api/v1/namespaces/{self.namespace}/secrets", manifest)

    def object(self, group: str, kind: str, name: str) -> Json:
        return self.plane.api.get(f"{group}/namespaces/{self.namespace}/{kind}/{name}")

    def objects(self, group: str, kind: str, **query: str) -> list[Json]:
        return list(self.plane.api.get(f"{group}/namespaces/{self.namespace}/{kind}", **query)["items"])

    def queues(self) -> dict[str, Json]:
        found = self.objects("/apis/socialsync.ai/v1alpha1", "socialsyncqueues")
        return {each["metadata"]["name"]: each for each in found}

    def deployment(self, name: str) -> Json:
        return self.object("/apis/apps/v1", "deployments", name)

    def secret(self, name: str) -> dict[str, str]:
        return dict(self.object("/api/v1", "secrets", name)["data"])


@pytest.fixture
def installation(
    plane: ControlPlane,
    namespace: str,
    postgres: EmbeddedPostgres,
    redis_server: EmbeddedRedis,
    redis_client: redis.Redis,
    tmp_path: Path,
) -> Iterator[Installation]:
    database = f"chart_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database}")
    urls = {
        "DATABASE_URL": postgres.url_of(database, "socialsync"),
        "MIGRATION_DATABASE_URL": postgres.url_of(database),
        "CELERY_BROKER_URL": redis_server.url,
    }
    create_node(plane.api)
    with ExitStack() as started:
        queues = ("ingest", "documents", "scheduler", "comments")
        fleets = {name: started.enter_context(Fleet(redis_client, name)) for name in queues}
        started.enter_context(Kubelet(plane.api, namespace, _Pods(fleets)))
        jobs = started.enter_context(Jobs(plane, namespace, tmp_path))
        yield Installation(plane, namespace, jobs, urls)
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {database} WITH (FORCE)")


@contextmanager
def operator_of(installation: Installation, folder: Path) -> Iterator[Operator]:
    """The operator as the service account that the chart made for it."""
    here = installation
    operator = Operator(here.plane, here.namespace, here.urls["CELERY_BROKER_URL"], folder)
    operator.start()
    try:
        yield operator
    finally:
        for replica in operator.replicas:
            replica.stop()


@pytest.mark.parametrize("how", ["install", "upgrade"])
@pytest.mark.parametrize("name", CASES)
def test_the_api_server_takes_every_object_strictly(
    plane: ControlPlane, namespace: str, name: str, how: str
) -> None:
    plane.install(CHART / "crds" / "socialsyncqueue.yaml")
    text = template(
        "--values", case(name), *(["--is-upgrade"] if how == "upgrade" else []), namespace=namespace
    )
    # that kind is not served here
    objects = [each for each in load_all(text) if each["kind"] not in ("HTTPRoute", "ServiceMonitor")]
    answer = plane.kubectl(
        *("apply", "--server-side", "--dry-run=server", "--validate=strict", "-n", namespace, "-f", "-"),
        stdin=yaml.safe_dump_all(objects),
        check=False,
    )
    lines = answer.splitlines()
    assert [line for line in lines if not line.endswith("serverside-applied (server dry run)")] == []
    assert len(lines) == len(objects)


@pytest.mark.parametrize("name", CASES)
def test_the_notes_tell_what_to_do_next(plane: ControlPlane, namespace: str, name: str) -> None:
    plane.install(CHART / "crds" / "socialsyncqueue.yaml")
    where = ("--namespace", namespace, "--kubeconfig", plane.kubeconfig)
    given = (
        "--values",
        case(name),
        *values("gateway.httpRoute.enabled=false"),
    )  # that kind is not served here
    printed = helm("install", RELEASE, CHART, "--dry-run=client", *given, *where).stdout
    notes = printed.partition("NOTES:")[2]
    assert f"kubectl -n {namespace} get ssq" in notes
    assert f"helm -n {namespace} test socialsync" in notes
    assert "/api/whatsapp/webhook" in notes
    if name == "everything":
        assert "https://social.example.com/api/whatsapp/webhook" in notes
        assert "https://social.example.com/api/oauth/instagram/callback" in notes
        assert "https://social.example.com/api/oauth/facebook/callback" in notes
    else:
        assert "config.PUBLIC_URL" in notes
        assert "config.INSTAGRAM_APP_ID" in notes


@pytest.mark.timeout(240)
def test_a_release_s_life(installation: Installation, tmp_path: Path) -> None:
    here, api = installation, installation.plane.api
    here.create_secret()

    here.helm("install")
    assert set(here.queues()) == {"ingest", "documents", "scheduler", "comments"}
    until(lambda: "applied 0001_pre" in here.jobs.logs.get("socialsync-migrate-0-1-0", ""))
    with operator_of(here, tmp_path):
        until(lambda: here.deployment("ingest")["status"].get("readyReplicas") == 3)
        worker = here.deployment("ingest")["spec"]["template"]
        assert worker["metadata"]["labels"]["app.kubernetes.io/instance"] == RELEASE
        assert [each["name"] for each in worker["spec"]["initContainers"]] == ["wait"]
        assert worker["spec"]["securityContext"]["runAsUser"] == 65532

        # a new version of the images meets an older CRD
        uids = {name: each["metadata"]["uid"] for name, each in here.queues().items()}
        api.request("PATCH", CRD, {"spec": {"names": {"categories": []}}}, content_type=MERGE_PATCH)
        until(here.queues)
        here.helm("upgrade", *values("image.tag=0.2.0"))
        assert "at generation" in here.jobs.logs["socialsync-crd-upgrade"]
        assert api.get(CRD)["spec"]["names"]["categories"] == ["socialsync"]
        assert here.jobs.logs["socialsync-migrate-pre"].splitlines()[-1] == "postgres is there"
        until(lambda: "only this version runs" in here.jobs.logs.get("socialsync-migrate-post-2", ""), 60)
        assert here.deployment("ingest")["spec"]["template"]["spec"]["containers"][0]["image"].endswith(
            ":0.2.0"
        )

        here.helm("rollback", "1")
        assert {name: each["metadata"]["uid"] for name, each in here.queues().items()} == uids
        until(lambda: here.queues()["ingest"]["spec"]["worker"]["image"].endswith(":0.1.0"))

        with running_gateway(here, tmp_path) as url:
            here.jobs.replaced["http://socialsync-gateway:80"] = url
            here.helm("test")
        assert "the gateway and all queues are ready" in here.jobs.logs["socialsync-test"]

        here.helm("uninstall")
        assert "all queues are drained" in here.jobs.logs["socialsync-uninstall"]
        assert here.queues() == {}
    until(lambda: here.objects("/apis/apps/v1", "deployments") == [])
    left = {
        kind: [each["metadata"]["name"] for each in here.objects(group, kind)]
        for group, kind in (
            ("/api/v1", "serviceaccounts"),
            ("/apis/rbac.authorization.k8s.io/v1", "roles"),
            ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
            ("/apis/policy/v1", "poddisruptionbudgets"),
            ("/apis/batch/v1", "jobs"),
            ("/api/v1", "pods"),
            ("/api/v1", "secrets"),
        )
    }
    assert left == {
        "serviceaccounts": ["default"],
        "roles": [],
        "rolebindings": [],
        "poddisruptionbudgets": [],
        "jobs": [],
        "pods": [],
        "secrets": ["socialsync-env"],
    }
    cluster_roles = api.get("/apis/rbac.authorization.k8s.io/v1/clusterroles")["items"]
    assert not [each for each in cluster_roles if each["metadata"]["name"].startswith(RELEASE)]
    assert api.get(CRD)  # and with it the queues of other namespaces


@contextmanager
def running_gateway(installation: Installation, folder: Path) -> Iterator[str]:
    """As its Deployment says, but for the port."""
    container = installation.deployment("socialsync-gateway")["spec"]["template"]["spec"]["containers"][0]
    port = free_port()
    argv = [sys.executable, *(str(port) if each == "8000" else each for each in container["command"][1:])]
    with (folder / "gateway.log").open("wb") as output:
        own = environment(installation.plane, installation.namespace, container)
        process = spawn(argv, output=output, env=own)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(process, (15, 25))


def test_a_migration_that_fails_stops_the_upgrade(installation: Installation) -> None:
    here = installation
    here.create_secret()
    here.helm("install")
    until(lambda: "applied 0001_pre" in here.jobs.logs.get("socialsync-migrate-0-1-0", ""))
    before = here.deployment("socialsync-gateway"), here.queues()["ingest"]["spec"]
    with psycopg.connect(here.urls["MIGRATION_DATABASE_URL"], autocommit=True) as connection:
        connection.execute("UPDATE schema_migrations SET checksum = 'another'")

    failed = here.helm("upgrade", *values("image.tag=0.2.0"), check=False)

    assert failed.returncode != 0
    assert "was changed after it was applied" in here.jobs.logs["socialsync-migrate-pre"]
    after = here.deployment("socialsync-gateway"), here.queues()["ingest"]["spec"]
    assert after[0]["metadata"]["generation"] == before[0]["metadata"]["generation"]
    assert after[1] == before[1]

    # the failed Job can be looked at, and goes with the release
    def jobs() -> set[str]:
        return {each["metadata"]["name"] for each in here.objects("/apis/batch/v1", "jobs")}

    assert "socialsync-migrate-pre" in jobs()
    here.helm("uninstall", "--no-hooks")
    until(lambda: "socialsync-migrate-pre" not in jobs())


def test_generated_secrets_outlive_upgrades_and_the_release(plane: ControlPlane, namespace: str) -> None:
    names = ("socialsync", "socialsync-postgresql", "socialsync-redis")
    where = ("--namespace", namespace, "--kubeconfig", plane.kubeconfig, "--no-hooks")

    def run(command: str, *sets: str) -> dict[str, dict[str, str]]:
        given = ("--values", case("evaluation"), *values("postgresql.persistence.enabled=true", *sets))
        helm(command, RELEASE, CHART, *given, *where)
        secrets = plane.api.get(f"/api/v1/namespaces/{namespace}/secrets")["items"]
        return {
            each["metadata"]["name"]: each["data"] for each in secrets if each["metadata"]["name"] in names
        }

    first = run("install")
    assert set(first) == set(names)
    assert run("upgrade") == first

    changed = run("upgrade", "secrets.values.META_VERIFY_TOKEN=another")
    assert changed["socialsync"].pop("META_VERIFY_TOKEN") != first["socialsync"].pop("META_VERIFY_TOKEN")
    assert changed == first

    helm("uninstall", RELEASE, *where)
    again = run("install")
    again["socialsync"].pop("META_VERIFY_TOKEN")
    assert again["socialsync-redis"] != first.pop("socialsync-redis")  # it has nothing to keep
    assert {name: again[name] for name in first} == first
