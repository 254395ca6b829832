"""What the docs show is what the tools print. WRITE_DOCS=1 writes it anew."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import redis
import yaml

from kubelet import Fleet, Kubelet
from operator_process import Operator, until

pytestmark = pytest.mark.integration

DOC = Path(__file__).parents[2] / "docs" / "reference" / "socialsyncqueue.md"
_VOLATILE = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
    (r"\b\d+(m\d+)?s\b", "AGE"),
    (r"for \d+ s", "for N s"),
    (r"(Resource Version: +|UID: +|Namespace: +|Generation: +)\S+", r"\1X"),
    (r"(Arrivals Per Minute: +|arrivals a minute +)\d+", r"\1N"),
    (r" +", " "),
)


def block(text: str, name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n```\n(.*?)```", text, re.DOTALL)
    assert found, f"{DOC}: no block {name}"
    return found.group(1)


def normal(text: str) -> list[str]:
    for pattern, stands_for in _VOLATILE:
        text = re.sub(pattern, stands_for, text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def example() -> dict[str, object]:
    found = re.search(r"```yaml\n(.*?)```", DOC.read_text(), re.DOTALL)
    assert found
    spec: dict[str, object] = yaml.safe_load(found.group(1))["spec"]
    return spec


def test_the_reference_shows_what_is_printed(operator: Operator, redis_client: redis.Redis) -> None:
    fleet = Fleet(redis_client, "ingest", slots=100)
    with fleet, Kubelet(operator.plane.api, operator.namespace, fleet):
        operator.create(**example())
        until(lambda: operator.ready() == 3)
        until(lambda: operator.status().get("idleReplicas") == 3)
        fleet.holding = True
        fleet.send(240)
        until(lambda: operator.ready() == 10)
        until(lambda: operator.status().get("idleReplicas") == 10)
        until(lambda: operator.condition("Ready")["status"] == "True")
        until(lambda: operator.status()["slotsPerReplica"] == 100)
        at = ("-n", operator.namespace)
        printed = {
            "get": operator.plane.kubectl("get", "ssq", *at),
            "describe": operator.plane.kubectl("describe", "ssq", "ingest", *at),
            "cli": _explain(operator),
            "explain": operator.plane.kubectl("explain", "ssq.spec"),
        }
    text = DOC.read_text()
    if os.environ.get("WRITE_DOCS"):
        for name, content in printed.items():
            content = content.replace(operator.namespace, "socialsync").replace("\t", "  ").rstrip() + "\n"
            text = text.replace(
                f"<!-- {name} -->\n```\n{block(text, name)}", f"<!-- {name} -->\n```\n{content}"
            )
        DOC.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")
    for name in ("get", "explain"):
        assert normal(block(text, name)) == normal(printed[name].replace("\t", "  "))
    for name in ("describe", "cli"):  # their numbers vary; what they tell does not
        assert [_label(line) for line in normal(block(text, name))] == [
            _label(line) for line in normal(printed[name])
        ]


def _label(line: str) -> str:
    return line.split(":")[0].rstrip("0123456789 ")


def _explain(operator: Operator) -> str:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "socialsync_cli.main",
            "queues",
            "explain",
            "ingest",
            "-n",
            operator.namespace,
        ],
        env={"KUBECONFIG": str(operator.plane.kubeconfig), "COLUMNS": "110"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout
