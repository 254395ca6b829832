"""The chart as tests see it: what ``helm template`` makes of values."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from helm.tools import find

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "socialsync"
CASES = sorted(path.stem for path in (CHART / "ci").glob("*.yaml"))
RELEASE = "socialsync"

# environment variables from Secrets, by component
SECRETS = {
    "gateway": {
        *(
            "DATABASE_URL",
            "CELERY_BROKER_URL",
            "META_APP_SECRET",
            "INSTAGRAM_APP_SECRET",
            "META_VERIFY_TOKEN",
        ),
        *("SUPABASE_JWT_SECRET", "SUPABASE_SERVICE_ROLE_KEY", "TOKEN_ENCRYPTION_KEYS"),
    },
    "operator": {"CELERY_BROKER_URL"},
    "beat": {"CELERY_BROKER_URL"},
    "flower": {"CELERY_BROKER_URL", "FLOWER_BASIC_AUTH"},
    "worker": {"DATABASE_URL", "CELERY_BROKER_URL", "TOKEN_ENCRYPTION_KEYS", "META_APP_SECRET", "AI_API_KEY"},
    "migrations": {"DATABASE_URL", "MIGRATION_DATABASE_URL"},
    "postgresql": {"POSTGRES_PASSWORD"},
    "redis": {"REDIS_PASSWORD"},
}

Json = dict[str, Any]


def case(name: str) -> Path:
    """The values file of that name in ``ci/``."""
    return CHART / "ci" / f"{name}.yaml"


def helm(*arguments: str | Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs helm, whatever is in the user's own configuration of it."""
    with tempfile.TemporaryDirectory(prefix="helm-") as home:
        own = {f"HELM_{each}_HOME": home for each in ("CACHE", "CONFIG", "DATA")}
        done = subprocess.run(
            [find("helm"), *arguments],
            env={**os.environ, **own, **environment},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    if check and done.returncode != 0:
        raise AssertionError(f"helm {' '.join(map(str, arguments))}: {done.stderr}{done.stdout}")
    return done


def load_all(text: str) -> list[Json]:
    """The YAML documents of a text that are not empty."""
    # libyaml is ten times as fast
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [each for each in yaml.load_all(text, loader) if each]


@dataclass(frozen=True)
class Manifests:
    """Objects of a release."""

    objects: Sequence[Json]

    def __iter__(self) -> Iterator[Json]:
        return iter(self.objects)

    def get(self, kind: str, name: str) -> Json:
        found = [each for each in self.objects if (each["kind"], each["metadata"]["name"]) == (kind, name)]
        assert len(found) == 1, f"{len(found)} of {kind}/{name} among {sorted(self.names())}"
        return found[0]

    def of(self, kind: str) -> list[Json]:
        return [each for each in self.objects if each["kind"] == kind]

    def names(self) -> set[str]:
        return {f"{each['kind']}/{each['metadata']['name']}" for each in self.objects}

    def pod_specs(self) -> Iterator[tuple[str, Json]]:
        """Each pod spec, with the name of what makes pods of it; workers' as the chart gives it to the operator."""
        for each in self.objects:
            if found := pod_spec(each):
                yield f"{each['kind']}/{each['metadata']['name']}", found


def pod_spec(manifest: Json) -> Json | None:
    spec: Json = manifest.get("spec", {})
    if manifest["kind"] == "Pod":
        return spec
    if manifest["kind"] == "SocialSyncQueue":
        return dict(spec["worker"]["podTemplate"]["spec"])
    return dict(spec["template"]["spec"]) if "template" in spec else None


def containers(spec: Json) -> list[Json]:
    return [*spec.get("initContainers", ()), *spec["containers"]]


def values(*sets: str) -> list[str]:
    """Arguments for ``--set``."""
    return [part for each in sets for part in ("--set", each)]


@cache
def template(*arguments: str | Path, namespace: str = "socialsync") -> str:
    # a helm that was built without its version takes an old cluster for granted
    return helm(
        "template", RELEASE, CHART, "--namespace", namespace, "--kube-version", "1.34.0", *arguments
    ).stdout


def render(name: str, *arguments: str | Path, namespace: str = "socialsync") -> Manifests:
    """The objects of a case from ``ci/``."""
    text = template("--values", case(name), *arguments, namespace=namespace)
    return Manifests(load_all(text))


def rendered(name: str, how: str = "install", *arguments: str) -> Manifests:
    """The same, as an install or an upgrade would have them."""
    return render(name, *(["--is-upgrade"] if how == "upgrade" else []), *arguments)


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


def secrets_wanted(manifest: Json) -> set[str]:
    """Those that a workload's main container should have. Who publishes posts asks no model."""
    found = SECRETS.get(component(manifest), set())
    publishes = component(manifest) == "worker" and "/scheduler" in manifest["spec"]["worker"]["image"]
    return found - {"AI_API_KEY"} if publishes else found


def workloads(manifests: Manifests) -> Iterator[Json]:
    return (each for each in manifests if pod_spec(each))


def refused(*arguments: str | Path) -> str:
    """What helm says of values that it does not take."""
    done = helm("template", RELEASE, CHART, "--kube-version", "1.34.0", *arguments, check=False)
    assert done.returncode != 0, "it was rendered"
    return done.stderr
