"""What is written about the chart is true, and what is made from it is current."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import psycopg
import pytest
import yaml

from helm.chart import CHART, ROOT, load_all, refused, template
from helm.generate import INSTALL, K8S, NAMESPACE, OVERLAYS, README, Json, generated, objects_of, stale
from helm.tools import find
from socialsync_cli.embedded import EmbeddedPostgres
from socialsync_common.migrate import migrate, pending
from support import server_folder

# flags of install and upgrade that a template does not know, with the number of their arguments
_NOT_FOR_TEMPLATES = {"--wait": 0, "--timeout": 1, "--create-namespace": 0}


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text("utf-8"), re.DOTALL)


def test_what_is_made_from_the_chart_is_current() -> None:
    assert stale(generated()) == [], "run `make charts`"


# --- k8s/


def built(path: Path) -> dict[tuple[str, str], Json]:
    done = subprocess.run(
        [find("kubectl"), "kustomize", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return {(each["kind"], each["metadata"]["name"]): each for each in load_all(done.stdout)}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_what_helm_makes_of_its_values(overlay: str) -> None:
    made = built(K8S / "overlays" / overlay)
    namespace = made.pop(("Namespace", NAMESPACE))
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    wanted = objects_of(overlay)
    for manifest in wanted.values():
        manifest["metadata"]["namespace"] = NAMESPACE
    assert made == wanted


def test_the_crd_can_be_applied_on_its_own() -> None:
    assert list(built(K8S / "crds")) == [("CustomResourceDefinition", "socialsyncqueues.socialsync.ai")]


def test_the_secrets_that_the_overlays_need_are_those_that_are_named() -> None:
    named = set(re.findall(r"`([A-Z_]{6,})`|^([A-Z_]{6,})=", (K8S / "README.md").read_text(), re.MULTILINE))
    text = "".join(path.read_text() for path in K8S.glob("**/*.yaml"))
    assert set(re.findall(r"key: ([A-Z_]+)", text)) == {one or other for one, other in named}


# --- commands


def commands(path: Path) -> list[list[str]]:
    """Each ``helm install`` and ``helm upgrade``, as arguments."""
    lines = "\n".join(blocks(path, "sh")).replace("\\\n", " ").splitlines()
    split = (shlex.split(line, comments=True) for line in lines if line.startswith("helm "))
    return [each for each in split if each[1] in ("install", "upgrade")]


@pytest.mark.parametrize("path", [INSTALL, README], ids=lambda path: path.stem)
def test_what_is_told_to_type_works(path: Path, tmp_path: Path) -> None:
    found = commands(path)
    assert found
    files = [each for each in blocks(path, "yaml") if each.startswith("# values.yaml")] or [""]
    for values in files:
        (tmp_path / "values.yaml").write_text(values)
        for _, command, name, chart, *arguments in found:
            assert (name, chart) == ("socialsync", "helm/socialsync")
            given = list(arguments)
            while flags := [each for each in given if each in _NOT_FOR_TEMPLATES]:
                at = given.index(flags[0])
                del given[at : at + 1 + _NOT_FOR_TEMPLATES[flags[0]]]
            given = [str(tmp_path / each) if each == "values.yaml" else each for each in given]
            assert template(*given, *(["--is-upgrade"] if command == "upgrade" else []))


def test_the_examples_of_manifests_can_be_read() -> None:
    for block in blocks(INSTALL, "yaml"):
        assert yaml.safe_load(block)


def test_every_value_that_is_named_exists() -> None:
    text = INSTALL.read_text("utf-8")
    for path in re.findall(r"`((?:config|secrets|migrations|postgresql|queues)\.[\w.]+)`", text):
        assert "additional propert" not in refused("--set", f"{path}=").lower()


def test_a_database_that_is_prepared_as_told_can_be_migrated_by_its_owner() -> None:
    roles, extension = blocks(INSTALL, "sql")
    with server_folder() as folder, EmbeddedPostgres(folder, {"fsync": "off"}) as server:
        for url, block in ((server.url, roles), (server.url_of("socialsync"), extension)):
            with psycopg.connect(url, autocommit=True) as connection:
                for statement in block.split(";"):
                    if statement.strip():
                        connection.execute(statement)  # type: ignore[call-overload]
        owner = server.url_of("socialsync", "socialsync_owner", "another-password")
        assert migrate(owner, "socialsync", "a-password")
        with psycopg.connect(server.url_of("socialsync", "socialsync", "a-password")) as connection:
            assert pending(connection) == []


def test_the_chart_s_version_is_that_of_the_project() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert project
    assert chart["appVersion"] == project[1]
