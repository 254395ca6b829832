"""A spec is read: the HPA's defaults where a direction is given, quantities, and which field is at fault."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from socialsync_operator.spec import (
    CAREFUL_DOWN,
    UNLIMITED_UP,
    Fallback,
    Policy,
    Rules,
    Scaling,
    SpecError,
    parse_queue,
)

Json = dict[str, Any]
CRD = Path(__file__).parents[3] / "operator" / "crds" / "socialsyncqueue.yaml"

SPEC: Json = {
    "queues": [{"name": "ingest.tick"}, {"name": "ingest"}],
    "worker": {"image": "registry.test/ingest:1"},
    "minReplicas": 0,
    "maxReplicas": 20,
    "targetLatencySeconds": 5,
    "targetPerReplica": 10,
    "pollingIntervalSeconds": 2,
    "cooldownSeconds": 60,
    "maxBusyHoldSeconds": 300,
    "dryRun": False,
    "paused": False,
}


def resource(**spec: Any) -> Json:
    return {
        "metadata": {"namespace": "shop", "name": "ingest", "uid": "u1", "generation": 3},
        "spec": {**deepcopy(SPEC), **spec},
    }


def scaling(**spec: Any) -> Scaling:
    return parse_queue(resource(**spec)).scaling


def test_a_queue_is_read() -> None:
    queue = parse_queue(resource())
    assert (queue.namespace, queue.name, queue.uid, queue.generation) == ("shop", "ingest", "u1", 3)
    assert queue.lanes == ("ingest.tick", "ingest")
    assert queue.polling == 2
    assert not queue.deleting
    assert queue.finalizers == ()
    assert queue.worker == {"image": "registry.test/ingest:1"}
    assert queue.deployment == "ingest"
    assert queue.domain == "ingest"
    assert queue.scaling == Scaling(min=0, max=20, target_latency=5, target_per_replica=10)


def test_a_queue_of_someone_elses_deployment() -> None:
    given = resource(scaleTargetRef={"name": "legacy-workers"})
    del given["spec"]["worker"]
    queue = parse_queue(given)
    assert queue.worker is None
    assert queue.deployment == "legacy-workers"


def test_a_queue_that_is_deleted() -> None:
    given = resource()
    given["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}
    queue = parse_queue(given)
    assert queue.deleting
    assert queue.finalizers == ("a/b",)


def test_a_direction_that_is_not_given_goes_up_at_once_and_down_with_care() -> None:
    for behavior in ({}, {"behavior": {}}):
        assert scaling(**behavior).up == UNLIMITED_UP == Rules(window=0, policies=())
        assert scaling(**behavior).down == CAREFUL_DOWN == Rules(window=120, policies=())


def test_a_given_direction_gets_the_hpas_defaults_for_what_it_leaves_out() -> None:
    both = scaling(behavior={"scaleUp": {}, "scaleDown": {}})
    assert both.up == Rules(0, "Max", (Policy("Percent", 100, 15), Policy("Pods", 4, 15)), 0.1)
    assert both.down == Rules(300, "Max", (Policy("Percent", 100, 15),), 0.1)


def test_one_direction_says_nothing_about_the_other() -> None:
    given = scaling(behavior={"scaleUp": {"stabilizationWindowSeconds": 7}})
    assert given.up.window == 7
    assert given.down == CAREFUL_DOWN


def test_no_policies_are_policies_left_out() -> None:
    assert scaling(behavior={"scaleDown": {"policies": []}}).down.policies == (Policy("Percent", 100, 15),)


def test_what_a_direction_says_holds() -> None:
    rules = {
        "stabilizationWindowSeconds": 30,
        "selectPolicy": "Min",
        "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}],
        "tolerance": "0.25",
    }
    expected = Rules(30, "Min", (Policy("Pods", 2, 60),), 0.25)
    given = scaling(behavior={"scaleUp": rules, "scaleDown": rules})
    assert given.up == given.down == expected
    assert scaling(behavior={"scaleUp": {"selectPolicy": "Disabled"}}).up.select == "Disabled"


def test_a_window_of_none_is_not_a_window_left_out() -> None:
    assert scaling(behavior={"scaleDown": {"stabilizationWindowSeconds": 0}}).down.window == 0


@pytest.mark.parametrize(
    ("quantity", "share"),
    [("0.1", 0.1), ("100m", 0.1), ("5m", 0.005), ("0", 0.0), (0, 0.0), (1, 1.0), ("2", 2.0), ("0m", 0.0)],
)
def test_a_tolerance_is_a_quantity(quantity: str | int, share: float) -> None:
    assert scaling(behavior={"scaleUp": {"tolerance": quantity}}).up.tolerance == share


@pytest.mark.parametrize("quantity", ["", "m", "10%", "1k", "0,1", "little"])
def test_a_tolerance_that_is_none_is_named(quantity: str) -> None:
    with pytest.raises(SpecError, match=rf"tolerance '{quantity}' is none of 0\.1, 100m and the like"):
        scaling(behavior={"scaleDown": {"tolerance": quantity}})


@pytest.mark.parametrize(
    ("behavior", "raises"), [("currentReplicas", False), ("currentReplicasIfHigher", True)]
)
def test_a_fallback_is_read(behavior: str, raises: bool) -> None:
    fallback = {"failureThreshold": 3, "replicas": 6, "behavior": behavior}
    assert scaling(fallback=fallback).fallback == Fallback(threshold=3, replicas=6, raises=raises)


@pytest.mark.parametrize("field", sorted(set(SPEC) - {"worker"}))
def test_a_field_that_is_missing_is_named(field: str) -> None:
    given = resource()
    del given["spec"][field]
    with pytest.raises(
        SpecError, match=rf"^spec\.{field} is missing: is the installed CRD of this version\?$"
    ):
        parse_queue(given)


def test_the_fields_that_cannot_be_missing_are_those_for_which_the_crd_has_a_default() -> None:
    (version,) = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    fields = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    defaults = {name for name, field in fields["properties"].items() if "default" in field}
    assert set(SPEC) - {"worker"} == defaults | set(fields["required"])
