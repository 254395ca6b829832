"""What a queue shows of itself: numbers, sentences, six conditions, and what makes it worth showing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from socialsync_common.workers import WorkerReport
from socialsync_operator.backlog import Backlog, Unreadable
from socialsync_operator.decide import Decision, Limit, Reason
from socialsync_operator.faults import Fault
from socialsync_operator.observation import Observation
from socialsync_operator.spec import Queue, Scaling
from socialsync_operator.status import Findings, build_status, explain, gist, timestamp

Json = dict[str, Any]
CRD = Path(__file__).parents[3] / "operator" / "crds" / "socialsyncqueue.yaml"

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)
SCALING = Scaling(min=0, max=20, target_latency=5, target_per_replica=10)
QUEUE = Queue(
    namespace="shop",
    name="ingest",
    uid="u1",
    generation=3,
    deleting=False,
    finalizers=(),
    lanes=("ingest.tick", "ingest"),
    polling=1,
    dry_run=False,
    scaling=SCALING,
    worker={"image": "i"},
    target=None,
)
PAUSED = replace(QUEUE, scaling=replace(SCALING, paused=True))
BUSY = WorkerReport(slots=4, active=4, reserved=4, accepted=9)
IDLE = replace(BUSY, active=0, reserved=0)

BACKLOG = Backlog(
    tasks=40, due=2, in_flight=8, oldest_age=7.5, completed=100, busy_ms=0, reports={"a": BUSY, "b": IDLE}
)
SEEN = Observation(
    replicas=2, ready=2, depth=42, in_flight=8, oldest_age=7.5, arrival_rate=1.5, service_time=0.25, slots=4
)
DECISION = Decision(6, 6, Reason.PER_REPLICA, candidates={"current": 2, "TargetPerReplica": 5, "need": 5})
FINDINGS = Findings(BACKLOG, SEEN, DECISION)
NOTHING = Findings(
    Backlog(tasks=0, due=0, in_flight=0, oldest_age=0.0, completed=100, busy_ms=0),
    Observation(replicas=0, ready=0, depth=0, in_flight=0, oldest_age=0.0),
    Decision(0, 0, Reason.IDLE, candidates={"current": 0, "need": 0}),
)
AWAY = Unreadable("BrokerUnreachable", "Redis does not answer: refused")
BLIND = Findings(
    AWAY,
    Observation(replicas=2, ready=2, depth=None, in_flight=None, oldest_age=None),
    Decision(2, 2, Reason.METRICS_MISSING, missing=("depth", "inFlight", "oldestAge")),
)


def shown(findings: Findings = FINDINGS, queue: Queue = QUEUE, previous: Json | None = None) -> Json:
    return build_status(queue, findings, previous or {}, NOW)


def condition(kind: str, findings: Findings = FINDINGS, queue: Queue = QUEUE) -> tuple[str, str, str]:
    (found,) = [each for each in shown(findings, queue)["conditions"] if each["type"] == kind]
    return found["status"], found["reason"], found["message"]


# --- numbers


def test_all_numbers_are_shown() -> None:
    status = shown(replace(FINDINGS, last_scale="2026-01-01T11:00:00Z"))
    del status["conditions"], status["decision"]
    assert status == {
        "observedGeneration": 3,
        "queue": "ingest",  # the first lane that carries work
        "replicas": 2,
        "readyReplicas": 2,
        "desiredReplicas": 6,
        "lastScaleTime": "2026-01-01T11:00:00Z",
        "depth": 42,
        "dueConversations": 2,
        "inFlight": 8,
        "oldestWaitingSince": "2026-01-01T11:59:52Z",
        "idleReplicas": 1,
        "slotsPerReplica": 4,
        "arrivalsPerMinute": 90,
        "serviceTimeMilliseconds": 250,
    }


def test_what_is_not_known_is_absent_and_never_zero() -> None:
    for findings in (BLIND, NOTHING):
        status = shown(findings)
        unknown = {"oldestWaitingSince", "slotsPerReplica", "arrivalsPerMinute", "serviceTimeMilliseconds"}
        assert not unknown & status.keys()
    assert not {"depth", "inFlight", "dueConversations", "idleReplicas"} & shown(BLIND).keys()
    assert shown(NOTHING)["depth"] == 0


def test_an_age_that_is_not_known_is_no_time() -> None:
    assert "oldestWaitingSince" not in shown(replace(FINDINGS, backlog=replace(BACKLOG, oldest_age=None)))


def test_conversations_alone_wait_too() -> None:
    status = shown(replace(FINDINGS, backlog=replace(BACKLOG, tasks=0)))
    assert status["depth"] == status["dueConversations"] == 2
    assert "oldestWaitingSince" in status


def test_the_last_scale_is_remembered() -> None:
    assert (
        shown(previous={"lastScaleTime": "2026-01-01T11:00:00Z"})["lastScaleTime"] == "2026-01-01T11:00:00Z"
    )
    assert "lastScaleTime" not in shown()


def test_the_decision_is_shown_with_all_that_led_to_it() -> None:
    decision = replace(DECISION, limits=(Limit.DOWN_WINDOW, Limit.MAX))
    assert shown(replace(FINDINGS, decision=decision), replace(QUEUE, dry_run=True))["decision"] == {
        "reason": "TargetPerReplica",
        "limits": ["ScaleDownStabilization", "MaxReplicas"],
        "limitedBy": "MaxReplicas",
        "message": "42 wait, the oldest for 8 s, 8 in flight: TargetPerReplica needs 5, MaxReplicas makes it 6",
        "dryRun": True,
        "candidates": [
            {"name": "current", "replicas": 2},
            {"name": "TargetPerReplica", "replicas": 5},
            {"name": "need", "replicas": 5},
        ],
    }


def test_a_limit_that_no_longer_holds_is_taken_away() -> None:
    """By a null: what a merge patch leaves out stays."""
    assert shown()["decision"]["limitedBy"] is None


@pytest.mark.parametrize("findings", [FINDINGS, BLIND, NOTHING])
def test_only_what_the_crd_knows_is_shown(findings: Findings) -> None:
    """The API server drops the rest without a word."""
    (version,) = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    known = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    status = shown(replace(findings, last_scale=timestamp(NOW)))
    assert status.keys() <= known.keys()
    assert status["decision"].keys() <= known["decision"]["properties"].keys()
    for each in status["conditions"]:
        assert each.keys() <= known["conditions"]["items"]["properties"].keys()


# --- sentences


def decided(replicas: int, wanted: int | None = None, *limits: Limit, need: int = 5, **more: Any) -> Decision:
    facts: dict[str, Any] = {"reason": Reason.PER_REPLICA, "candidates": {"need": need}, **more}
    return Decision(replicas, replicas if wanted is None else wanted, limits=limits, **facts)


@pytest.mark.parametrize(
    ("decision", "sentence"),
    [
        (decided(5), "42 wait, the oldest for 8 s, 8 in flight: TargetPerReplica needs 5"),
        (
            decided(4, None, Limit.UP_WINDOW, Limit.MAX),
            "42 wait, the oldest for 8 s, 8 in flight: TargetPerReplica needs 5, MaxReplicas makes it 4",
        ),
        (
            decided(2, 1, Limit.BUSY, need=1),
            (
                "42 wait, the oldest for 8 s, 8 in flight: TargetPerReplica needs 1, BusyWorkers makes it 2 "
                "until workers are free, then 1"
            ),
        ),
        # limits that cancelled each other out
        (
            decided(5, None, Limit.UP_WINDOW, Limit.MIN),
            "42 wait, the oldest for 8 s, 8 in flight: TargetPerReplica needs 5",
        ),
        (decided(2, reason=Reason.PAUSED), "paused: 2 replicas stay"),
        (decided(2, reason=Reason.METRICS_MISSING, missing=("depth",)), "depth not known: 2 replicas stay"),
        (
            decided(8, reason=Reason.FALLBACK, missing=("depth", "inFlight", "oldestAge")),
            "depth, inFlight, oldestAge not known: 8 replicas are wanted",
        ),
    ],
)
def test_a_decision_in_a_sentence(decision: Decision, sentence: str) -> None:
    assert explain(decision, SEEN) == sentence


def test_a_sentence_of_a_queue_in_which_nothing_waits() -> None:
    assert explain(NOTHING.decision, NOTHING.seen) == "0 wait, 0 in flight: NothingWaits needs 0"


# --- conditions


def test_all_conditions_are_always_shown_in_order_and_for_this_generation() -> None:
    kinds = ["Ready", "Active", "ScalingLimited", "Paused", "MetricsAvailable", "Degraded"]
    for findings in (FINDINGS, BLIND, NOTHING):
        conditions = shown(findings)["conditions"]
        assert [each["type"] for each in conditions] == kinds
        assert {each["observedGeneration"] for each in conditions} == {3}
        assert all(each["reason"].isalnum() and each["message"] for each in conditions)


STARTING = replace(FINDINGS, seen=replace(SEEN, ready=1))
BLOCKED = replace(STARTING, blocked=Fault("AnotherScaler", "delete it"))
RUNNING_ONLY = replace(NOTHING, backlog=replace(BACKLOG, tasks=0, due=0))
DUE_ONLY = replace(NOTHING, backlog=replace(BACKLOG, tasks=0, in_flight=0))
AGELESS = replace(FINDINGS, backlog=replace(BACKLOG, oldest_age=None), seen=replace(SEEN, oldest_age=None))


@pytest.mark.parametrize(
    ("kind", "findings", "expected"),
    [
        ("Ready", FINDINGS, ("True", "WorkersReady", "2 workers are ready")),
        ("Ready", NOTHING, ("True", "WorkersReady", "0 workers are ready")),
        ("Ready", STARTING, ("False", "WorkersStarting", "1 of 2 workers are ready")),
        ("Ready", BLOCKED, ("False", "AnotherScaler", "delete it")),
        ("Active", FINDINGS, ("True", "WorkWaiting", "there is work")),
        ("Active", RUNNING_ONLY, ("True", "WorkWaiting", "there is work")),
        ("Active", DUE_ONLY, ("True", "WorkWaiting", "there is work")),
        ("Active", NOTHING, ("False", "NothingWaits", "nothing waits, runs or is scheduled")),
        ("Active", BLIND, ("Unknown", "BrokerUnreachable", "whether there is work cannot be told")),
        ("MetricsAvailable", FINDINGS, ("True", "QueueRead", "the queue can be read")),
        ("MetricsAvailable", BLIND, ("False", "BrokerUnreachable", "Redis does not answer: refused")),
        (
            "MetricsAvailable",
            AGELESS,
            (
                "False",
                "OldestAgeUnknown",
                "the oldest task has no queued_at header: send tasks with an app made by create_celery",
            ),
        ),
        ("Degraded", FINDINGS, ("False", "AsExpected", "nothing is wrong")),
        (
            "Degraded",
            replace(FINDINGS, degraded=Fault("CrashLooping", "see")),
            ("True", "CrashLooping", "see"),
        ),
        ("Paused", FINDINGS, ("False", "NotPaused", "the replicas follow the queue")),
    ],
)
def test_a_condition(kind: str, findings: Findings, expected: tuple[str, str, str]) -> None:
    assert condition(kind, findings) == expected


def test_a_pause_is_shown() -> None:
    expected = ("True", "PausedBySpec", "spec.paused is true: the replicas stay as they are")
    assert condition("Paused", queue=PAUSED) == expected


@pytest.mark.parametrize("limit", [None, *Limit])
def test_scaling_is_limited_by_what_someone_set_or_is_busy_and_not_by_patience(limit: Limit | None) -> None:
    hard = {Limit.MAX, Limit.MIN, Limit.UP_POLICY, Limit.DOWN_POLICY, Limit.BUSY}
    decision = decided(6, None, *([limit] if limit else []))
    state, reason, message = condition("ScalingLimited", replace(FINDINGS, decision=decision))
    if limit in hard:
        assert (state, reason, message) == ("True", limit, f"{limit} keeps it at 6")
    else:
        assert (state, reason) == ("False", "WithinLimits")


def test_a_condition_keeps_the_time_at_which_its_status_changed() -> None:
    first = shown()
    assert {each["lastTransitionTime"] for each in first["conditions"]} == {timestamp(NOW)}
    starting = replace(FINDINGS, seen=replace(SEEN, ready=1), degraded=Fault("A", "a"))
    second = build_status(QUEUE, starting, first, LATER)
    since = {each["type"]: each["lastTransitionTime"] for each in second["conditions"]}
    assert {kind for kind, time in since.items() if time == timestamp(LATER)} == {"Ready", "Degraded"}

    # another reason for the same status is no transition
    third = build_status(
        QUEUE, replace(starting, degraded=Fault("B", "b")), second, LATER + timedelta(hours=1)
    )
    assert {each["type"]: each["lastTransitionTime"] for each in third["conditions"]} == since


def test_unknown_is_a_status_of_its_own() -> None:
    second = build_status(QUEUE, BLIND, shown(), LATER)
    active = next(each for each in second["conditions"] if each["type"] == "Active")
    assert active["lastTransitionTime"] == timestamp(LATER)


# --- the gist


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(replace(FINDINGS, backlog=replace(BACKLOG, tasks=41)), id="a number"),
        pytest.param(replace(FINDINGS, backlog=replace(BACKLOG, oldest_age=9.0)), id="the age"),
        pytest.param(replace(FINDINGS, seen=replace(SEEN, depth=43)), id="the sentence"),
        pytest.param(replace(FINDINGS, decision=replace(DECISION, candidates={"need": 6})), id="a candidate"),
    ],
)
def test_what_can_wait_for_the_next_refresh(changed: Findings) -> None:
    assert shown(changed) != shown()
    assert gist(shown(changed)) == gist(shown())


@pytest.mark.parametrize(
    ("changed", "queue"),
    [
        pytest.param(replace(FINDINGS, seen=replace(SEEN, replicas=3)), QUEUE, id="the replicas"),
        pytest.param(STARTING, QUEUE, id="the ready ones"),
        pytest.param(replace(FINDINGS, decision=replace(DECISION, wanted=5)), QUEUE, id="the wanted ones"),
        pytest.param(
            replace(FINDINGS, decision=replace(DECISION, reason=Reason.AGE)), QUEUE, id="the reason"
        ),
        pytest.param(
            replace(FINDINGS, decision=replace(DECISION, limits=(Limit.CALM,))), QUEUE, id="the limit"
        ),
        pytest.param(FINDINGS, replace(QUEUE, dry_run=True), id="dry run"),
        pytest.param(FINDINGS, replace(QUEUE, generation=4), id="the generation"),
        pytest.param(FINDINGS, PAUSED, id="a condition"),
        pytest.param(replace(FINDINGS, blocked=Fault("A", "a")), QUEUE, id="a fault"),
    ],
)
def test_what_is_shown_at_once(changed: Findings, queue: Queue) -> None:
    assert gist(shown(changed, queue)) != gist(shown())


def test_there_is_a_gist_of_nothing() -> None:
    assert gist({}) != gist(shown())
