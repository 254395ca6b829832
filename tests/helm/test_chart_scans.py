"""kube-score and checkov have nothing to say but what ``exceptions.yaml`` gives a reason for."""

from __future__ import annotations

import json
import os
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.chart import CASES, case, template
from helm.scanners import folder, missing

EXCEPTIONS = yaml.safe_load((Path(__file__).parent / "exceptions.yaml").read_text())
Findings = dict[str, set[str]]  # names of objects by what is wrong with them


@pytest.fixture(autouse=True)
def installed() -> None:
    if absent := missing():
        message = f"{', '.join(absent)} not installed: run `make scanners`"
        if os.environ.get("CI"):
            raise RuntimeError(message)
        pytest.skip(message)


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One file for each case, installed and upgraded."""
    made = []
    for name in CASES:
        for how, flags in (("install", ()), ("upgrade", ("--is-upgrade",))):
            made.append(tmp_path_factory.mktemp("manifests") / f"{name}-{how}.yaml")
            made[-1].write_text(template("--values", case(name), *flags))
    return made


def run(home: Path, *arguments: str | Path) -> Any:
    done = subprocess.run(
        arguments, capture_output=True, text=True, env={**os.environ, "HOME": str(home)}, check=False
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def check(findings: Findings, exceptions: dict[str, Any]) -> None:
    for what, names in findings.items():
        assert what in exceptions, f"{what}: {sorted(names)}"
        if ends := exceptions[what].get("only"):
            assert not [name for name in names if not name.endswith(tuple(ends))], what
    assert not set(exceptions) - set(findings), "an exception that nothing needs"


def test_kube_score(manifests: list[Path], tmp_path: Path) -> None:
    findings: Findings = defaultdict(set)
    for path in manifests:
        command = (
            folder() / "kube-score",
            "score",
            "--kubernetes-version",
            "v1.34",
            "--output-format",
            "json",
            path,
        )
        for scored in run(tmp_path, *command):
            for each in scored["checks"]:
                if not each["skipped"] and each["grade"] < 7:  # 10 is well, 7 is almost
                    findings[each["check"]["id"]].add(scored["object_meta"]["name"])
    check(findings, EXCEPTIONS["kube-score"])


@pytest.mark.timeout(180)
def test_checkov(manifests: list[Path], tmp_path: Path) -> None:
    findings: Findings = defaultdict(set)
    # apart, since the network policies of the one case would speak for the pods of the others
    everything = [path for path in manifests if path.stem.startswith("everything")]
    for paths in (everything, [path for path in manifests if path not in everything]):
        files = [part for path in paths for part in ("--file", path)]
        options = ("--framework", "kubernetes", "--skip-download", "--quiet", "--output", "json")
        for failed in run(tmp_path, folder() / "checkov", *options, *files)["results"]["failed_checks"]:
            # Kind.namespace.name, for pods of a template followed by their labels
            findings[failed["check_id"]].add(failed["resource"].split(".")[2])
    check(findings, EXCEPTIONS["checkov"])
