"""Values that make no sense are refused in words, and every value is documented."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from helm.chart import CHART, ROOT, Json, case, refused, values
from helm.generate import defaults, settings

SCHEMA: Json = json.loads((CHART / "values.schema.json").read_text())
# set by the chart itself, or by the operator
SET_FOR_YOU = {
    *("LEASE_NAME", "POD_NAME", "POD_NAMESPACE", "SOCIALSYNC_QUEUE", "HEALTH_PORT", "SOFT_SHUTDOWN_SECONDS"),
    *("DATABASE_URL", "MIGRATION_DATABASE_URL", "CELERY_BROKER_URL"),
}
# nobody reads a result
LEFT_OUT = {"CELERY_RESULT_BACKEND"}


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("gateway.replica=3", "replica"),
        ("config.AI_MODELL=x", "AI_MODELL"),
        ("config.AI_BASE_URL=models", "AI_BASE_URL"),
        ("config.BATCH_WINDOW_SECONDS=-1", "BATCH_WINDOW_SECONDS"),
        ("config.BATCH_MAX_MESSAGES=1.5", "BATCH_MAX_MESSAGES"),
        ("config.LOG_LEVEL=LOUD", "LOG_LEVEL"),
        ("config.PUBLIC_URL=social.example.com", "PUBLIC_URL"),
        ("config.META_APP_ID=1000000000000001", "META_APP_ID"),  # a number, which loses digits on its way
        ("config.POST_GRACE_SECONDS=10", "POST_GRACE_SECONDS"),
        ("gateway.uploadSpace=lots", "uploadSpace"),
        ("secrets.values.META_SECRET=x", "META_SECRET"),
        ("secrets.values.TOKEN_ENCRYPTION_KEYS=k1:c2hvcnQ=", "TOKEN_ENCRYPTION_KEYS"),
        ("secrets.values.FLOWER_BASIC_AUTH=nocolon", "FLOWER_BASIC_AUTH"),
        ("externalRedis.url=http://x", "externalRedis"),
        ("externalPostgresql.url=mysql://x", "externalPostgresql"),
        ("gateway.replicas=none", "replicas"),
        ("gateway.service.type=External", "type"),
        ("gateway.image.digest=abc", "digest"),
        ("queues.ingest.minReplicas=three", "minReplicas"),
        ("queues.ingest.service=gateway", "service"),
        ("queues.ingest.replicas=3", "replicas"),
        ("queues.ingest.gracePeriodSeconds=5", "gracePeriodSeconds"),
        ("queues.more.service=ingest", "lanes"),
        ("queues.In_gest.service=ingest", "In_gest"),
        ("queues.ingest.behavior.scaleUp.selectPolicy=Most", "selectPolicy"),
        ("pods.nodeSelectors.a=b", "nodeSelectors"),
        ("networkPolicy.egress.enabled=yes", "enabled"),
        ("networkPolicy.egress.internet={everything}", "internet"),
        ("redis.maxmemory=lots", "maxmemory"),
        ("postgres.enabled=true", "postgres"),
        ("fullnameOverride=Upper", "fullnameOverride"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(given: str, key: str) -> None:
    said = refused("--values", case("default"), *values(given))
    assert "schema" in said
    assert key in said


def test_all_that_is_missing_is_said_at_once() -> None:
    said = refused()
    for key in (
        "secrets.values.META_APP_SECRET",
        "externalPostgresql.url",
        "externalPostgresql.owner.url",
        "externalRedis.url",
    ):
        assert f"- {key}" in said


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("postgresql.enabled=true", "externalPostgresql.url=postgresql://x"), "only one of them"),
        (("redis.enabled=true", "externalRedis.url=redis://x"), "only one of them"),
        (("gateway.httpRoute.enabled=true",), "gateway.httpRoute.parentRefs"),
    ],
)
def test_values_that_contradict_each_other_are_refused(given: tuple[str, ...], message: str) -> None:
    assert message in refused("--values", case("default"), *values(*given))


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from leaves(below, (*path, key))
    else:
        yield path


def test_every_value_is_documented() -> None:
    documented = {tuple(path.split(".")) for _, path, _ in settings()}
    for path in leaves(defaults()):
        assert any(path[: len(each)] == each for each in documented), ".".join(path)


def objects(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Each part of the schema that describes an object of ours."""
    if "properties" in schema:
        yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from objects(below, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from objects(schema[name], f"{path}[]")
    for name, below in schema.get("definitions", {}).items():
        yield from objects(below, f"#{name}")


def test_the_schema_is_closed_wherever_the_keys_are_ours() -> None:
    # objects of Kubernetes', of which only what is required is said
    theirs = {path for path, each in objects(SCHEMA) if each.get("additionalProperties") is not False}
    assert theirs == set()


def test_schema_and_values_have_the_same_keys() -> None:
    def compare(schema: Json, value: Json, path: str) -> None:
        while "$ref" in schema:
            schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
        if "properties" not in schema or (not value and path):
            return
        optional = {"global"} if not path else set()
        assert set(schema["properties"]) - optional == set(value), path
        for name, below in value.items():
            if isinstance(below, dict) and name not in ("resources", "queues"):
                compare(schema["properties"][name], below, f"{path}.{name}")

    compare(SCHEMA, defaults(), "")


def test_every_setting_of_the_services_can_be_given() -> None:
    reference = (ROOT / "docs" / "reference" / "settings.md").read_text()
    rows = [line.split("|")[1] for line in reference.splitlines() if line.startswith("| `")]
    known = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}
    given = {*defaults()["config"], *defaults()["secrets"]["values"]}
    assert known - SET_FOR_YOU - LEFT_OUT <= given
    assert {name for name in given if not name.startswith(("OTEL_", "FLOWER_"))} <= known
